"""Schedules in the broker: on the agent's tag, so that its owner finds them, whichever node that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.broker import scripts
from nova_torch.broker.mailbox import KEEP_S, Owner, parse_owner
from nova_torch.broker.part import Part, check
from nova_torch.broker.wires import Word
from nova_torch.keys import SCHEDULES

MARK = ".m"
BATCH = 32
"""Schedules put in by one script: with bodies of 64 KiB it stays far below the limit of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A schedule as it lies in the broker: what was asked for, and its mark."""

    id: str
    asked: bytes
    mark: str

    def __repr__(self) -> str:
        return f"<Kept {self.id} {len(self.asked)} bytes>"


class Schedules(Part):
    """The schedules of one broker, by agent."""

    async def put_schedules(self, agent: str, kept: Sequence[Kept], *, ring: bool = False) -> None:
        """Put schedules in; where one lies already, the greater mark stays. Rings the owner for what changed.

        Twice is as once. The agent needs no owner. `ring`: in any case, since the bell of an earlier time may have
        been lost with its answer.
        """
        keys = self._keys.mailbox(agent)
        changed, owner = 0, b""
        for start in range(0, len(kept), BATCH):
            words: list[Word] = [w for k in kept[start : start + BATCH] for w in (k.id, k.asked, k.mark)]
            reply = await self._link.script(scripts.PUT_SCHEDULES, (keys.own, keys.sched), *words)
            owner, changed = reply[1], changed + int(reply[2])
        if (changed or ring) and owner:
            bell = self._keys.node(parse_owner(owner).node).bell
            await self._link.batch([("ZADD", bell, 1, f"{SCHEDULES}{agent}"), ("EXPIRE", bell, KEEP_S)])

    async def schedule_marks(self, agent: str, owner: Owner, ids: Sequence[str]) -> dict[str, str]:
        """Return the marks of these schedules, as far as they are there. Raises NotOwner, MailboxLost."""
        keys = self._keys.mailbox(agent)
        words = await self._link.script(scripts.READ_MARKS, (keys.own, keys.sched), str(owner), *ids)
        check(words, agent)
        return {name: mark.decode() for name, mark in zip(ids, words[1:], strict=True) if mark}

    async def schedules(self, agents: Sequence[str]) -> list[Kept]:
        """Return every schedule for these agents, whoever owns them."""
        if not agents:
            return []
        found = await self._link.batch([("HGETALL", self._keys.mailbox(agent).sched) for agent in agents])
        return [kept for flat in found for kept in _kept(flat)]

    async def forget_schedules(self, agent: str, ids: Sequence[str]) -> None:
        """Delete schedules that are over; others stay."""
        if ids:
            await self._link.script(scripts.FORGET_SCHEDULES, (self._keys.mailbox(agent).sched,), *ids)


def _kept(flat: Sequence[bytes]) -> list[Kept]:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    made: list[Kept] = []
    for name, asked in fields.items():
        mark = fields.get(name + MARK.encode())
        if mark is not None:
            made.append(
                Kept(id=name.decode(errors="replace"), asked=asked, mark=mark.decode(errors="replace"))
            )
    return made
