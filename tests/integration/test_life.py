"""Spawned agents with a real node and a real tmux: started, got ready, started again, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from noval_d.canary.processes import living_in
from noval_d.life.ending import end_rest
from tests.support.node import TestNode, node, until
from tests.support.spawned import Spawned, command, spawn
from tests.support.tmux import runs

QUICK = {
    "NOVA_LIFE_BACK_OFF_S": "0.2",
    "NOVA_LIFE_BACK_OFF_MOST_S": "0.4",
    "NOVA_LIFE_TRIES": "3",
    "NOVA_LIFE_QUIT_S": "3",
    "NOVA_LIFE_TERMINATE_S": "2",
}


@pytest.fixture
def quick() -> Iterator[TestNode]:
    """A node that is impatient with its agents."""
    with node(env=QUICK) as made:
        yield made


def windows(made: TestNode) -> list[str]:
    """Names of the windows that are not the daemon's own."""
    rows = made.tmux.tmux("list-windows", "-a", "-F", "#{session_name}:#{window_name}").splitlines()
    return [row for row in rows if not row.startswith("_nova-")]


def health(made: TestNode) -> list[str]:
    return [finding["code"] for finding in made.call("status")["health"]]


# Starting -------------------------------------------------------------------------------------------------


def test_a_spawned_agent_is_ready_in_a_window_of_its_own_and_got_its_prompt_once(
    quick: TestNode, tmp_path: Path
) -> None:
    prompt = "$(touch x); `touch y` 'one' \"two\" \\ ${HOME} #{pane_id} ;"
    agent = spawn(quick, tmp_path, prompt=prompt)
    record = agent.record()
    assert record["state"] in ("idle", "busy")
    assert (record["session"], record["window"], record["role"]) == ("nova", "worker-1", "worker")
    assert quick.tmux.value(record["pane"], "window_width") == "200"
    assert quick.tmux.value(record["pane"], "window_height") == "50"
    assert agent.prompts() == [prompt]
    assert agent.rows("start")[0]["argv"][-1] == prompt
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "y").exists()


def test_an_agents_process_is_a_child_of_tmux_and_outlives_the_daemon(
    quick: TestNode, tmp_path: Path
) -> None:
    agent = spawn(quick, tmp_path)
    pid = agent.pid()
    server = int(quick.tmux.tmux("display-message", "-p", "#{pid}"))
    with open(f"/proc/{pid}/stat") as file:
        assert int(file.read().rpartition(")")[2].split()[1]) == server
    quick.kill()
    assert runs(pid)
    quick.start()
    quick.wait_up()
    agent.wait_state("idle")
    assert agent.pid() == pid
    assert agent.starts() == 1


def test_its_environment_is_what_was_ordered_and_shows_nowhere_else(quick: TestNode, tmp_path: Path) -> None:
    secret = "swordfish-7319"
    agent = spawn(quick, tmp_path, env={"TOKEN": secret, "EMPTY": ""})
    env = agent.rows("start")[0]["env"]
    assert (env["TOKEN"], env["EMPTY"]) == (secret, "")
    assert env["NOVA_SOCKET"] == quick.socket
    assert "LC_CTYPE" not in env
    assert agent.rows("start")[0]["cwd"] == str(tmp_path)
    shown = json.dumps([quick.call("agents"), quick.call("status"), quick.call("config")]) + quick.log()
    shown += quick.tmux.tmux("show-options", "-p", "-t", agent.record()["pane"])
    shown += quick.tmux.tmux("show-environment", "-g") + quick.tmux.tmux("show-environment", "-t", "=nova")
    assert secret not in shown
    assert list((quick.state / "starts").iterdir()) == []
    assert stat.S_IMODE(os.stat(quick.state / "starts").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(quick.state / "state.db").st_mode) == 0o600


def test_a_message_sent_in_the_same_second_as_the_spawn_arrives_once(quick: TestNode, tmp_path: Path) -> None:
    log = tmp_path / "worker-1.jsonl"
    args = {"role": "worker", "agent_id": "worker-1", "command": command(quick, log), "here": str(tmp_path)}
    with Client.connect(quick.socket, 10.0) as client:
        steps = client.stream("spawn", args, 30.0)
        first = next(steps)
        assert first["step"] == "started"
        message = quick.send("worker-1", "the first one")["id"]
        assert [step["step"] for step in steps][-1] == "ready"
    quick.wait_state(message, "acknowledged")
    assert Spawned(quick, "worker-1", log).prompts() == ["the first one"]


def test_a_prompt_that_its_driver_takes_on_no_command_line_is_its_first_message(
    quick: TestNode, tmp_path: Path
) -> None:
    spawn(quick, tmp_path, name="lines", driver="line", command=["cat"], prompt="good morning")
    (record,) = quick.call("agents")
    assert (record["state"], record["driver"]) == ("idle", "line")
    quick.tmux.wait_for(record["pane"], "good morning")
    (message,) = quick.call("inbox", {"agent": "lines"})
    quick.wait_state(message["id"], "submitted")


def test_a_dialog_of_the_start_is_answered_where_it_is_allowed(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, arguments=["--trust"], allow=["trust"])
    assert len(agent.rows("trusted")) == 1
    agent.wait_state("idle")


def test_a_dialog_that_nobody_allowed_is_named_and_left_to_a_person(quick: TestNode, tmp_path: Path) -> None:
    with pytest.raises(NovaError, match="waits at its dialog 'trust'") as caught:
        spawn(quick, tmp_path, arguments=["--trust"])
    assert "--allow trust" in caught.value.hint
    agent = Spawned(quick, "worker-1", tmp_path / "worker-1.jsonl")
    assert agent.rows("trusted") == []
    agent.wait_state("dialog")
    quick.tmux.press(agent.record()["pane"], "Enter")
    agent.wait_state("idle")
    message = quick.send("worker-1", "and now?")["id"]
    quick.wait_state(message, "acknowledged")


def test_a_tmux_server_is_started_when_there_is_none(tmp_path: Path) -> None:
    with node(env=QUICK) as made:
        made.tmux.tmux("kill-server")
        until(lambda: made.call("status")["tmux"][0]["state"] == "absent", 10, "the end of tmux")
        agent = spawn(made, tmp_path)
        assert agent.record()["state"] == "idle"
        assert windows(made) == ["nova:worker-1"]


# Bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence", "cure"),
    [
        ({"driver": "cluade"}, "no driver 'cluade'", "Did you mean claude?"),
        ({"driver": None, "command": ["bash"]}, "none claims 'bash'", "--driver"),
        ({"driver": None, "command": None, "role": "clade"}, "no template 'clade'", "Did you mean claude?"),
        ({"driver": "line", "command": None}, "names no command", "-- COMMAND"),
        ({"command": ["no-such-program"]}, "no command 'no-such-program'", "--env PATH"),
        ({"command": ["./no-such-program"]}, "no program", "can be run"),
        ({"env": {"PATH": "/nonexistent"}, "command": ["claude"]}, "no command 'claude'", "PATH"),
        ({"cwd": "/nonexistent/folder"}, "/nonexistent/folder is not there", "--cwd"),
        ({"cwd": "/etc/passwd"}, "is no directory", "--cwd"),
        ({"cwd": "relative"}, "is relative", "/"),
        ({"session": "a:b.c"}, "'a:b.c' is not a name", "letters"),
        ({"session": "_nova-x"}, "is not a name", "letters"),
        ({"agent_id": "a b"}, "'a b' is not an agent's name", "letters"),
        ({"agent_id": "taken"}, "there is an agent taken already", "novactl stop taken"),
        ({"restart": "allways"}, "no restart policy", "Did you mean always?"),
        ({"allow": ["trsut"]}, "no dialog", "Did you mean trust?"),
        ({"env": {"A B": "x"}}, "no name of a variable", "letters"),
        ({"env": {"A": "x\0y"}}, "NUL", ""),
        ({"role": "a/b"}, "no role", "letters"),
    ],
)
def test_what_cannot_be_started_is_one_sentence_and_leaves_nothing(
    quick: TestNode, tmp_path: Path, wrong: dict[str, Any], sentence: str, cure: str
) -> None:
    pane = quick.tmux.open("cat")
    quick.register("taken", pane)
    before = windows(quick)
    good: dict[str, Any] = {
        "role": "worker",
        "agent_id": "worker-1",
        "driver": "claude",
        "command": command(quick, tmp_path / "log"),
        "cwd": str(tmp_path),
    }
    args = {key: value for key, value in {**good, **wrong}.items() if value is not None}
    with pytest.raises(NovaError) as caught:
        quick.call("spawn", args)
    assert sentence in caught.value.message
    assert cure in caught.value.hint
    assert windows(quick) == before
    assert [agent["agent_id"] for agent in quick.call("agents")] == ["taken"]


def test_what_was_registered_is_not_ended_nor_its_pane_given_away(quick: TestNode) -> None:
    pane = quick.tmux.open("cat")
    quick.register("mine", pane)
    for call in ("stop_agent", "restart"):
        with pytest.raises(NovaError, match="was registered, not spawned"):
            quick.call(call, {"agent_id": "mine"})
    with pytest.raises(NovaError, match=f"pane {pane} belongs to agent mine") as caught:
        quick.call("register", {"agent_id": "other", "pane": pane, "driver": "line"})
    assert caught.value.hint == "First: novactl unregister mine"
    assert [agent["agent_id"] for agent in quick.call("agents")] == ["mine"]
    assert quick.tmux.value(pane, "pane_dead") == "0"


# Ending and coming back -----------------------------------------------------------------------------------


def test_a_crash_loop_ends_in_exited_with_one_warning_and_no_storm(quick: TestNode, tmp_path: Path) -> None:
    crash = tmp_path / "crash"
    agent = spawn(quick, tmp_path, arguments=["--crash-if", str(crash)], restart="always")
    crash.touch()
    os.kill(agent.pid(), signal.SIGKILL)
    until(lambda: "agent_given_up" in health(quick), 30, f"the warning {quick.log()[-3000:]}")
    assert agent.record()["state"] == "exited"
    assert health(quick).count("agent_given_up") == 1
    ended = quick.log().count("life.exited")
    assert ended == 4  # the first one and three tries
    message = quick.send("worker-1", "are you there?")["id"]
    time.sleep(1.0)  # nothing happens any more
    assert quick.log().count("life.exited") == ended
    assert quick.receipt(message)["state"] == "held"
    crash.unlink()
    done = quick.novactl("restart", "worker-1")
    assert done.returncode == 0, done.stderr
    quick.wait_state(message, "acknowledged")
    assert "agent_given_up" not in health(quick)


@pytest.mark.parametrize(("restart", "back"), [("on-failure", True), ("never", False), ("always", True)])
def test_a_killed_agent_comes_back_where_its_policy_says_so(
    quick: TestNode, tmp_path: Path, restart: str, back: bool
) -> None:
    agent = spawn(quick, tmp_path, restart=restart)
    pane = agent.record()["pane"]
    os.kill(agent.pid(), signal.SIGKILL)
    if back:
        agent.wait_starts(2)
        agent.wait_state("idle")
        assert agent.record()["pane"] == pane
    else:
        agent.wait_state("exited")
        assert "life.restarting" not in quick.log()
        assert agent.starts() == 1


def test_what_a_killed_agent_leaves_of_its_own_group_is_ended_and_its_other_jobs_are_not(
    quick: TestNode, tmp_path: Path
) -> None:
    script = "trap '' HUP; sleep 7101 & setsid sleep 7102 & exec cat"
    agent = spawn(quick, tmp_path, "lines", driver="line", command=["sh", "-c", script], restart="on-failure")
    pid = agent.pid()

    def sleeping(word: str) -> set[int]:
        found = living_in(quick.tmux.home)
        return {one.pid for one in found if one.is_running() and word in one.cmdline()}

    until(lambda: len(sleeping("7101")) == len(sleeping("7102")) == 1, 10, "both jobs")
    rest, job = sleeping("7101"), sleeping("7102")
    os.kill(pid, signal.SIGKILL)
    until(lambda: "life.rest_ended" in quick.log(), 15, f"the end of the rest, {quick.log()[-2000:]}")
    until(lambda: len(sleeping("7101") - rest) == 1, 15, "the next start")
    assert not rest & sleeping("7101")
    assert job <= sleeping("7102")


@pytest.mark.parametrize(("where", "ended"), [("%4", True), ("%5", False), (None, False)])
def test_a_service_in_the_group_of_a_number_that_was_an_agents_long_ago_is_left_alone(
    where: str | None, ended: bool
) -> None:
    """As a daemon comes to be: its parent led a session and has ended; only the pane says whose it was."""
    environment = {name: value for name, value in os.environ.items() if name != "TMUX_PANE"}
    environment |= {"TMUX_PANE": where} if where else {}
    argv = ["sh", "-c", "sleep 30 >/dev/null & echo $!"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        service = int(parent.stdout.readline())
    try:
        assert asyncio.run(end_rest(parent.pid, 1.0, pane="%4")) == ended
        assert runs(service) != ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(service, signal.SIGKILL)


def test_an_agent_that_ends_well_comes_back_only_by_always(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    quick.tmux.press(agent.record()["pane"], "C-d")
    agent.wait_state("exited")
    until(lambda: "exit code 0" in quick.log(), 10, "the end in the log")
    assert agent.starts() == 1
    assert "agent_given_up" not in health(quick)


def test_an_agent_whose_window_is_closed_comes_back_in_another(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    pane = agent.record()["pane"]
    message = quick.send("worker-1", "one")["id"]
    quick.wait_state(message, "acknowledged")
    quick.tmux.tmux("kill-pane", "-t", pane)
    agent.wait_starts(2)
    agent.wait_state("idle")
    assert agent.record()["pane"] != pane
    assert agent.rows("start")[1]["argv"][-2] == "--resume"


def test_a_restart_keeps_name_queue_and_conversation(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, prompt="the first prompt")
    pane, pid = agent.record()["pane"], agent.pid()
    quick.wait_state(quick.send("worker-1", "the second one")["id"], "acknowledged")
    quick.call("pause", {"agent_id": "worker-1"})
    message = quick.send("worker-1", "kept over the restart")["id"]
    quick.wait_state(message, "held")
    with Client.connect(quick.socket, 10.0) as client:
        steps = [step["step"] for step in client.stream("restart", {"agent_id": "worker-1"}, 30.0)]
    assert (steps[0], steps[-1]) == ("restarting", "ready")  # although it is paused
    assert quick.receipt(message)["reason"] == "paused"
    quick.call("resume", {"agent_id": "worker-1"})
    quick.wait_state(message, "acknowledged")
    assert not runs(pid)
    assert agent.record()["pane"] == pane
    assert agent.prompts() == ["the first prompt", "the second one", "kept over the restart"]
    again = agent.rows("start")[1]["argv"]
    assert "--resume" in again
    assert "the first prompt" not in again


def test_a_held_queue_drains_into_the_agent_that_came_back(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    os.kill(agent.pid(), signal.SIGKILL)
    sent = [quick.send("worker-1", f"number {n}")["id"] for n in range(5)]
    for message in sent:
        quick.wait_state(message, "acknowledged")
    assert agent.prompts() == [f"number {n}" for n in range(5)]
    assert agent.starts() == 2


def test_a_message_that_an_agent_took_along_into_its_end_says_so(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, arguments=["--busy", "60"], restart="on-failure")
    quick.wait_state(quick.send("worker-1", "a long task")["id"], "acknowledged")
    queued = quick.send("worker-1", "queued by the agent itself")["id"]
    quick.wait_state(queued, "submitted")
    os.kill(agent.pid(), signal.SIGKILL)
    agent.wait_starts(2)
    until(lambda: quick.receipt(queued)["final"], 20, "its last word")
    assert quick.receipt(queued)["state"] == "submitted"
    assert quick.receipt(queued)["reason"] == "its agent was gone before a hook told of it"
    after = quick.send("worker-1", "to its successor")["id"]
    quick.wait_state(after, "acknowledged")


def test_the_daemon_is_killed_while_it_starts_an_agent_and_exactly_one_program_runs(tmp_path: Path) -> None:
    for delay_s in (0.0, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4):
        folder = tmp_path / f"{delay_s}"
        folder.mkdir()
        with node(env=QUICK) as made:
            log = folder / "worker-1.jsonl"
            words = command(made, log)
            args = {"role": "worker", "agent_id": "worker-1", "command": words, "here": str(folder)}
            with Client.connect(made.socket, 10.0) as client:
                steps = client.stream("spawn", {**args, "restart": "never"}, 30.0)
                thread = threading.Thread(target=_drain, args=(steps,))
                thread.start()
                time.sleep(delay_s)
                made.kill()
                thread.join()
            made.start()
            made.wait_up()
            if not [agent for agent in made.call("agents") if agent["agent_id"] == "worker-1"]:
                time.sleep(0.5)
                assert not log.exists()  # it was not decided yet
                continue
            agent = Spawned(made, "worker-1", log)
            agent.wait_state("idle", timeout_s=30)
            time.sleep(0.5)
            assert agent.starts() == 1


def _drain(steps: Iterator[Any]) -> None:
    try:
        for _ in steps:
            pass
    except NovaError:
        return


def test_a_killed_daemon_goes_on_with_the_policies_of_its_agents(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    pid = agent.pid()
    quick.kill()
    os.kill(pid, signal.SIGKILL)
    quick.start()
    quick.wait_up()
    agent.wait_starts(2)
    agent.wait_state("idle")


# Stopping -------------------------------------------------------------------------------------------------


def test_a_stopped_agent_was_asked_and_is_archived_and_says_what_became_of_its_messages(
    quick: TestNode, tmp_path: Path
) -> None:
    agent = spawn(quick, tmp_path, env={"TOKEN": "swordfish-7319"})
    first = quick.send("worker-1", "remember the milk")["id"]
    quick.wait_state(first, "acknowledged")
    pid, before = agent.pid(), windows(quick)
    quick.call("pause", {"agent_id": "worker-1"})
    waiting = quick.send("worker-1", "never typed")["id"]
    quick.wait_state(waiting, "held")
    done = quick.novactl("stop", "worker-1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ended"] == "it quit when it was asked"
    assert answer["messages"] == {"failed": 1, "submitted": 0, "unconfirmed": 0}
    assert not runs(pid)
    assert windows(quick) == [window for window in before if window != "nova:worker-1"]
    assert quick.call("agents") == []
    assert quick.receipt(waiting)["state"] == "failed"
    archive = Path(answer["archive"])
    assert archive.parent == quick.state / "archive"
    assert stat.S_IMODE(os.stat(archive).st_mode) == 0o700
    assert {file.name: stat.S_IMODE(os.stat(file).st_mode) for file in archive.iterdir()} == dict.fromkeys(
        ("before.txt", "pane.txt", "summary.json"), 0o600
    )
    assert "remember the milk" in (archive / "pane.txt").read_text()
    summary = json.loads((archive / "summary.json").read_text())
    assert (summary["exit"], summary["env"]) == ({"code": 0, "signal": None}, ["TOKEN"])
    assert "swordfish" not in (archive / "summary.json").read_text()


def test_an_agent_that_does_not_listen_is_terminated_and_with_force_it_is_killed(
    quick: TestNode, tmp_path: Path
) -> None:
    spawn(quick, tmp_path, name="deaf", driver="line", command=["sh", "-c", "trap '' TERM; cat; sleep 60"])
    spawn(quick, tmp_path, name="soft", driver="line", command=["cat"])
    spawn(quick, tmp_path, name="hard", driver="line", command=["cat"])
    assert quick.call("stop_agent", {"agent_id": "soft"}, 30)["ended"] == "it ended on SIGTERM"
    assert quick.call("stop_agent", {"agent_id": "hard", "force": True}, 30)["ended"] == "it was killed"
    assert quick.call("stop_agent", {"agent_id": "deaf"}, 30)["ended"] == "it was killed"
    assert quick.call("agents") == []


def test_an_agent_that_has_ended_is_stopped_and_archived_too(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path)
    os.kill(agent.pid(), signal.SIGKILL)
    agent.wait_state("exited")
    answer = quick.call("stop_agent", {"agent_id": "worker-1"}, 30)
    assert answer["ended"] == "it had ended already"
    assert json.loads((Path(answer["archive"]) / "summary.json").read_text())["exit"]["signal"] == 9


def test_an_unregistered_agent_runs_on_and_nobody_starts_it_again(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="always")
    pid = agent.pid()
    quick.call("unregister", {"agent_id": "worker-1"})
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    time.sleep(1.0)
    assert agent.starts() == 1


# The command ----------------------------------------------------------------------------------------------


def test_novactl_spawns_by_a_template_and_shows_how_it_goes(tmp_path: Path) -> None:
    with node(start=False, env=QUICK) as made:
        log = tmp_path / "log.jsonl"
        config = tmp_path / "config.toml"
        words = json.dumps(command(made, log))
        config.write_text(
            f'[agents.reviewer]\ncommand = {words}\ncwd = "{tmp_path}"\nskills = ["python"]\n'
            'env = { TOKEN = "swordfish-7319" }\nprompt = "look around"\nallow = ["trust"]\n'
        )
        made.env["NOVA_TORCH_CONFIG"] = str(config)
        made.start()
        made.wait_up()
        done = made.novactl("spawn", "reviewer", "--restart", "on-failure", "--env", "MORE=1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("spawned reviewer-")
        assert "started, waiting until it is ready" in done.stderr
        (record,) = made.call("agents")
        assert (record["role"], record["skills"]) == ("reviewer", ["python"])
        agent = Spawned(made, record["agent_id"], log)
        assert agent.prompts() == ["look around"]
        env = agent.rows("start")[0]["env"]
        assert (env["TOKEN"], env["MORE"]) == ("swordfish-7319", "1")
        shown = made.novactl("config", "show")
        assert "swordfish" not in shown.stdout
        wrong = made.novactl("spawn", "reviwer")
        assert wrong.returncode == 5
        assert wrong.stderr.strip().endswith("Did you mean reviewer?")


def test_novactl_spawn_takes_a_command_behind_two_dashes(quick: TestNode) -> None:
    done = quick.novactl("spawn", "echo", "--driver", "line", "--json", "--", "cat", "-u")
    assert done.returncode == 0, done.stderr
    agent = json.loads(done.stdout)
    assert agent["state"] == "idle"
    assert agent["agent_id"].startswith("echo-")
    done = quick.novactl("stop", agent["agent_id"])
    assert done.stdout.startswith("stopped echo-")
