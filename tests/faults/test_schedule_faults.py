"""Schedules and what can go wrong: each time is sent once, whoever dies, forgets or comes back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import BrokerUnavailable, NovaError
from noval_d.failpoints import VARIABLE
from tests.faults.test_two_nodes import neighbour
from tests.integration.test_schedules import add, over, shown
from tests.support.agents import raw
from tests.support.broker import ask
from tests.support.node import TestNode, node, until

QUICK = {"NOVA_SCHEDULE_ON_TIME_S": "0.3"}
SHORT_LEASE = {"NOVA_BROKER_LEASE_S": "2", "NOVA_BROKER_BEAT_S": "0.5"}


def kept(running: TestNode, agent: str) -> bytes:
    return ask(str(running.state / "broker" / "broker.sock"), "HKEYS", f"nova:{{a:{agent}}}:sched")


def empty(running: TestNode, agent: str) -> bool:
    return b":0" in ask(str(running.state / "broker" / "broker.sock"), "XLEN", f"nova:{{a:{agent}}}:mbx")


def dead_with_an_empty_mailbox(running: TestNode, agent: str) -> bool:
    """Kill the daemon when it owes nothing: what it typed and had not acknowledged its heir would type again."""
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)
    if empty(running, agent):
        running.kill()
        return True
    running.process.send_signal(signal.SIGCONT)
    return False


def broker_pid(running: TestNode) -> int:
    told = until(lambda: (running.state / "broker" / "broker.pid").read_text().strip(), 45, "its number")
    return int(told)


def test_what_was_missed_while_the_daemon_was_down_follows_its_policy(tmp_path: Path) -> None:
    with node(env=QUICK) as running:
        agent = raw(running, tmp_path)
        ahead = add(running, body="in time", in_s=8)["id"]
        late = add(running, body="late", in_s=4)["id"]
        left_out = add(running, body="left out", in_s=4, missed="skip")["id"]
        too_late = add(running, body="too late", in_s=4, late_s=0.5)["id"]
        again = add(running, body="again", every_s=1)["id"]
        due = time.monotonic() + 4
        assert running.stop() == 0
        time.sleep(max(0.0, due + 1.0 - time.monotonic()))
        running.start()
        running.wait_up()
        assert over(running, late, "finished")["fired"] == 1
        assert over(running, left_out, "missed")["reason"] == "nobody was there"
        over(running, too_late, "missed")
        until(lambda: shown(running, again)["fired"] >= 2, 45, "the repeating one going on")
        running.call("schedule_cancel", {"id": again})
        over(running, ahead, "finished")
        fired = shown(running, again)["fired"]
        until(lambda: agent.bytes().count(b"\r") == fired + 2, 45, "everything typed")
        lines = agent.bytes().split(b"\r")[:-1]
        assert sorted(lines) == [*[b"again"] * fired, b"in time", b"late"]


def test_a_daemon_killed_at_any_moment_of_sending_sends_it_once(tmp_path: Path) -> None:
    with node(env=QUICK) as running:
        agent = raw(running, tmp_path)
        expected = b""
        for moment in ("schedule.before", "schedule.after", "schedule.told"):
            assert running.stop() == 0
            running.env = {**QUICK, VARIABLE: f"{moment}=kill"}
            running.start()
            running.wait_up()
            until(lambda: running.call("agents")[0]["pane"], 45, "its pane")
            schedule = add(running, body=moment, in_s=0.5)["id"]
            assert running.process is not None
            assert running.process.wait(20) == -signal.SIGKILL
            running.env = QUICK
            running.start()
            running.wait_up()
            assert over(running, schedule, "finished")["last_id"] == schedule
            running.wait_state(schedule, "submitted")
            expected += moment.encode() + b"\r"
            assert agent.bytes() == expected
        time.sleep(0.5)
        assert agent.bytes() == expected
        assert running.stop() == 0


def test_a_repeating_schedule_under_kills_sends_each_time_once(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        schedule = add(running, body="tick", every_s=1)["id"]
        for pause in (1.02, 0.4, 1.6):
            time.sleep(pause)
            running.kill()
            running.start()
        running.wait_up()
        running.call("schedule_cancel", {"id": schedule})
        fired = shown(running, schedule)["fired"]
        until(lambda: agent.bytes() == b"tick\r" * fired, 45, f"{fired} ticks, {agent.bytes()!r}")
        assert fired >= 2


def test_without_any_broker_a_nodes_own_schedules_go_on(tmp_path: Path) -> None:
    with node(start=False, env={"NOVA_BROKER_URL": "redis://127.0.0.1:1"}) as running:
        running.start()
        until(lambda: running.call("status")["tmux"][0]["state"] == "up", 45, "tmux")
        agent = raw(running, tmp_path)
        schedule = add(running, in_s=0.5)["id"]
        running.kill()
        running.start()
        until(lambda: agent.bytes() == b"later\r", 45, "the message")
        over(running, schedule, "finished")
        assert running.stop() == 0


def test_a_broker_that_is_wiped_killed_or_rolled_back_loses_and_repeats_nothing(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        assert running.capture is not None
        running.capture.stop()  # what this test sends itself is not the node's
        running.capture = None
        socket = str(running.state / "broker" / "broker.sock")
        done = add(running, body="before", in_s=0.2)["id"]
        soon = add(running, body="after", in_s=4)["id"]
        over(running, done, "finished")
        until(lambda: agent.bytes() == b"before\r", 45, "the first")
        old = ask(socket, "HGET", "nova:{a:raw}:sched", f"{done}.m")
        assert b"finished" in old
        assert b"OK" in ask(socket, "FLUSHALL")
        until(lambda: soon.encode() in kept(running, "raw"), 45, "the schedule in the wiped broker")
        # an old snapshot: it says that the first was never sent
        ask(socket, "HSET", "nova:{a:raw}:sched", f"{done}.m", "0" + "0" * 22 + "||0|0||")
        pid = broker_pid(running)
        os.kill(pid, signal.SIGKILL)
        until(lambda: running.log().count("broker.up") >= 3, 45, "a new broker")
        over(running, soon, "finished", 20)
        until(lambda: agent.bytes() == b"before\rafter\r", 45, f"both once, {agent.bytes()!r}")
        until(lambda: b"finished" in ask(socket, "HGET", "nova:{a:raw}:sched", f"{done}.m"), 45, "the mark")
        assert shown(running, done)["fired"] == 1


def test_the_owner_sends_what_another_node_added_and_a_new_owner_goes_on(tmp_path: Path) -> None:
    with node(env=SHORT_LEASE) as first:
        agent = raw(first, tmp_path)
        raw(first, tmp_path, "far")
        with neighbour(first) as second:
            until(lambda: len(second.call("agents")) == 2, 45, "the agents, seen from the second node")
            sent = add(second, body="from afar", in_s=0.3)["id"]
            until(lambda: agent.bytes() == b"from afar\r", 45, "the message")
            assert over(second, sent, "finished")["node"] == "other"
            assert first.receipt(sent)["state"] == "submitted"
            ended = add(second, body="never", in_s=500)["id"]
            until(
                lambda: any(row["id"] == ended for row in first.call("schedule_list")), 10, "it at its owner"
            )
            assert first.call("schedule_cancel", {"id": ended})["state"] == "cancelled"
            assert shown(second, ended)["state"] == "cancelled"
            # the owner dies, and the agent is registered at the other node
            far = add(second, "far", in_s=500)["id"]
            taken = add(first, body="to whoever has it", in_s=10)["id"]
            again = add(second, body="tick", every_s=1)["id"]
            until(lambda: b"tick" in agent.bytes(), 45, "the first tick")
            until(lambda: dead_with_an_empty_mailbox(first, "raw"), 45, "a moment between two ticks")
            (tmp_path / "second").mkdir()

            def registered() -> Any:
                try:
                    return raw(second, tmp_path / "second")
                except NovaError:
                    return None

            other = until(registered, 45, "the agent at the second node")
            until(lambda: b"to whoever has it" in other.bytes(), 45, f"the rest, {second.log()[-2000:]}")
            assert over(second, taken, "finished")["fired"] == 1
            second.call("schedule_cancel", {"id": again})

            def ticks() -> int:
                return agent.bytes().count(b"tick\r") + int(other.bytes().count(b"tick\r"))

            until(lambda: ticks() >= shown(second, again)["fired"], 45, "the last tick")
            time.sleep(0.5)
            assert ticks() == shown(second, again)["fired"]
            assert agent.bytes().count(b"from afar") + other.bytes().count(b"from afar") == 1
            # without the broker nobody can tell the owner of another agent that something is cancelled
            os.kill(broker_pid(first), signal.SIGKILL)
            until(lambda: second.call("status")["broker"]["state"] == "down", 45, "the loss of the broker")
            with pytest.raises(BrokerUnavailable, match="Nothing was changed"):
                second.call("schedule_cancel", {"id": far})
            assert shown(second, far)["state"] == "waiting"
