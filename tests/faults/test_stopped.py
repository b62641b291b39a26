"""tmux or the broker stopped, killed or wiped: the node goes on answering, says what is wrong, loses nothing."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from tests.support.agents import held, raw, tmux_pid
from tests.support.broker import ask
from tests.support.node import TestNode, node, until
from tests.support.tmux import stopped
from tests.support.traffic import Plan, Senders, parse, plans, wait_final

STOPPED_S = 10.0
ANSWER_S = STOPPED_S / 2  # what waits for the part that is stopped takes all of it


class Pings:
    """Asks the node all the time how it is; `worst_s` is its slowest answer, `codes` what `status` named."""

    def __init__(self, node: TestNode) -> None:
        self.node = node
        self.worst_s = 0.0
        self.codes: set[str] = set()
        self.problems: list[str] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name,), daemon=True) for name in ("ping", "status")
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, name: str) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            try:
                answer = self.node.call(name)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.problems.append(f"{name}: {error!r}")
                return
            took_s = time.monotonic() - began
            self.worst_s = max(self.worst_s, took_s)
            if name == "status":
                self.codes |= {check["code"] for check in answer["health"]}
            self._end.wait(0.1)


def broker_pid(running: TestNode) -> int:
    """Return it; 0 while the server, which makes the file and then fills it, has not told."""
    told = (running.state / "broker" / "broker.pid").read_text().strip()
    return int(told or 0)


def flow(running: TestNode, seed: int, *, each: int = 60, pace_s: float = 0.5) -> tuple[list[Plan], Senders]:
    sent = plans(random.Random(seed), senders=6, each=each, large=[4096] * 20 + [65536] * 4)
    senders = Senders(running, "raw", sent, pace_s=pace_s, seed=seed)
    senders.start()
    return sent, senders


def all_once(running: TestNode, sent: list[Plan], senders: Senders, path: Path) -> None:
    senders.join(60)
    states = wait_final(running, sent, 60)
    assert parse(path.read_bytes(), sent) == []
    assert set(states) == {"submitted"}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["tmux", "broker"])
def test_a_part_that_is_stopped_for_ten_seconds_costs_nothing(tmp_path: Path, part: str) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        sent, senders = flow(running, 1)
        until(lambda: len(agent.bytes()) > 200, 45, "the flow")
        with Pings(running) as pings:
            with stopped(tmux_pid(running) if part == "tmux" else broker_pid(running)):
                time.sleep(STOPPED_S)
            code = "tmux_not_answering" if part == "tmux" else "broker_down"
            assert code in pings.codes
            all_once(running, sent, senders, agent.log)
        assert pings.problems == []
        assert pings.worst_s < ANSWER_S
        status = until(lambda: not (s := running.call("status"))["health"] and s, 45, "a healthy status")
        assert (status["broker"]["state"], status["tmux"][0]["state"]) == ("up", "up")
        assert running.stop() == 0


def test_a_stopped_tmux_is_named_without_any_message(tmp_path: Path) -> None:
    with node() as running:
        raw(running, tmp_path)
        with stopped(tmux_pid(running)):
            until(lambda: codes(running) == {"tmux_not_answering"}, 45, "the finding")
        until(lambda: codes(running) == set(), 45, "a healthy status")


def codes(running: TestNode) -> set[str]:
    return {check["code"] for check in running.call("status")["health"]}


@pytest.mark.slow
def test_a_broker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        sent, senders = flow(running, 2, each=40)
        for _ in range(3):
            size = len(agent.bytes())
            until(lambda size=size: len(agent.bytes()) > size + 100, 45, "the flow")  # type: ignore[misc]
            pid = broker_pid(running)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: broker_pid(running) not in (0, pid), 45, "a new broker")  # type: ignore[misc]
            until(lambda: running.call("status")["broker"]["state"] == "up", 45, "the broker")
        all_once(running, sent, senders, agent.log)
        assert running.stop() == 0


@pytest.mark.slow
def test_a_broker_that_is_wiped_loses_nothing(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        running.call("pause", {"agent_id": "raw"})
        sent, senders = flow(running, 3, each=30, pace_s=0.2)
        socket = str(running.state / "broker" / "broker.sock")
        assert running.capture is not None
        running.capture.stop()  # what this test sends itself is not the node's
        running.capture = None
        for _ in range(3):
            time.sleep(0.7)
            assert b"OK" in ask(socket, "FLUSHALL")
        running.call("resume", {"agent_id": "raw"})
        time.sleep(0.5)
        assert b"OK" in ask(socket, "FLUSHALL")
        all_once(running, sent, senders, agent.log)
        late = running.send_wait("raw", "after the wipe")
        assert late["state"] == "submitted"
        assert running.stop() == 0


def test_messages_wait_for_a_new_tmux_server_when_the_old_one_is_killed(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        assert running.send_wait("raw", "before")["state"] == "submitted"
        pid = tmux_pid(running)
        os.kill(pid, signal.SIGKILL)
        ids = [running.send("raw", f"waiting {n}")["id"] for n in range(5)]
        running.wait_state(ids[0], "held")
        row = until(lambda: held(running, "raw"), 45, "the line in status")
        assert row["reason"] == "no_agent"
        until(lambda: running.call("agents")[0]["queued"] == 5, 45, "five in the queue")
        (record,) = running.call("agents")
        assert (record["state"], record["pane"]) == ("lost", "")
        assert "tmux_absent" in codes(running)
        assert agent.bytes() == b"before\r"
        agent.log.unlink()
        running.tmux.open("sleep 1000")
        until(lambda: running.call("status")["tmux"][0]["state"] == "up", 45, "the new server")
        assert held(running, "raw")
        again = raw(running, tmp_path)
        for message in ids:
            running.wait_state(message, "submitted")
        assert again.bytes() == b"".join(b"waiting %d\r" % n for n in range(5))
        assert running.stop() == 0


@pytest.mark.slow
def test_a_stop_in_order_while_messages_flow_loses_and_repeats_nothing(tmp_path: Path) -> None:
    rng = random.Random(5)
    with node() as running:
        agent = raw(running, tmp_path)
        sent, senders = flow(running, 5, each=50, pace_s=0.3)
        for _ in range(5):
            time.sleep(rng.uniform(0.2, 1.0))
            assert running.stop() == 0
            assert not Path(running.socket).exists()
            running.start()
        all_once(running, sent, senders, agent.log)
        assert running.stop() == 0


def test_without_any_broker_local_messages_are_delivered(tmp_path: Path) -> None:
    with node(start=False, env={"NOVA_BROKER_URL": "redis://:geheim@127.0.0.1:1"}) as running:
        running.start()
        until(lambda: running.call("status")["tmux"][0]["state"] == "up", 45, "tmux")
        agent = raw(running, tmp_path)
        status = running.call("status")
        assert (status["mode"], status["broker"]["state"]) == ("fallback", "down")
        assert "geheim" not in f"{status}{running.log()}"
        assert "broker_down" in {check["code"] for check in status["health"]}
        sent, senders = flow(running, 6, each=30, pace_s=0.01)
        all_once(running, sent, senders, agent.log)
        running.kill()
        running.start()
        assert running.send_wait("raw", "still")["state"] == "submitted"
        assert agent.bytes().endswith(b"still\r")
        assert running.stop() == 0


def test_a_call_before_it_is_known_which_panes_there_are_is_done_in_its_agents_name(tmp_path: Path) -> None:
    with node() as running, ThreadPoolExecutor(1) as aside:
        agent = raw(running, tmp_path)
        where = {"pane": agent.pane, "tmux": f"{running.tmux.socket_path},{tmux_pid(running)},0"}
        running.kill()
        with stopped(tmux_pid(running)):
            running.start()
            until(lambda: running.call("status")["broker"]["state"] == "up", what="the broker")
            added = aside.submit(running.call, "task_add", {"title": "mine", "anyway": True, **where})
            time.sleep(0.3)
            assert not added.done()
        assert running.call("task_show", {"id": added.result(20)["id"]})["creator"] == "raw"
