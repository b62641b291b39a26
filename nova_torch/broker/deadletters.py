"""Dead letters: what was not delivered, with the reason, until somebody sends it again or drops it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from nova_torch.broker import scripts
from nova_torch.broker.mailbox import Entry, Lane, Owner, parse_owner, ring
from nova_torch.broker.part import Part, check
from nova_torch.errors import MessageNotFound
from nova_torch.keys import GROUP

log = logging.getLogger("nova.broker")

KEPT = 10_000
"""Dead letters kept for one agent; the oldest go, and the log says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEntry:
    """A dead letter. `state` and `reason` are those of the message, `at_ms` is the server's clock."""

    entry_id: str
    message_id: str
    payload: bytes
    lane: Lane
    state: str
    reason: str
    at_ms: int

    def __repr__(self) -> str:
        return f"<DeadEntry {self.entry_id} {self.message_id} {self.state} {self.reason!r}>"


class DeadLetters(Part):
    """The dead letters of one broker, by agent."""

    async def bury(self, agent: str, owner: Owner, entry: Entry, *, state: str, reason: str) -> None:
        """Move `entry` to the dead letters. Twice is as once. Raises NotOwner, MailboxLost."""
        keys = self._keys.mailbox(agent)
        words = await self._link.script(
            scripts.BURY,
            (keys.own, keys.hi, keys.mbx, keys.seen, keys.dead),
            str(owner), GROUP, entry.lane, entry.entry_id, entry.message_id, entry.payload, state, reason,
            KEPT,
        )  # fmt: skip
        check(words, agent)
        if dropped := int(words[1]):
            log.warning("broker.dead_letters_dropped", extra={"agent": agent, "dropped": dropped})

    async def dead(self, agent: str, count: int) -> list[DeadEntry]:
        """Return the latest `count` dead letters, oldest first."""
        raw = await self._link.command("XREVRANGE", self._keys.mailbox(agent).dead, "+", "-", "COUNT", count)
        return [_dead(entry_id.decode(), fields) for entry_id, fields in reversed(raw)]

    async def unbury(self, agent: str, entry_id: str) -> DeadEntry:
        """Put a dead letter back into its lane, whatever the mailbox's limit, ring, and return it.

        Raises MessageNotFound when it is gone, MailboxLost when no node owns the agent.
        """
        keys = self._keys.mailbox(agent)
        words = await self._link.script(
            scripts.UNBURY, (keys.own, keys.hi, keys.mbx, keys.seen, keys.dead), entry_id
        )
        check(words, agent)
        if words[0] != scripts.OK:
            raise MessageNotFound(f"{agent} has no dead letter {entry_id}.", "See `novactl dead list`.")
        letter = _dead(entry_id, words[2:])
        await ring(self._link, self._keys, [(parse_owner(words[1]).node, agent, letter.lane)])
        return letter


def _dead(entry_id: str, raw: list[bytes]) -> DeadEntry:
    fields = dict(zip(raw[::2], raw[1::2], strict=True))

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return DeadEntry(
        entry_id=entry_id,
        message_id=text(b"i"),
        payload=fields.get(b"p", b""),
        lane=Lane.HI if fields.get(b"l") == b"hi" else Lane.MBX,
        state=text(b"s"),
        reason=text(b"r"),
        at_ms=int(text(b"t")) if text(b"t").isdecimal() else 0,
    )
