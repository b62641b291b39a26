"""What a neighbour without manners writes into the broker: kept with its bytes, and everything goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgpack
import pytest

from nova_torch.broker import Broker, DeadEntry
from nova_torch.codec import encode_message
from nova_torch.errors import NovaError
from nova_torch.ulid import new_ulid
from tests.faults.test_review_node import alive, foreign, on_broker
from tests.support.agents import Raw, raw
from tests.support.node import TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


@pytest.fixture(scope="module")
def agent(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    return raw(running, tmp_path_factory.mktemp("agent"))


def put(running: TestNode, *command: str | bytes | int) -> None:
    """Run a command on the broker as some program would, and ring."""

    async def write(broker: Broker) -> None:
        await broker._link.command(*command)
        await broker._link.command("ZADD", "nova:{n:test-node}:bell", 1, "raw")

    on_broker(running, write)


def dead(running: TestNode) -> list[DeadEntry]:
    async def read(broker: Broker) -> list[DeadEntry]:
        return await broker.dead("raw", 1000)

    found: list[DeadEntry] = on_broker(running, read)
    return found


def goes_on(running: TestNode, agent: Raw) -> None:
    """The next message arrives, and the stream is empty after it."""
    sent = running.send("raw", f"next {new_ulid()}")
    running.wait_state(sent["id"], "submitted")
    alive(running)

    async def waiting(broker: Broker) -> int:
        return (await broker.backlog(["raw"]))["raw"]

    until(lambda: on_broker(running, waiting) == 0, 45, "an empty stream")


WHOLE = encode_message(foreign("01ARZ3NDEKTSV4RRFFQ69G5FAV", "raw", "body of it"))
GOOD = msgpack.unpackb(WHOLE)
BAD: dict[str, tuple[bytes, ...]] = {
    "no payload": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA0"),
    "no fields that anybody knows": (b"hello", b"world"),
    "the two in the other order": (b"p", b"payload first", b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA1"),
    "a field too many": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA2", b"p", b"the payload", b"x", b"more"),
    "an id that is no utf-8": (b"i", b"\xff\xfe", b"p", b"behind a bad id"),
    "an empty payload": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA3", b"p", b""),
    "no msgpack": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA4", b"p", b"\xc1 no msgpack"),
    "msgpack of something else": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA5", b"p", msgpack.packb([1, 2])),
    "a deep nest": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA6", b"p", b"\x91" * 5000),
    "a body that is no utf-8": (
        b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA7", b"p", WHOLE.replace(b"body of it", b"\xff" * 10),
    ),
    "a wrong type": (b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA8", b"p", msgpack.packb({**GOOD, "body": 7})),
    "a body over the limit": (
        b"i", b"01ARZ3NDEKTSV4RRFFQ69G5FA9", b"p", msgpack.packb({**GOOD, "body": "y" * ((1 << 20) + 1)}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("lane", ["mbx", "hi"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_entry_is_a_dead_letter_with_its_bytes_and_the_stream_moves_on(
    running: TestNode, agent: Raw, name: str, lane: str
) -> None:
    before = len(dead(running))
    fields = list(BAD[name])
    if lane == "hi":  # another id: two of one id are one
        fields[1] = fields[1].replace(b"5FA", b"5FB")
    put(running, "XADD", f"nova:{{a:raw}}:{lane}", "*", *fields)
    goes_on(running, agent)
    letters = dead(running)[before:]
    assert len(letters) == 1
    known = len(fields) == 4 and fields[0] == b"i"
    assert letters[0].payload == (fields[3] if known else b"\n".join(fields))
    state = "failed" if name == "a body over the limit" else "dead"  # that is a message, and too large
    assert (letters[0].state, letters[0].lane) == (state, lane)
    assert letters[0].reason
    assert b"y" * 1000 not in agent.bytes()


def test_two_bad_entries_of_one_name_are_two_letters(running: TestNode, agent: Raw) -> None:
    before = len(dead(running))
    for body in (b"first", b"second"):
        put(running, "XADD", "nova:{a:raw}:mbx", "*", "i", "the same", "p", body)
    goes_on(running, agent)
    assert [letter.payload for letter in dead(running)[before:]] == [b"first", b"second"]


@pytest.mark.parametrize(
    "command",
    [
        ("ZADD", "nova:{n:test-node}:bell", "0", b"\xff\xfe"),
        ("ZADD", "nova:{n:test-node}:bell", "0", b"no agent of that name!"),
        ("ZADD", "nova:{reg}:nodes", "inf", "far"),
        ("ZADD", "nova:{reg}:nodes", "1", b"\xff\xfe not a name"),
        ("SET", "nova:{reg}:n:far", b"\xc1"),
        ("HSET", "nova:{reg}:orders", b"\xff", b"\xff"),
        ("HSET", "nova:{reg}:orders", b"test-node", b"\xff"),
        ("XADD", "nova:{reg}:log", "*", b"\xff", b"\xff"),
        ("XADD", "nova:{n:test-node}:in", "*", "x", b"\xff"),
        ("XADD", "nova:{n:test-node}:in", "*", "p", msgpack.packb({"message": 1})),
        ("XADD", "nova:{a:raw}:dead", "*", "not", "a letter"),
        ("HSET", "nova:{a:raw}:sched", b"\xff", b"\xff", b"\xff.m", b"\xff"),
    ],
    ids=lambda command: f"{command[0]} {command[1]} {command[-1]!r:.12}",
)
def test_what_is_written_beside_the_mailboxes_ends_nothing(
    running: TestNode, agent: Raw, command: tuple[str | bytes, ...]
) -> None:
    put(running, *command)
    goes_on(running, agent)
    assert running.call("agents")
    assert running.call("presence", {"name": "raw"})
    running.call("dead_list")
    assert running.call("status")["broker"]["state"] == "up"
    assert "control.call_failed" not in running.log()


def test_an_owner_that_is_no_owner_ends_nothing(running: TestNode, agent: Raw) -> None:
    put(running, "SET", "nova:{a:other}:own", b"\xff no owner")
    with contextlib.suppress(NovaError):
        running.send("other", "to nobody")
    goes_on(running, agent)


def test_after_all_that_the_daemon_is_the_one_that_was_started(running: TestNode, agent: Raw) -> None:
    assert running.log().count("node.stopped") == 0
    assert running.call("ping")["pid"] == running.process.pid if running.process else False
