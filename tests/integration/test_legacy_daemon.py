"""`send-claude-message.sh` with a daemon: agents get it through the daemon, and without it when it is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.communication import NovaOrchestrator
from nova_torch.errors import DaemonUnreachable, NotDelivered, TimedOut
from nova_torch.protocol.client import Client
from nova_torch.ulid import new_ulid
from noval_d.legacy.later import is_shutdown
from noval_d.legacy.schedule import _by_daemon, _schedule
from tests.faults.test_two_nodes import neighbour
from tests.lab.tmux import PrivateTmux
from tests.support.agents import Raw, Tui, raw, tui
from tests.support.legacy import SCHEDULE, SEND, Said, original, run
from tests.support.legacy import running as alive
from tests.support.node import TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


@pytest.fixture(scope="module")
def agent(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> Tui:
    return tui(running, tmp_path_factory.mktemp("agent"), "claude-1", shell=True, hooks=True)


@pytest.fixture(scope="module")
def reader(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    return raw(running, tmp_path_factory.mktemp("reader"))


def env_of(node: TestNode, **more: str) -> dict[str, str]:
    return {**node.environment, "NOVA_PYTHON": sys.executable, **more}


def target_of(node: TestNode, pane: str) -> str:
    return node.tmux.value(pane, "session_name") + ":0"


def new_bytes(reader: Raw, before: int, count: int) -> bytes:
    until(lambda: len(reader.bytes()) >= before + count, what="the bytes")
    return reader.bytes()[before:]


def last_message(node: TestNode, agent: str) -> dict[str, str]:
    rows = node.call("inbox", {"agent": agent, "limit": 1})
    return dict(rows[-1])


@pytest.mark.parametrize(
    "words",
    [("hello", "  there"), ("/compact",), ("Enter",), ("-l;",), ("$HOME `id` 'x' \"y\" 你好\tt",)],
    ids=lambda words: words[0],
)
def test_it_prints_returns_and_types_what_the_original_did(
    running: TestNode, reader: Raw, words: tuple[str, ...]
) -> None:
    target, env, text = target_of(running, reader.pane), env_of(running), " ".join(words)
    before = len(reader.bytes())
    ours = run(SEND, target, *words, env=env)
    assert ours == Said(f"Message sent to {target}: {text}\n".encode(), "", 0)
    assert new_bytes(reader, before, len(text.encode()) + 1) == f"{text}\r".encode()
    assert last_message(running, reader.name)["state"] == "submitted"  # by the daemon, and proven
    if words[0] not in ("Enter", "-l;"):  # those are the original's defects
        before = len(reader.bytes())
        assert original(env, target, *words, pause_s=0.02) == ours
        assert new_bytes(reader, before, len(text.encode()) + 1) == f"{text}\r".encode()


def test_an_agent_gets_messages_and_commands_and_the_daemon_knows_of_them(
    running: TestNode, agent: Tui
) -> None:
    before = len(agent.prompts())
    target = target_of(running, agent.pane)
    for text in ("Please go on", "/compact"):
        said = run(SEND, target, text, env=env_of(running))
        assert (said.out, said.code) == (f"Message sent to {target}: {text}\n".encode(), 0)
    assert [prompt.rstrip() for prompt in agent.wait_prompts(before + 2)[before:]] == [
        "Please go on",
        "/compact",
    ]
    until(
        lambda: last_message(running, agent.name)["state"] in ("submitted", "acknowledged"), what="the proof"
    )


def test_a_message_that_is_held_is_told_as_held_and_goes_in_by_itself(running: TestNode, agent: Tui) -> None:
    before = len(agent.prompts())
    target = target_of(running, agent.pane)
    agent.draft("half a thought")
    agent.wait_for("half a thought")
    said = run(SEND, target, "behind it", env=env_of(running))
    assert (said.out, said.code) == (f"Message held for {target}: behind it\n".encode(), 0)
    assert "it is held (draft) and goes in by itself. See: novactl trace " in said.err
    assert len(agent.prompts()) == before
    agent.press("Enter")
    prompts = agent.wait_prompts(before + 2)
    assert [prompt.rstrip() for prompt in prompts[before:]] == ["half a thought", "behind it"]


def test_the_original_and_ours_at_the_same_time_lose_and_fuse_nothing(running: TestNode, agent: Tui) -> None:
    before = len(agent.prompts())
    target, env = target_of(running, agent.pane), env_of(running)
    expected: list[str] = []
    for number in range(3):
        theirs = threading.Thread(target=original, args=(env, target, f"theirs {number}"))
        theirs.start()
        agent.wait_for(f"❯\u00a0theirs {number}")
        assert run(SEND, target, f"ours {number}", env=env).code == 0
        theirs.join()
        expected += [f"theirs {number}", f"ours {number}"]
        agent.wait_prompts(before + len(expected))
    assert [prompt.rstrip() for prompt in agent.prompts()[before:]] == expected


def test_a_message_for_an_agent_that_has_left_a_shell_waits_for_it(running: TestNode, agent: Tui) -> None:
    before = len(agent.prompts())
    target = target_of(running, agent.pane)
    agent.press("C-d")
    agent.wait_state("exited")
    screen = agent.screen()
    said = run(SEND, target, "echo into the shell", env=env_of(running))
    assert (said.out, said.code) == (f"Message held for {target}: echo into the shell\n".encode(), 0)
    assert "it is held (no_agent) and goes in by itself" in said.err
    assert agent.screen() == screen
    agent.launch()
    assert agent.wait_prompts(before + 1)[before:][0].rstrip() == "echo into the shell"


def test_a_pane_that_is_no_agent_gets_it_while_the_daemon_runs(running: TestNode) -> None:
    pane = running.tmux.open("bash --norc --noprofile -i")
    running.tmux.wait_for(pane, "$")
    target = target_of(running, pane)
    said = run(SEND, target, "echo q'u'ick", env=env_of(running))
    assert said == Said(f"Message sent to {target}: echo q'u'ick\n".encode(), "", 0)
    running.tmux.wait_for(pane, "\nquick\n")


def test_an_empty_target_outside_tmux_is_no_session_of_the_daemons_own(tmp_path: Path) -> None:
    """tmux takes the session that was used last, which may be a hidden one."""
    with node() as made:
        reader = raw(made, tmp_path)
        made.tmux.tmux("new-session", "-d", "-s", "_nova-later", "sleep 1000")
        env = env_of(made)
        assert run(SEND, "", "here", env=env) == Said(b"Message sent to : here\n", "", 0)
        assert run(SEND, ":0", "there", env=env) == Said(b"Message sent to :0: there\n", "", 0)
        assert new_bytes(reader, 0, 11) == b"here\rthere\r"


def test_a_name_that_is_left_over_in_a_pane_sends_nothing_to_the_agent_elsewhere(
    running: TestNode, reader: Raw, tmp_path: Path
) -> None:
    """The option says `raw`, the daemon knows that this agent is in another pane, or on another tmux server."""
    before = len(reader.bytes())
    with PrivateTmux.create() as other:
        for server in (running.tmux, other):
            pane = server.open("bash --norc --noprofile -i")
            server.wait_for(pane, "$")
            if server is other:
                while pane != reader.pane and int(pane[1:]) < int(reader.pane[1:]):
                    pane = server.open("bash --norc --noprofile -i")
                server.wait_for(pane, "$")
            server.tmux("set-option", "-p", "-t", pane, "@nova_agent", "raw")
            env = env_of(running, NOVA_TMUX=str(server.socket_path))
            said = run(SEND, pane, "echo h'e're", env=env)
            assert said == Said(f"Message sent to {pane}: echo h'e're\n".encode(), "", 0)
            server.wait_for(pane, "\nhere\n")
            said = run(SCHEDULE, "0", "look", pane, env={**env, "NOVA_LEGACY_NOTE": str(tmp_path / "note")})
            assert "it waits in process" in said.err
            server.wait_for(pane, "Time for orchestrator check! look")
            server.tmux("set-option", "-p", "-u", "-t", pane, "@nova_agent")
    assert len(reader.bytes()) == before


def test_a_python_that_cannot_speak_to_the_daemon_says_so_and_is_good_enough_without_it(
    running: TestNode, reader: Raw, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    before, target = len(reader.bytes()), target_of(running, reader.pane)
    said = run(SEND, target, "bare", env=env_of(running, NOVA_PYTHON=str(bare)))
    assert (said.out, said.code) == (b"", 1)
    assert (
        "cannot speak to it: No module named 'msgpack'. Name Nova-Torch's own Python in NOVA_PYTHON"
        in said.err
    )
    nowhere = env_of(running, NOVA_PYTHON=str(bare), NOVA_SOCKET=str(tmp_path / "none"))
    assert run(SEND, target, "bare", env=nowhere).code == 0
    assert new_bytes(reader, before, 5) == b"bare\r"


def test_a_schedule_for_an_agent_is_the_daemons_and_survives_the_script(
    running: TestNode, reader: Raw
) -> None:
    before, env = len(reader.bytes()), env_of(running)
    target = target_of(running, reader.pane)
    cancelled = run(SCHEDULE, "5", "never", target, env=env)
    soon = run(SCHEDULE, "0.02", "soon", target, env=env)
    assert (cancelled.code, soon.code) == (0, 0)
    assert {each["state"] for each in running.call("schedule_list")} == {"waiting"}
    pids = [int(re.findall(rb"PID: (\d+)", said.out)[0]) for said in (cancelled, soon)]
    os.kill(pids[0], signal.SIGTERM)
    os.kill(pids[1], signal.SIGKILL)  # the daemon does not need it
    until(lambda: not any(map(alive, pids)), what="the end of the waiting processes")
    (line,) = new_bytes(reader, before, 40).split(b"\r")[:-1]
    assert line.startswith(b"Time for orchestrator check! soon (cat ")
    until(lambda: running.call("schedule_list") == [], what="the end of both schedules")
    states = {each["state"] for each in running.call("schedule_list", {"all": True})}
    assert "cancelled" in states


def test_a_shutdown_or_a_logout_does_not_cancel_what_the_daemon_keeps() -> None:
    script = "printf systemd > /proc/self/comm; printf x; read _"
    manager = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert manager.stdout is not None
    assert manager.stdin is not None
    with manager:
        manager.stdout.read(1)
        assert is_shutdown(manager.pid, os.getuid())
        assert is_shutdown(1, os.getuid())
        assert is_shutdown(0, os.getuid())  # the kernel's
        assert not is_shutdown(os.getpid(), os.getuid())
        manager.stdin.write(b"\n")


def test_a_schedule_whose_answer_was_lost_is_one_schedule(
    running: TestNode, reader: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(client: Client, call: str, args: dict[str, Any], *rest: Any) -> Any:
        monkeypatch.undo()
        client.call(call, args, *rest)
        raise DaemonUnreachable("the connection was cut.")

    monkeypatch.setattr(Client, "call", cut)
    key, env = new_ulid(), env_of(running)
    assert _by_daemon(reader.name, "once", 300.0, key, env) == running.socket
    try:
        assert [each["id"] for each in running.call("schedule_list")] == [key]
    finally:
        running.call("schedule_cancel", {"id": key})


def test_a_schedule_whose_answer_is_late_is_not_said_to_have_failed_and_keeps_its_note(
    running: TestNode, reader: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> Any:
        raise TimedOut("no answer in time.")

    monkeypatch.setattr(Client, "call", late)
    with pytest.raises(NotDelivered, match="It may have taken the message") as caught:
        _schedule("5", "late", target_of(running, reader.pane), env_of(running))
    key = caught.value.hint.split()[-1]
    assert list((running.state / "legacy").rglob(f"*{key}*"))


def test_with_the_broker_gone_scripts_novactl_and_the_library_deliver_all_the_same(tmp_path: Path) -> None:
    with node() as made:
        reader = raw(made, tmp_path)
        broker = int((made.state / "broker" / "broker.pid").read_text())
        target = target_of(made, reader.pane)
        os.kill(broker, signal.SIGSTOP)
        try:
            said = run(SEND, target, "by script", env=env_of(made))
            assert said == Said(f"Message sent to {target}: by script\n".encode(), "", 0)  # proven, not held
            assert made.novactl("send", target, "by novactl", "--wait").returncode == 0
            nova = NovaOrchestrator(socket=made.socket)
            assert nova.send_message(reader.name, "by library", wait="submitted", timeout_s=20).delivered
        finally:
            os.kill(broker, signal.SIGCONT)
        assert new_bytes(reader, 0, 32) == b"by script\rby novactl\rby library\r"
        os.kill(broker, signal.SIGKILL)
        assert run(SEND, target, "killed", env=env_of(made)).code == 0
        assert new_bytes(reader, 32, 7) == b"killed\r"


def test_what_is_for_others_waits_for_a_broker_that_is_gone_and_arrives_once(tmp_path: Path) -> None:
    """The agent of another node; its pane is on this machine, so that the script can name it."""
    quick = {"NOVA_BROKER_LEASE_S": "60"}
    with node(env=quick) as made, neighbour(made, NOVA_TMUX=str(made.tmux.socket_path), **quick) as other:
        log = tmp_path / "far.bytes"
        pane = made.tmux.open_program("rawlog.py", [str(log)])
        made.tmux.wait_for(pane, "READY")
        other.register("far", pane)
        far = Raw(other, "far", pane, log)
        until(lambda: "far" in str(made.call("agents")), what="the agent of the other node")
        broker = int((made.state / "broker" / "broker.pid").read_text())
        os.kill(broker, signal.SIGSTOP)
        try:
            until(lambda: made.call("status")["broker"]["state"] != "up", 30, "a broker that is missed")
            assert made.novactl("send", "far", "by novactl").returncode == 0
            nova = NovaOrchestrator(socket=made.socket)
            assert nova.send_message("far", "by library").state == "accepted"
            said = run(SEND, pane, "by script", env=env_of(made))
            assert (said.out, said.code) == (f"Message held for {pane}: by script\n".encode(), 0)
            assert far.bytes() == b""
        finally:
            os.kill(broker, signal.SIGCONT)
        arrived = new_bytes(far, 0, 32).split(b"\r")
        assert sorted(arrived) == [b"", b"by library", b"by novactl", b"by script"]
        made.send_wait("far", "the end")
        assert len(far.bytes()) == 40


def test_with_the_daemon_killed_its_agents_get_it_by_tmux(tmp_path: Path) -> None:
    with node() as made:
        agent = tui(made, tmp_path, "claude-2", shell=True)
        made.kill()
        target = target_of(made, agent.pane)
        assert run(SEND, target, "no daemon", env=env_of(made)) == Said(
            f"Message sent to {target}: no daemon\n".encode(), "", 0
        )
        assert agent.wait_prompts(1)[0].rstrip() == "no daemon"
        agent.press("C-d")
        until(lambda: made.tmux.value(agent.pane, "pane_current_command") != "claude", what="the shell")
        said = run(SEND, target, "echo into the shell", env=env_of(made))
        assert (said.out, said.code) == (b"", 7)
        assert "the pane belongs to agent claude-2, which is not in front" in said.err
