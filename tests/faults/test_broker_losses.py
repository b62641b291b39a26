"""The broker loses what it had, or its replies: outboxes send again, ledgers answer, nothing is typed twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from nova_torch.broker import scripts
from tests.support.faulty import Words, faulty_proxy, of
from tests.support.node import until
from tests.support.pair import Pair, pair
from tests.support.servers import own_server

PutBack = Callable[[], None]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture
def both(shared: Pair) -> Pair:
    """Two nodes that are well."""
    shared.alive()
    until(shared.well, 45, f"health: {shared.finding()}")
    return shared


@contextlib.contextmanager
def wiped(both: Pair) -> Iterator[PutBack]:
    def put_back() -> None:
        both.server.ask("FLUSHALL")

    yield put_back


@contextlib.contextmanager
def old_snapshot(both: Pair) -> Iterator[PutBack]:
    saved = both.server.saved()

    def put_back() -> None:
        both.server.kill()
        (both.server.folder / "dump.rdb").write_bytes(saved)
        both.server.start()

    yield put_back


@contextlib.contextmanager
def empty_successor(both: Pair) -> Iterator[PutBack]:
    def put_back() -> None:
        both.server.kill()
        (both.server.folder / "dump.rdb").unlink(missing_ok=True)
        both.server.start()

    yield put_back


@contextlib.contextmanager
def lagging_replica(both: Pair) -> Iterator[PutBack]:
    """A replica that hears nothing more from now on is promoted, and the broker's address leads to it.

    In the end it dies too, and the old master comes back without anything that happened since.
    """
    both.server.saved()
    with faulty_proxy(both.server.port) as line, own_server() as replica, contextlib.ExitStack() as deaf:
        replica.ask("REPLICAOF", "127.0.0.1", line.port)
        until(lambda: replica.told("replication", "master_link_status") == "up", 45, "the replica")
        offset = both.server.told("replication", "master_repl_offset")
        until(lambda: replica.told("replication", "slave_repl_offset") >= offset, 45, "its data")
        deaf.enter_context(line.hole())

        def put_back() -> None:
            both.server.kill()
            replica.ask("REPLICAOF", "NO", "ONE")
            for way in both.ways:
                way.target = replica.port
                way.cut()

        yield put_back
        both.all_once()
        replica.kill()
        both.server.start()
        for way in both.ways:
            way.target = both.server.port
            way.cut()


LOSSES = {
    "wiped": wiped,
    "old snapshot": old_snapshot,
    "lagging replica": lagging_replica,
    "empty successor": empty_successor,
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_broker_lost_is_sent_again_and_what_it_forgot_is_not_typed_again(
    both: Pair, name: str
) -> None:
    both.far_way.refuse()
    early = both.send("there", 3)
    for message in early:
        both.near.wait_state(message, "queued")
    with LOSSES[name](both) as put_back:
        both.far_way.listen()
        both.send("here", 2)
        both.all_once()  # the copy has the early ones still in the mailbox
        both.far_way.refuse()
        for message in both.send("there", 3):
            both.near.wait_state(message, "queued")
        put_back()
        both.far_way.listen()
        both.send("there")
        both.send("here")
        both.all_once()
    both.send("there")
    both.all_once()


def expired(both: Pair) -> None:
    """Have a message buried: it waits for an agent that is paused until its time to live runs out."""
    both.far.call("pause", {"agent_id": "there"})
    try:
        message = str(both.near.send("there", "too late", ttl_s=0.3)["id"])
        assert both.near.wait_state(message, "expired", timeout_s=45)["final"]
    finally:
        both.far.call("resume", {"agent_id": "there"})


def reconnect(both: Pair) -> None:
    for way in both.ways:
        way.cut()


def nothing(_both: Pair) -> None:
    """It comes by itself: with a beat, or with the messages that are sent in any case."""


ROAD: dict[str, tuple[str, Words, Callable[[Pair], None]]] = {
    "enqueue": ("near", of(scripts.ENQUEUE), nothing),
    "bell": ("near", (b"\r\nZADD\r\n",), nothing),
    "wait for bells": ("far", (b"BZMPOP",), nothing),
    "read": ("far", of(scripts.READ), nothing),
    "acknowledge": ("far", of(scripts.ACK), nothing),
    "bury": ("far", of(scripts.BURY), expired),
    "receipt": ("far", of(scripts.POST), nothing),
    "read receipts": ("near", (b"\r\nXREAD\r\n",), nothing),
    "receipts done": ("near", of(scripts.MAIL_DONE), nothing),
    "beat": ("far", of(scripts.BEAT), nothing),
    "generation": ("far", (b"\r\nSET\r\n",), reconnect),
    "epoch": ("far", of(scripts.CLAIM_EPOCH), reconnect),
    "fence": ("near", of(scripts.FENCE_MAIL), reconnect),
    "claim": ("far", of(scripts.CLAIM), reconnect),
}


@pytest.mark.parametrize("step", ROAD)
def test_a_reply_that_is_lost_at_any_step_of_the_road_costs_nothing(both: Pair, step: str) -> None:
    side, words, trigger = ROAD[step]
    way = both.near_way if side == "near" else both.far_way
    before = way.seen
    way.lose(words, "half")  # what was asked is done, and in the middle of the answer the connection is reset
    trigger(both)
    both.send("there", 2)
    both.send("here")
    both.send("there")
    until(lambda: way.seen == before + 1, 45, "the loss")
    both.all_once()


@pytest.mark.parametrize("side", ["near", "far"])
def test_an_answer_that_never_comes_costs_five_seconds_and_nothing_else(both: Pair, side: str) -> None:
    way, words = (both.near_way, of(scripts.ENQUEUE)) if side == "near" else (both.far_way, of(scripts.POST))
    before = way.seen
    way.lose(words, "silent")
    both.send("there", 2)
    until(lambda: way.seen == before + 1, 45, "the loss")
    both.all_once(time.monotonic() + 5)
