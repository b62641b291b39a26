"""What stands in the way of a message holds it, with the reason, and nothing is typed; it arrives once after."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agents import end_pane_program, held, raw, tmux_pid, tui
from tests.support.node import TestNode, node, until
from tests.support.traffic import Senders, plans, wait_final


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    """One node for all tests here: each uses agents and panes of its own."""
    with node() as made:
        yield made
        for record in made.call("agents"):
            made.call("unregister", {"agent_id": record["agent_id"]})


def wait_held(running: TestNode, message: str, agent: str, reason: str) -> None:
    """The receipt and `status` both say that the message is held, and why."""
    receipt = running.wait_state(message, "held")
    until(lambda: running.receipt(message)["reason"] == reason, 45, f"{reason}, not {receipt}")
    row = until(lambda: held(running, agent), 45, "the line in status")
    assert (row["id"], row["reason"]) == (message, reason)
    assert row["detail"]


def test_copy_mode_holds_until_the_reader_leaves(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "reader")
    running.tmux.tmux("copy-mode", "-t", agent.pane)
    message = running.send("reader", "after reading")["id"]
    wait_held(running, message, "reader", "copy_mode")
    assert running.tmux.value(agent.pane, "pane_in_mode") == "1"
    assert agent.bytes() == b""
    running.tmux.tmux("copy-mode", "-q", "-t", agent.pane)
    running.wait_state(message, "submitted")
    assert agent.bytes() == b"after reading\r"


def test_a_dead_pane_holds_and_tmux_lives(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "corpse")
    server = tmux_pid(running)
    running.tmux.tmux("set-option", "-p", "-t", agent.pane, "remain-on-exit", "on")
    command = running.tmux.value(agent.pane, "pane_start_command").strip('"')
    end_pane_program(running, agent.pane)
    until(lambda: running.tmux.value(agent.pane, "pane_dead") == "1", 45, "its death")
    message = running.send("corpse", "for the next life")["id"]
    wait_held(running, message, "corpse", "no_agent")
    assert tmux_pid(running) == server
    running.tmux.tmux("respawn-pane", "-t", agent.pane, command)
    running.wait_state(message, "submitted")  # it has read it; it writes it down a moment later
    until(agent.bytes, what="the log of the pane")
    assert agent.bytes() == b"for the next life\r"
    assert tmux_pid(running) == server


def test_a_program_that_dies_while_messages_flow_leaves_tmux_alive(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "mortal")
    server = tmux_pid(running)
    running.tmux.tmux("set-option", "-p", "-t", agent.pane, "remain-on-exit", "on")
    command = running.tmux.value(agent.pane, "pane_start_command").strip('"')
    sent = plans(random.Random(1), senders=5, each=40, single=False)
    senders = Senders(running, "mortal", sent, pace_s=0.02)
    senders.start()
    for life in range(4):
        size = len(agent.bytes())
        flows = functools.partial(lambda size: len(agent.bytes()) > size or not senders.alive, size)
        until(flows, 45, f"flow in life {life}")
        with agent.log.open("rb") as read_is_written:  # else what it has read may die with it
            fcntl.flock(read_is_written, fcntl.LOCK_EX)
            end_pane_program(running, agent.pane)
        until(lambda: running.tmux.value(agent.pane, "pane_dead") == "1", 45, "its death")
        assert tmux_pid(running) == server
        running.tmux.tmux("respawn-pane", "-t", agent.pane, command)
    senders.join(60)
    states = wait_final(running, sent, 60)
    assert set(states) <= {"submitted", "unconfirmed"}
    assert states["unconfirmed"] <= 4  # at most the one that was being typed in each life
    log = agent.bytes()
    for plan in sent:
        for message, body in plan.messages:
            tag = body[: body.index(">") + 1].encode()
            state = running.receipt(message)["state"]
            assert log.count(tag) == 1 or (state == "unconfirmed" and log.count(tag) == 0), (tag, state)


def test_input_switched_off_holds_until_it_is_on(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "deaf")
    running.tmux.tmux("select-pane", "-d", "-t", agent.pane)
    message = running.send("deaf", "hello")["id"]
    wait_held(running, message, "deaf", "input_off")
    running.tmux.tmux("select-pane", "-e", "-t", agent.pane)
    running.wait_state(message, "submitted")
    assert agent.bytes() == b"hello\r"


def test_a_killed_pane_holds_until_the_agent_is_registered_elsewhere(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path, "moved")
    running.tmux.tmux("kill-pane", "-t", agent.pane)
    message = running.send("moved", "found you")["id"]
    wait_held(running, message, "moved", "no_agent")
    (record,) = (a for a in running.call("agents") if a["agent_id"] == "moved")
    assert (record["state"], record["pane"], record["queued"]) == ("lost", "", 1)
    codes = {check["code"] for check in running.call("status")["health"]}
    assert "agent_away" in codes
    again = raw(running, tmp_path, "moved")
    running.wait_state(message, "submitted")
    assert again.bytes() == b"found you\r"


def test_nothing_is_typed_into_the_shell_that_a_program_leaves(running: TestNode, tmp_path: Path) -> None:
    taken, hacked = tmp_path / "taken", tmp_path / "hacked"
    pane = running.tmux.open("sh")
    running.tmux.wait_for(pane, "$")
    running.tmux.press(pane, f"cat >> {taken}", "Enter")
    until(lambda: running.tmux.value(pane, "pane_current_command") == "cat", 45, "cat")
    running.register("cat", pane)
    assert running.send_wait("cat", "first")["state"] == "submitted"
    running.tmux.press(pane, "C-c")
    until(lambda: running.tmux.value(pane, "pane_current_command") == "sh", 45, "the shell")
    before = running.tmux.capture(pane)
    message = running.send("cat", f"touch {hacked}")["id"]
    wait_held(running, message, "cat", "no_agent")
    assert running.tmux.capture(pane) == before
    running.tmux.press(pane, f"cat >> {taken}", "Enter")
    running.wait_state(message, "submitted")
    assert taken.read_text() == f"first\ntouch {hacked}\n"
    assert not hacked.exists()


def test_nothing_is_typed_into_the_shell_that_an_agent_leaves(running: TestNode, tmp_path: Path) -> None:
    hacked = tmp_path / "hacked"
    agent = tui(running, tmp_path, "quitter", shell=True)
    prompts = agent.screen().count("\n$ ")
    agent.press("C-d")
    until(lambda: agent.screen().count("\n$ ") > prompts, 45, "the shell's prompt")
    before = agent.screen()
    message = running.send("quitter", f"touch {hacked}")["id"]
    wait_held(running, message, "quitter", "no_agent")
    assert agent.state() == "exited"
    assert agent.screen() == before
    agent.launch()
    running.wait_state(message, "submitted")
    assert agent.wait_prompts(1) == [f"touch {hacked}"]
    assert not hacked.exists()


def test_an_agent_that_leaves_while_messages_flow_leaves_a_shell_without_a_letter_of_them(
    running: TestNode, tmp_path: Path
) -> None:
    hacked = tmp_path / "hacked"
    agent = tui(running, tmp_path, "leaver", shell=True)
    ids = [running.send("leaver", f"touch {hacked}-{n}")["id"] for n in range(12)]
    agent.wait_prompts(3)
    end_pane_program_in_front(running, agent.pane)
    until(lambda: running.tmux.value(agent.pane, "pane_current_command") == "sh", 45, "the shell")
    until(lambda: held(running, "leaver"), 45, "the hold")
    agent.launch()
    for message in ids:
        running.wait_state(message, "submitted", "unconfirmed")
    prompts = agent.prompts()
    assert len(prompts) == len(set(prompts))
    missing = {f"touch {hacked}-{n}" for n in range(12)} - set(prompts)
    unconfirmed = [m for m in ids if running.receipt(m)["state"] == "unconfirmed"]
    assert len(missing) <= len(unconfirmed) <= 1
    assert list(tmp_path.glob("hacked*")) == []


def end_pane_program_in_front(running: TestNode, pane: str) -> None:
    """kill -9 what runs in front of the pane's shell."""
    shell = running.tmux.value(pane, "pane_pid")
    front = int(Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[5])
    assert front != int(shell)
    os.kill(front, signal.SIGKILL)


def test_a_program_that_does_not_read_is_said_to(running: TestNode, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pane = running.tmux.open_program("rawlog.py", [str(log), "--stall", "6"])
    running.tmux.wait_for(pane, "READY")
    running.register("sleeper", pane)
    running.tmux.press(pane, "x")
    message = running.send("sleeper", "wake up")["id"]
    wait_held(running, message, "sleeper", "not_reading")
    running.wait_state(message, "submitted")
    assert log.read_bytes() == b"xwake up\r"


def test_a_program_that_stops_reading_keeps_its_message_typed_not_delivered(
    running: TestNode, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    pane = running.tmux.open_program("rawlog.py", [str(log), "--stall", "6"])
    running.tmux.wait_for(pane, "READY")
    running.register("stopper", pane)
    first, second = (running.send("stopper", body)["id"] for body in ("one", "two"))
    running.wait_state(first, "typed")
    until(lambda: running.receipt(first)["reason"] == "not_reading", 45, "the reason")
    row = until(lambda: held(running, "stopper"), 45, "the line in status")
    assert (row["id"], row["reason"]) == (first, "not_reading")
    assert log.read_bytes() == b""
    running.wait_state(second, "submitted")
    assert running.receipt(first)["state"] == "submitted"
    assert log.read_bytes() == b"one\rtwo\r"


def test_synchronised_panes_get_a_message_only_where_it_belongs(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "sync-1")
    other_log = tmp_path / "other"
    command = running.tmux.value(agent.pane, "pane_start_command").strip('"')
    split = ["split-window", "-d", "-P", "-F", "#{pane_id}", "-t", agent.pane]
    other = running.tmux.tmux(*split, command.replace(str(agent.log), str(other_log))).strip()
    running.tmux.wait_for(other, "READY")
    running.tmux.tmux("set-option", "-w", "-t", agent.pane, "synchronize-panes", "on")
    assert running.send_wait("sync-1", "only\nhere")["state"] == "submitted"
    assert agent.bytes() == b"only\nhere\r"
    assert other_log.read_bytes() == b""


def test_an_agent_is_found_wherever_its_window_goes(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "nomad")
    tmux = running.tmux.tmux
    session = running.tmux.value(agent.pane, "session_name")
    want = b""
    for number, change in enumerate(
        (
            ["rename-window", "-t", agent.pane, "another name"],
            ["move-window", "-s", agent.pane, "-t", f"{session}:77"],
            ["rename-session", "-t", session, "renamed"],
            ["split-window", "-d", "-b", "-t", agent.pane, "sleep 1000"],
            ["break-pane", "-d", "-s", agent.pane],
            ["set-option", "-g", "base-index", "5"],
            ["move-window", "-r", "-t", "renamed"],
        )
    ):
        tmux(*change)
        assert running.send_wait("nomad", f"stop {number}")["state"] == "submitted"
        want += f"stop {number}\r".encode()
    assert agent.bytes() == want
    (record,) = (a for a in running.call("agents") if a["agent_id"] == "nomad")
    assert (record["pane"], record["session"]) == (agent.pane, "renamed")


def test_a_window_is_a_target_by_its_number(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path, "numbered")
    target = (
        running.tmux.value(agent.pane, "session_name") + ":" + running.tmux.value(agent.pane, "window_index")
    )
    receipt = running.send_wait(target, "by number")
    assert (receipt["state"], receipt["agent"]) == ("submitted", "numbered")
    assert agent.bytes() == b"by number\r"


def test_two_agents_in_one_window_get_their_own(running: TestNode, tmp_path: Path) -> None:
    left = raw(running, tmp_path, "left")
    right_log = tmp_path / "right"
    command = running.tmux.value(left.pane, "pane_start_command").strip('"')
    split = ["split-window", "-h", "-d", "-P", "-F", "#{pane_id}", "-t", left.pane]
    pane = running.tmux.tmux(*split, command.replace(str(left.log), str(right_log))).strip()
    running.tmux.wait_for(pane, "READY")
    running.register("right", pane)
    ids = [running.send(name, f"for {name} {n}")["id"] for n in range(10) for name in ("left", "right")]
    for message in ids:
        running.wait_state(message, "submitted")
    assert left.bytes() == b"".join(b"for left %d\r" % n for n in range(10))
    assert right_log.read_bytes() == b"".join(b"for right %d\r" % n for n in range(10))
