"""A message for an idle agent is marked as it is read; who has to wait with one takes the mark away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.broker import Broker, Enqueue, Lane, scripts
from nova_torch.codec import encode_message
from nova_torch.keys import Keys
from nova_torch.ulid import new_ulid
from noval_d.failpoints import VARIABLE
from tests.faults.test_fencing import arm, died, moved, pair, sent_together, stopped_itself
from tests.faults.test_review_node import foreign, on_broker
from tests.support import pair as far_away
from tests.support.agents import Raw
from tests.support.capture import ask
from tests.support.node import TestNode, until
from tests.support.scripts_run import Ran, scripts_run


def broker_of(node: TestNode) -> str:
    return str(node.state / "broker" / "broker.sock")


def marked(node: TestNode, message: str) -> str:
    """Return whose mark a message for `raw` bears in the broker of `node`."""
    reply = ask(broker_of(node), "HGET", Keys().mailbox("raw").seen, f">{message}")
    return "" if reply.startswith(b"$-1") else reply.decode()


def held_again(ran: Ran) -> list[list[str]]:
    """Return message and node of every mark that was made, or (no node) taken away, by a script of its own."""
    return [words[1:] for words in ran.of(scripts.HOLD)]


@contextlib.contextmanager
def unread(agent: Raw) -> Iterator[None]:
    """Have its program leave a byte unread, which nobody sees before somebody looks."""
    with agent.log.open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # it reads under this lock
        agent.node.tmux.press(agent.pane, "x")
        yield


def restart(which: TestNode) -> None:
    del which.env[VARIABLE]
    which.start()
    which.wait_up()


def test_for_an_idle_agent_it_is_marked_as_it_is_read_and_no_script_more_is_run(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, agent):
        with scripts_run(broker_of(first)) as ran:
            sent = [str(first.send_wait("raw", f"message {n}")["id"]) for n in range(3)]
        assert held_again(ran) == []
        assert "other" in {words[6] for words in ran.of(scripts.READ)}
        arm(second, "begin.after=pause")
        sent.append(str(first.send("raw", "message 3")["id"]))
        stopped_itself(second)
        assert marked(first, sent[-1]) == "other"
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGCONT)
        first.wait_state(sent[-1], "submitted")
        until(lambda: not any(marked(first, message) for message in sent), what="the end of all marks")
        assert agent.bytes() == b"".join(b"message %d\r" % n for n in range(4))


def test_of_two_that_are_read_together_the_second_is_marked_before_it_is_typed(tmp_path: Path) -> None:
    both = [foreign(new_ulid(), "raw", body) for body in ("first", "second")]

    async def put(broker: Broker) -> None:
        await broker.enqueue(
            [
                Enqueue(agent="raw", message_id=one.id, lane=Lane.MBX, payload=encode_message(one), limit=9)
                for one in both
            ]
        )

    with pair(tmp_path) as (first, _, agent):
        with scripts_run(broker_of(first)) as ran:
            on_broker(first, put)
            until(lambda: agent.bytes() == b"first\rsecond\r", what="both")
        assert held_again(ran) == [[both[1].id, "other"]]


def test_one_that_has_to_wait_after_all_bears_no_mark_and_is_the_next_owners(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        with scripts_run(broker_of(first)) as ran, unread(before):
            sent = str(first.send("raw", "never typed there")["id"])
            first.wait_state(sent, "held")
            until(lambda: not marked(first, sent), what="the end of its mark")
            second.kill()
        assert held_again(ran) == [[sent, ""]]
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "submitted")
        assert (before.bytes(), agent.bytes()) == (b"x", b"never typed there\r")


def test_one_that_waited_is_marked_before_it_is_typed(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, _, agent):
        with scripts_run(broker_of(first)) as ran:
            with unread(agent):
                sent = str(first.send("raw", "typed later")["id"])
                first.wait_state(sent, "held")
            first.wait_state(sent, "submitted")
        assert held_again(ran) == [[sent, ""], [sent, "other"]]
        assert agent.bytes() == b"xtyped later\r"


def test_one_that_an_urgent_one_overtakes_bears_no_mark_meanwhile(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, _):
        arm(second, "paste.before=pause")
        later, urgent = sent_together(first, second, "later", "urgent", priorities=("high", "urgent"))
        stopped_itself(second)
        assert (marked(first, later), marked(first, urgent)) == ("", "other")
        second.kill()
        agent = moved(first, tmp_path / "second")
        first.wait_state(urgent, "unconfirmed")
        first.wait_state(later, "submitted")
        assert agent.bytes() == b"later\r"


@pytest.mark.parametrize("step", ["read.after", "begin.after"])
def test_its_owner_comes_back_and_types_it_once(tmp_path: Path, step: str) -> None:
    with pair(tmp_path) as (first, second, agent):
        arm(second, f"{step}=kill")
        sent = str(first.send("raw", "once")["id"])
        died(second)
        assert marked(first, sent) == "other"
        restart(second)
        first.wait_state(sent, "submitted")
        assert agent.bytes() == b"once\r"


def test_its_owner_comes_back_and_has_to_wait_with_it_and_dies_for_good(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, "read.after=kill")
        sent = str(first.send("raw", "never typed there")["id"])
        died(second)
        with unread(before):
            restart(second)
            first.wait_state(sent, "held")
            until(lambda: not marked(first, sent), what="the end of its mark")
            second.kill()
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "submitted")
        assert (before.bytes(), agent.bytes()) == (b"x", b"never typed there\r")


def test_its_owner_dies_for_good_when_its_ledger_says_that_it_types_it(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, "begin.after=kill")
        sent = str(first.send("raw", "perhaps")["id"])
        died(second)
        agent = moved(first, tmp_path / "second")
        assert "node other" in first.wait_state(sent, "unconfirmed")["reason"]
        assert (before.bytes(), agent.bytes()) == (b"", b"")


@pytest.mark.parametrize("loss", ["reset", "wiped"])
def test_a_broker_that_is_lost_between_its_read_and_its_paste_costs_nothing(loss: str) -> None:
    with far_away.pair() as both:
        arm_far(both.far)
        both.send("there")
        stopped_itself(both.far)
        if loss == "wiped":
            both.server.ask("FLUSHALL")
        both.far_way.cut()
        time.sleep(0.1)
        assert both.far.process is not None
        os.kill(both.far.process.pid, signal.SIGCONT)
        both.send("there", 2)
        for message, _ in both.sent["there"]:
            both.near.wait_state(message, "submitted")
        assert both.there.bytes() == b"message 0\rmessage 1\rmessage 2\r"


def arm_far(far: TestNode) -> None:
    """Start the daemon anew, to stop when it has read a message."""
    assert far.stop() == 0
    far.env[VARIABLE] = "read.after=pause"
    far.start()
    far.wait_up()
    until(lambda: all(agent["pane"] for agent in far.call("agents", {"node": "far"})), 45, "its pane")
