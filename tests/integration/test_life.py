"""Spawned agents with a real node and a real tmux: started, got ready, or refused in one sentence."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from tests.support.node import TestNode, node, until
from tests.support.spawned import QUICK, Spawned, command, spawn, windows
from tests.support.tmux import runs


@pytest.fixture
def quick() -> Iterator[TestNode]:
    """A node that is impatient with its agents."""
    with node(env=QUICK) as made:
        yield made


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


def test_a_message_waits_for_a_first_prompt_that_comes_after_the_box_and_empties_it(
    quick: TestNode, tmp_path: Path
) -> None:
    log = tmp_path / "late.jsonl"
    args = {"role": "worker", "agent_id": "late", "driver": "claude", "here": str(tmp_path)}
    words = command(quick, log, "--late", "1.0")
    with Client.connect(quick.socket, 10.0) as client:
        steps = client.stream("spawn", {**args, "command": words, "prompt": "the first"}, 30.0)
        assert next(steps)["step"] == "started"
        message = quick.send("late", "the second")["id"]
        assert [step["step"] for step in steps][-1] == "ready"
    quick.wait_state(message, "acknowledged")
    assert Spawned(quick, "late", log).prompts() == ["the first", "the second"]


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


def test_a_dialog_whose_answer_is_read_late_is_answered_once(quick: TestNode, tmp_path: Path) -> None:
    """A second key would be there for the next dialog; the program ends at two."""
    agent = spawn(quick, tmp_path, arguments=["--trust", "--stall", "4"], allow=["trust"])
    assert (len(agent.rows("trusted")), agent.starts()) == (1, 1)
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
        until(lambda: made.call("status")["tmux"][0]["state"] == "absent", 45, "the end of tmux")
        agent = spawn(made, tmp_path)
        assert agent.record()["state"] == "idle"
        assert windows(made) == ["nova:worker-1"]


# Bad input ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refusing() -> Iterator[TestNode]:
    """A node with the agent `taken`, which is to start no other one."""
    with node(env=QUICK) as made:
        made.register("taken", made.tmux.open("cat"))
        yield made


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
    refusing: TestNode, tmp_path: Path, wrong: dict[str, Any], sentence: str, cure: str
) -> None:
    before = windows(refusing)
    good: dict[str, Any] = {
        "role": "worker",
        "agent_id": "worker-1",
        "driver": "claude",
        "command": command(refusing, tmp_path / "log"),
        "cwd": str(tmp_path),
    }
    args = {key: value for key, value in {**good, **wrong}.items() if value is not None}
    with pytest.raises(NovaError) as caught:
        refusing.call("spawn", args)
    assert sentence in caught.value.message
    assert cure in caught.value.hint
    assert windows(refusing) == before
    assert [agent["agent_id"] for agent in refusing.call("agents")] == ["taken"]


def test_what_cannot_be_started_is_refused_without_being_tried_too(quick: TestNode) -> None:
    tried = quick.novactl("spawn", "clade", "--dry-run")
    assert (tried.returncode, tried.stdout) == (quick.novactl("spawn", "clade").returncode, "")
    assert "no template 'clade'" in tried.stderr


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
        assert "Did you mean reviewer? If not, name a driver" in wrong.stderr


def test_novactl_spawn_takes_a_command_behind_two_dashes(quick: TestNode) -> None:
    done = quick.novactl("spawn", "echo", "--driver", "line", "--json", "--", "cat", "-u")
    assert done.returncode == 0, done.stderr
    agent = json.loads(done.stdout)
    assert agent["state"] == "idle"
    assert agent["agent_id"].startswith("echo-")
    done = quick.novactl("stop", agent["agent_id"])
    assert done.stdout.startswith("stopped echo-")
