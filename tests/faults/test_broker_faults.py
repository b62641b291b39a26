"""The broker fails in every way: local agents go on, others wait, `status` names it, nothing comes twice."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.node import until
from tests.support.pair import Pair, pair

NOTICED_S = 12.0
FILLERS = 500
Fault = Callable[[Pair], contextlib.AbstractContextManager[object]]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture
def both(shared: Pair) -> Pair:
    """Two nodes that are well."""
    shared.alive()
    until(shared.well, 20, f"health: {shared.finding()}")
    return shared


def asked(*words: str) -> Callable[[Pair], None]:
    return lambda both: both.server.ask(*words)


@contextlib.contextmanager
def said(both: Pair, do: Callable[[Pair], None], undo: Callable[[Pair], None]) -> Iterator[None]:
    do(both)
    try:
        yield
    finally:
        undo(both)


def setting(name: str, value: str, back: str) -> Fault:
    return lambda both: said(both, asked("CONFIG", "SET", name, value), asked("CONFIG", "SET", name, back))


def right(rule: str) -> Fault:
    return lambda both: said(
        both, asked("ACL", "SETUSER", "default", f"-{rule}"), asked("ACL", "SETUSER", "default", f"+{rule}")
    )


@contextlib.contextmanager
def killed(both: Pair) -> Iterator[None]:
    both.server.saved()
    both.server.kill()
    for way in both.ways:
        way.refuse()
    try:
        yield
    finally:
        both.server.start()
        for way in both.ways:
            way.listen()


@contextlib.contextmanager
def hole(both: Pair) -> Iterator[None]:
    with both.near_way.hole(), both.far_way.hole():
        yield


@contextlib.contextmanager
def loading(both: Pair) -> Iterator[None]:
    """A restart with data that take half a minute to read: until they are, it answers LOADING."""
    for number in range(FILLERS):
        both.server.ask("SET", f"filler:{number}", b"x" * 4096)
    both.server.saved()
    both.server.kill()
    both.server.start("--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024")
    yield
    both.server.ask("CONFIG", "SET", "key-load-delay", "0")
    until(lambda: both.server.told("persistence", "loading") == "0", 20, "the end of loading")
    both.server.ask("DEL", *(f"filler:{number}" for number in range(FILLERS)))


@contextlib.contextmanager
def another_password(both: Pair) -> Iterator[None]:
    """Changed at the server, and only then in the file: nobody is restarted."""
    new = f"{both.server.password}-and-more"
    both.server.ask("CONFIG", "SET", "requirepass", new)
    both.server.password = new
    both.server.kill_clients()
    try:
        yield
    finally:
        both.password_file.write_text(new)


@contextlib.contextmanager
def no_snapshots(both: Pair) -> Iterator[None]:
    """Its disk takes no snapshot, so it takes no write."""
    blocked = both.server.folder / "blocked"
    blocked.mkdir(exist_ok=True)
    both.server.ask("CONFIG", "SET", "dbfilename", "blocked")
    both.server.ask("CONFIG", "SET", "save", "3600 1")
    both.server.ask("BGSAVE")
    failed = b"rdb_last_bgsave_status:err"
    until(lambda: failed in both.server.ask("INFO", "persistence"), what="the snapshot that fails")
    try:
        yield
    finally:
        both.server.ask("CONFIG", "SET", "save", "")
        both.server.ask("CONFIG", "SET", "dbfilename", "dump.rdb")
        both.server.ask("BGSAVE")


@contextlib.contextmanager
def old_version(both: Pair) -> Iterator[None]:
    """It says of itself that it is Redis 6.2."""

    def older(piece: bytes) -> bytes:
        piece = re.sub(rb"\nvalkey_version", b"\nxxxxxx_version", piece)
        return re.sub(rb"\nredis_version:\d+\.\d+\.\d+", b"\nredis_version:6.2.0", piece)

    for way in both.ways:
        way.rewrite = older
        way.cut()
    try:
        yield
    finally:
        for way in both.ways:
            way.rewrite = None


FAULTS: dict[str, tuple[Fault, str, str]] = {
    "killed": (killed, "nothing listens there", "Is it running"),
    "black hole": (hole, "does not answer in time", "stopped, or cut off"),
    "full": (setting("maxmemory", "1", "0"), "is full", "Raise its maxmemory"),
    "read-only": (
        lambda both: said(both, asked("REPLICAOF", "127.0.0.1", "1"), asked("REPLICAOF", "NO", "ONE")),
        "is a replica that only reads",
        "REPLICAOF NO ONE",
    ),
    "loading": (loading, "still reads its data", "until it has"),
    "cannot save": (no_snapshots, "cannot save its data", "Make room on its disk"),
    "too few replicas": (
        setting("min-replicas-to-write", "1", "0"),
        "fewer replicas than it wants",
        "Start them",
    ),
    "another password": (another_password, "refused the password", "broker.password_file"),
    "no right to run scripts": (right("evalsha"), "does not allow its user.*evalsha", "docs/broker.md"),
    "no right to wait for bells": (right("bzmpop"), "does not allow its user.*bzmpop", "docs/broker.md"),
    "no right within a script": (right("zadd"), "does not allow its user.*zadd", "docs/broker.md"),
    "too old": (old_version, "Redis 6.2.0; 7.0 is the oldest", "Update it"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broker_that_fails_is_named_with_its_cure_and_costs_nothing(both: Pair, name: str) -> None:
    fault, message, cure = FAULTS[name]
    with fault(both):
        local = both.send("here", 2)
        remote = both.send("there", 2)
        said = until(
            lambda: re.search(message, (f := both.finding()).get("message", "")) and f, NOTICED_S, message
        )
        assert re.search(cure, said["hint"])
        if said["code"] == "broker_down":
            until(
                lambda: "the broker is not used" in both.near.call("trace", {"id": remote[0]})["hint"],
                NOTICED_S,
                "the reason in the trace",
            )
        until(  # between two connections another sentence may stand there for a moment
            lambda: said["message"][:40] in both.near.novactl("doctor").stdout,
            NOTICED_S,
            "the word of doctor",
        )
        for message_id in local:
            both.near.wait_state(message_id, "submitted", timeout_s=NOTICED_S)
        if name != "no right to wait for bells":  # which does not keep anybody from reading
            assert {both.near.receipt(message_id)["state"] for message_id in remote} <= {"accepted", "queued"}
    both.all_once(time.monotonic())
