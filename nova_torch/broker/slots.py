"""Decide which shard of a cluster a command is for. No I/O.

A slot follows from the hash tag of a key, so that all keys of one agent, of one node or of the registry are on one
shard. What has no key (TIME, INFO, PUBLISH) goes where the first command beside it goes that has one: a lease is
compared with the clock of the shard that keeps it.
"""

from __future__ import annotations

import binascii
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from nova_torch.broker.address import Address
from nova_torch.errors import BrokerUnavailable

SLOTS = 16384
_KEYLESS = frozenset({"CLUSTER", "INFO", "PING", "PSUBSCRIBE", "PUBLISH", "SUBSCRIBE", "TIME"})
_THIRD = frozenset({"BZMPOP", "EVAL", "EVALSHA"})
"""The key comes behind a word and the number of keys."""
_SECOND = frozenset({"XGROUP"})

Words = Sequence[str | bytes | int | float]


@dataclass(frozen=True, slots=True)
class Shards:
    """The masters of a cluster: `starts` are the first slots of its ranges, `places` which master has each."""

    addresses: tuple[Address, ...]
    starts: tuple[int, ...]
    places: tuple[int, ...]

    def of(self, words: Words) -> int | None:
        """Return the place of the master that a command is for; None: any, it has no key."""
        key = key_of(words)
        return None if key is None else self.having(slot_of(key))

    def having(self, slot: int) -> int:
        """Return the place of the master that has a slot."""
        return self.places[bisect_right(self.starts, slot) - 1]

    def all_of(self, commands: Sequence[Words]) -> list[int]:
        """Return the place of each command of a batch."""
        found = [self.of(words) for words in commands]
        home = next((place for place in found if place is not None), 0)
        return [home if place is None else place for place in found]

    def tags(self) -> list[str]:
        """Return a hash tag for each master that has slots, in their order."""
        found: dict[int, str] = {}
        places = sorted(set(self.places))
        for number in count():
            if len(found) == len(places):
                return [found[place] for place in places]
            tag = f"s{number}"
            found.setdefault(self.having(slot_of(f"{{{tag}}}")), tag)
        raise AssertionError("each of these has a slot")

    def moved(self, slot: int, addresses: tuple[Address, ...], place: int) -> Shards:
        """Return what is known when a slot turns out to be at another place by now, one of `addresses`."""
        places = dict(zip(self.starts, self.places, strict=True))
        if slot + 1 < SLOTS:
            places.setdefault(slot + 1, self.having(slot))
        places[slot] = place
        starts = tuple(sorted(places))
        return Shards(addresses, starts, tuple(places[start] for start in starts))


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key: CRC16 of its hash tag, or of all of it (Redis Cluster specification)."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    end = raw.find(b"}", start + 1) if start >= 0 else -1
    return binascii.crc_hqx(raw[start + 1 : end] if end > start + 1 else raw, 0) % SLOTS


def key_of(words: Words) -> str | bytes | None:
    """Return the first key of a command as this project sends it; all its keys are of one slot."""
    name = str(words[0]).upper()
    if name in _KEYLESS:
        return None
    if name in ("XREAD", "XREADGROUP"):
        at = next(n for n, word in enumerate(words) if word == "STREAMS") + 1
    else:
        at = 3 if name in _THIRD else 2 if name in _SECOND else 1
    key = words[at]
    return key if isinstance(key, (str, bytes)) else str(key)


def parse_slots(reply: Any, asked: Address) -> Shards | None:
    """Read the answer of `asked` to CLUSTER SLOTS; None when one server has them all.

    Raises BrokerUnavailable when some slots are nobody's.
    """
    ranges = sorted((int(row[0]), int(row[1]), *_place(row[2], asked)) for row in reply)
    have = sum(end - start + 1 for start, end, _, _ in ranges)
    if have < SLOTS:
        raise BrokerUnavailable(
            f"the broker at {asked.shown} is a cluster of which {SLOTS - have} of {SLOTS} slots are nobody's.",
            "Start the server that has them, or give them to another: redis-cli --cluster fix.",
        )
    places = tuple(dict.fromkeys((host, port) for _, _, host, port in ranges))
    if len(places) == 1:
        return None
    scheme = "redis" if asked.scheme == "unix" else asked.scheme
    return Shards(
        tuple(replace(asked, scheme=scheme, path="", host=host, port=port) for host, port in places),
        tuple(start for start, _, _, _ in ranges),
        tuple(places.index((host, port)) for _, _, host, port in ranges),
    )


def place_told(host: str, port: int, asked: Address) -> Address:
    """Return where a server says that another one is; without a host it is its own."""
    return replace(asked, host=asked.host if host in ("", "?") else host, port=port)


def _place(told: Sequence[Any], asked: Address) -> tuple[str, int]:
    """Return where a server says it is; one that does not know its own host is where it was asked."""
    host = bytes(told[0] or b"").decode(errors="replace")
    return (asked.host or "127.0.0.1") if host in ("", "?") else host, int(told[1])
