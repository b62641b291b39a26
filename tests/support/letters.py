"""Letters in mailboxes: two owners, and what a test writes and reads."""

from __future__ import annotations

from nova_torch.broker import Enqueue, Entry, Lane, Owner

ONE = Owner(node="one", epoch=1)
TWO = Owner(node="two", epoch=2)


def letter(message_id: str, *, lane: Lane = Lane.MBX, agent: str = "a", limit: int = 1000) -> Enqueue:
    return Enqueue(agent=agent, message_id=message_id, lane=lane, payload=message_id.encode(), limit=limit)


def ids(entries: list[Entry]) -> list[str]:
    return [entry.message_id for entry in entries]


def places(entries: list[Entry]) -> list[tuple[Lane, str]]:
    return [(entry.lane, entry.entry_id) for entry in entries]
