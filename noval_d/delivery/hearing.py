"""What an agent's hooks and transcript prove of the messages in hand, and what is said when they stay silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from nova_torch.values import MessageId, State
from noval_d.agents.agent import Agent
from noval_d.agents.reports import Meaning, Report
from noval_d.delivery import proof
from noval_d.delivery.item import Item
from noval_d.delivery.template import dress
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.ledger import Phase

SILENT_HOOK_S = 30.0  # an idle agent whose hook has not told of a submitted message by then will not
OUTLIVED = "its agent was gone before a hook told of it"
FIRST_HOOK_S = 2.0  # an agent of which no hook was heard yet has none, if a submitted message brings none


class Hearing:
    """Listens for the worker of one agent; `settle` settles a message of it, `current` is what it types now."""

    def __init__(
        self,
        agent: Agent,
        *,
        desk: Desk,
        in_hand: Mapping[MessageId, Item],
        current: Callable[[], Item | None],
        settle: Callable[[Item, State, str], Awaitable[None]],
    ) -> None:
        self._agent = agent
        self._desk = desk
        self._in_hand = in_hand
        self._current = current
        self._settle = settle

    def __repr__(self) -> str:
        return f"<Hearing {self._agent!r}>"

    @property
    def waits(self) -> bool:
        """Whether any message was submitted that no hook has told of."""
        return any(item.phase is Phase.ENTERED for item in self._in_hand.values())

    async def heard(self, report: Report, *, late: bool = False) -> None:
        """Take over a hook's report: what a prompt proves is acknowledged, also by one that comes `late`."""
        if not late:
            self._agent.heard(report)
        if report.meaning is Meaning.PROMPT:
            await self.acknowledge(report.prompt, cut=report.cut)
        await self.read_transcript()

    async def acknowledge(self, prompt: str, *, cut: bool = False) -> None:
        """Acknowledge what a prompt of the agent proves; note what it says of the others."""
        known = [item for item in self._in_hand.values() if item.phase in (Phase.TYPING, Phase.ENTERED)]
        typed = [item for item in known if not item.pasting]
        texts = [item.typed or dress(self._agent.driver, item.message) for item in typed]
        proven = proof.matched(prompt, texts, cut=cut)
        told = [typed[index] for index in proven.indexes]
        for item in told:
            item.acknowledged, item.acknowledged_at = True, self._agent.clock()
            item.beside = proof.BESIDE if proven.beside else ""
        if told:
            await self._desk.proven(told)
        for item in told:
            if item.phase is Phase.ENTERED:
                await self._settle(item, State.ACKNOWLEDGED, item.beside)
        if proven.beside or not proven.indexes:
            for number, item in enumerate(typed):
                item.heard(prompt, texts[number], cut=cut)
            for item in [item for item in self._in_hand.values() if item.went_in_beside(prompt)]:
                await self._settle(item, State.ACKNOWLEDGED, proof.BESIDE)

    async def read_transcript(self) -> None:
        """Acknowledge what the agent was handed within a turn, without a prompt hook; note what it has queued."""
        for prompt, queued in self._agent.handed_over():
            if queued:
                self._heard_queued(prompt)
            else:
                await self.acknowledge(prompt)

    async def give_up(self) -> None:
        """Settle submitted messages whose hook stays silent although the agent has nothing left to do."""
        agent = self._agent
        for item in tuple(self._in_hand.values()):
            if item.phase is not Phase.ENTERED:
                continue
            if item.acknowledged:  # its hook came when the state file could not be written
                await self._settle(item, State.ACKNOWLEDGED, item.beside)
                continue
            item.entered_at = item.entered_at or agent.clock()
            waited_s = agent.clock() - item.entered_at
            if self._outlived(item):  # what its successor does, or does not report, says nothing about it
                if waited_s >= FIRST_HOOK_S:
                    await self._settle(item, State.SUBMITTED, OUTLIVED)
                continue
            if agent.working:
                continue
            if agent.hooked and waited_s >= SILENT_HOOK_S:
                await self._settle(item, State.SUBMITTED, "its hook stayed silent")
            elif not agent.hooked and waited_s >= FIRST_HOOK_S:
                agent.hooked = False
                await self._settle(item, State.SUBMITTED, "")

    def _heard_queued(self, prompt: str) -> None:
        item = self._current()
        if item is None or item.phase is not Phase.TYPING or item.pasting:
            return
        others = (other.typed for other in self._in_hand.values() if other is not item)
        if not proof.matched(prompt, list(others)).indexes:  # else it is another message of ours
            item.heard_queued(prompt)

    def _outlived(self, item: Item) -> bool:
        """Tell whether the program that took the message is gone, as far as anybody knows."""
        facts = self._agent.facts
        return facts is None or facts.dead or (bool(item.pane) and self._agent.pane_key != item.pane)
