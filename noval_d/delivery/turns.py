"""Whose turn it is among the messages that wait for one agent, and whom the limits of conversations keep back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from nova_torch.values import MessageId, State
from noval_d.agents.agent import Agent
from noval_d.delivery.gate import Hold, Refuse
from noval_d.delivery.item import Item
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.ledger import Phase
from noval_d.talk.talk import Talk


@dataclass(frozen=True, slots=True)
class Limited:
    """A message that is kept back by the limits of conversations, why, and since when."""

    item: Item
    hold: Hold
    since: float
    """By the agent's clock, which nobody sets: what has lasted is no matter of the time of day."""


class Turns:
    """The order in which one agent's messages are typed. Who is kept back holds up nobody else."""

    def __init__(
        self,
        agent: Agent,
        *,
        desk: Desk,
        settle: Callable[[Item, State, str], Awaitable[None]],
        talk: Talk | None,
    ) -> None:
        self._agent = agent
        self._desk = desk
        self._settle = settle
        self._talk = talk
        self.limited: dict[MessageId, Limited] = {}
        """Messages that a limit of conversations keeps back, of each sender the first."""
        self.kept_back: set[str] = set()
        """The senders of those."""

    def __repr__(self) -> str:
        return f"<Turns of {self._agent.id} kept_back={','.join(sorted(self.kept_back))}>"

    def clear(self) -> None:
        """Nothing waits any more."""
        self.limited, self.kept_back = {}, set()

    async def next(
        self, waiting: Iterable[Item], known: Mapping[MessageId, Item]
    ) -> tuple[Item | None, float]:
        """Return whose turn it is, and in how many s those that a limit keeps back are asked about again.

        Who is kept back holds up its own sender's messages, nobody else's. `known` is every message in hand.
        """
        again_s = 3600.0
        limited: dict[MessageId, Limited] = {}
        senders: set[str] = set()
        hits: list[tuple[Item, Hold | Refuse]] = []
        found = None
        for item in sorted(waiting, key=lambda item: item.order):
            message = item.message
            if message.sender in senders:
                continue
            verdict = self._talk.judge(item) if self._talk and item.phase is Phase.RECEIVED else None
            if verdict is None:
                found = item
                break
            if isinstance(verdict, Refuse):
                await self._settle(item, verdict.state, verdict.reason)
                hits.append((item, verdict))
                continue
            senders.add(message.sender)
            before = self.limited.get(message.id)
            since = before.since if before is not None else self._agent.clock()
            limited[message.id] = Limited(item, verdict, since)
            again_s = min(again_s, verdict.recheck_s)
            if item.told != (State.HELD.value, verdict.reason.value):
                await self._desk.tell(item, State.HELD, verdict.reason.value)
                hits.append((item, verdict))
        for message_id, entry in self.limited.items():  # behind whose turn it is: as it was
            behind = entry.item is not found and entry.item.message.sender not in senders
            if behind and message_id in known and entry.item.phase is Phase.RECEIVED:
                limited[message_id] = entry
        self.limited = limited
        self.kept_back = {entry.item.message.sender for entry in limited.values()}
        for item, verdict in hits:
            assert self._talk is not None  # it was hit by its word
            self._talk.limited(item, verdict)
        return found, again_s
