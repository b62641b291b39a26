"""Slots: which shard has a key, which key a command has, what CLUSTER SLOTS says."""

from __future__ import annotations

import pytest

from nova_torch.broker.address import Address
from nova_torch.broker.following import ASK, MOVED, TRYAGAIN, again, for_good
from nova_torch.broker.scripts import ENQUEUE
from nova_torch.broker.slots import SLOTS, Shards, key_of, parse_slots, place_told, slot_of
from nova_torch.errors import BrokerUnavailable

ASKED = Address(scheme="redis", host="asked", port=1)


def row(start: int, end: int, host: bytes | None, port: int) -> list[object]:
    return [start, end, [host, port, b"id", []], [b"replica", 9, b"id2", []]]


def three() -> Shards:
    told = [row(10923, SLOTS - 1, b"c", 3), row(0, 5460, b"a", 1), row(5461, 10922, None, 2)]
    shards = parse_slots(told, ASKED)
    assert shards is not None
    return shards


@pytest.mark.parametrize(
    ("key", "slot"),
    [  # of the specification, and as a real server said (CLUSTER KEYSLOT)
        ("123456789", 12739),
        ("{user1000}.following", slot_of("user1000")),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", slot_of("{bar")),
        ("foo{bar}{zap}", slot_of("bar")),
        (b"\xff{reg}", slot_of("reg")),
        ("nova:{", slot_of("nova:{")),
    ],
)
def test_the_slot_of_a_key_is_that_of_its_hash_tag(key: str | bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "k"), "k"),
        (("EVALSHA", "sha", 2, "k", "l", "arg"), "k"),
        (("BZMPOP", 2.0, 1, "k", "MIN"), "k"),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "k", "$"), "k"),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", b"k", ">"), b"k"),
        (("XGROUP", "CREATE", "k", "g", "0"), "k"),
        (("PING",), None),
        (("INFO", "replication"), None),
        (("PUBLISH", "channel", "data"), None),
        (("TIME",), None),
    ],
)
def test_the_key_of_a_command_is_found(words: tuple[str | bytes | int | float, ...], key: object) -> None:
    assert key_of(words) == key


def test_a_command_goes_to_the_shard_of_its_key_and_one_without_goes_along() -> None:
    shards = three()
    assert [(one.host, one.port) for one in shards.addresses] == [("a", 1), ("asked", 2), ("c", 3)]
    place = shards.having(slot_of("{reg}"))
    other = next(f"{{t{n}}}" for n in range(99) if shards.having(slot_of(f"{{t{n}}}")) != place)
    assert shards.all_of([("TIME",), ("GET", "{reg}"), ("GET", other)])[:2] == [place, place]
    assert shards.all_of([("TIME",), ("GET", "{reg}"), ("GET", other)])[2] != place
    assert shards.all_of([("PING",)]) == [0]
    assert [shards.having(slot) for slot in (0, 5460, 5461, 10922, 10923, SLOTS - 1)] == [0, 0, 1, 1, 2, 2]
    assert [shards.having(slot_of(f"{{{tag}}}")) for tag in shards.tags()] == [0, 1, 2]


def test_one_server_with_all_slots_is_no_cluster_to_us_and_missing_ones_are_counted() -> None:
    assert parse_slots([row(0, 99, b"a", 1), row(100, SLOTS - 1, b"a", 1)], ASKED) is None
    with pytest.raises(BrokerUnavailable, match="100 of 16384 slots are nobody's"):
        parse_slots([row(100, SLOTS - 1, b"a", 1)], ASKED)


def test_a_cluster_that_is_asked_through_a_socket_is_gone_to_by_its_ports() -> None:
    asked = Address(scheme="unix", path="/run/one.sock")
    shards = parse_slots([row(0, 99, b"", 1), row(100, SLOTS - 1, b"b", 2)], asked)
    assert shards is not None
    assert [one.shown for one in shards.addresses] == ["redis://127.0.0.1:1", "redis://b:2"]


def test_a_slot_that_has_moved_is_looked_for_where_it_is_and_its_neighbours_where_they_were() -> None:
    shards = three()
    for slot in (0, 1, 5460, 5461, 8000, SLOTS - 1):
        to = (shards.having(slot) + 1) % 3
        moved = shards.moved(slot, shards.addresses, to)
        there = [moved.having(n) for n in range(SLOTS)]
        assert there == [to if n == slot else shards.having(n) for n in range(SLOTS)]
        assert moved.moved(slot, shards.addresses, shards.having(slot)).having(slot) == shards.having(slot)
    new = (*shards.addresses, Address(scheme="redis", host="d", port=4))
    joined = shards.moved(5, new, 3)
    assert (joined.having(5), len(joined.tags())) == (3, 4)


def test_a_shard_that_has_no_slot_left_needs_no_tag() -> None:
    shards = Shards(three().addresses, (0, 1), (1, 2))
    left = shards.moved(0, shards.addresses, 2)
    assert [left.having(slot_of(f"{{{tag}}}")) for tag in left.tags()] == [2]


def test_a_command_is_sent_again_with_what_the_other_shard_needs() -> None:
    moved, asked = MOVED("5 b:2"), ASK("5 b:2")
    split = TRYAGAIN("Multiple keys request during rehashing of slot")
    assert [for_good(reply) for reply in (moved, asked, split)] == [True, False, False]
    assert again(("GET", "k"), moved) == again(("GET", "k"), split) == [("GET", "k")]
    assert again(("GET", "k"), asked) == [("ASKING",), ("GET", "k")]
    by_sha = ("EVALSHA", ENQUEUE.sha, 1, "k", "word")
    assert again(by_sha, moved) == [("EVAL", ENQUEUE.text, 1, "k", "word")], "it may not know the script"
    assert place_told("", 7, ASKED).shown == "redis://asked:7"
    assert place_told("b", 2, ASKED).shown == "redis://b:2"
