"""Keep the copies of schedules together: in the state file, at hand, and in the broker.

Copies are put together at every connection, when an agent comes, and when a bell says that another node changed
something; in which order does not matter (see `schedule`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nova_torch.broker import Broker, Kept, Owner
from nova_torch.errors import BrokerUnavailable, InvalidRequest, KeyUnfit
from nova_torch.values import AgentId
from noval_d.mailroom.seals import Seals, Unproven
from noval_d.schedule.book import DAY_MS, Book
from noval_d.schedule.schedule import MARK_FIELDS, Mark, Schedule, asked, pack, signature_in, unpack

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.schedule")


class Copies:
    """The copies of the schedules that a node knows. Methods raise BrokerUnavailable and StoreFailed."""

    def __init__(self, node: Node, book: Book) -> None:
        self._node = node
        self._book = book
        self._everything = True
        self._stale: set[AgentId] = set()

    def __repr__(self) -> str:
        return f"<Copies everything={self._everything} stale={len(self._stale)}>"

    def unsure(self, agent: AgentId | None = None) -> None:
        """Put the copies for an agent together soon, or all."""
        if agent is None:
            self._everything = True
        else:
            self._stale.add(agent)

    async def together(self) -> None:
        """Put together what may differ, if the broker answers."""
        broker = self._node.broker.broker
        if broker is None:
            return
        agents = self._node.roster.agents
        everything, self._everything = self._everything, False
        stale, self._stale = self._stale, set()
        try:
            if everything:
                await self.put(broker, self._book.all(), ring=True)
                await self.read(broker, agents)
                await self._leave_to_others()
            else:
                await self.read(broker, stale & agents.keys())
        except BaseException:
            self._everything |= everything
            self._stale |= stale
            raise

    async def add(self, schedule: Schedule) -> None:
        """Keep a new schedule, or a mark that moved: durable here, then in the broker if it answers."""
        await self._book.write(schedule)
        broker = self._node.broker.broker
        if broker is None:
            return  # it goes there with the next connection
        try:
            await self.put(broker, [schedule])
        except BrokerUnavailable as error:
            self._node.broker.failed(error)

    async def cancel(self, schedule: Schedule, by: str) -> Schedule:
        """End a schedule. Raises BrokerUnavailable when its owner is another node and cannot be told now."""
        new = schedule.marked(ended="cancelled", note=f"by {by}")
        if schedule.agent in self._node.roster.agents:
            await self.add(new)
            return new
        broker = self._node.broker.broker
        if broker is None:
            raise BrokerUnavailable(
                f"the node of {schedule.agent} cannot be told: the broker does not answer.",
                "Nothing was changed; cancel it again when novactl status says that the broker is up.",
            )
        await self._put_for(broker, schedule.agent, [sealed(new, self._node.guard.seals)])
        if self._book.get(schedule.id) is not None:
            await self._book.write(new)
        return new

    async def known(self, agents: Iterable[AgentId] = ()) -> list[Schedule]:
        """Return every schedule that is known here, or kept in the broker for one of `agents`."""
        found = {schedule.id: schedule for schedule in self._book.all()}
        broker = self._node.broker.broker
        if broker is not None:
            asked = sorted({*agents, *(schedule.agent for schedule in found.values())})
            try:
                for schedule in readable(await self._kept(broker, asked), self._node.guard.seals):
                    mine = found.get(schedule.id, schedule)
                    found[schedule.id] = mine.later(schedule.mark)
            except BrokerUnavailable as error:
                self._node.broker.failed(error)
        await self._book.merge(schedule for schedule in found.values() if self._book.get(schedule.id))
        return sorted(found.values(), key=lambda schedule: schedule.id)

    async def confirm(self, broker: Broker, agent: AgentId, owner: Owner, due: list[Schedule]) -> None:
        """Take over what the broker says of these, as the agent's owner. Raises NotOwner, MailboxLost."""
        marks = await broker.schedule_marks(agent, owner, [schedule.id for schedule in due])
        seals = self._node.guard.seals
        found = [
            schedule.later(_mark(marks[schedule.id], schedule, seals))
            for schedule in due
            if schedule.id in marks
        ]
        await self._book.merge(found)

    async def read(self, broker: Broker, agents: Iterable[AgentId]) -> None:
        """Take over what the broker keeps for these agents."""
        await self._book.merge(readable(await self._kept(broker, list(agents)), self._node.guard.seals))

    async def _kept(self, broker: Broker, agents: list[AgentId]) -> list[Kept]:
        """Return what the broker keeps for these agents, but for those whose key is of another type."""
        try:
            return await broker.schedules(agents)
        except KeyUnfit:
            self._node.broker.unfit(agents)
            if len(agents) < 2:  # it is this one; else each is read for itself
                return []
        return [kept for agent in agents for kept in await self._kept(broker, [agent])]

    async def put(self, broker: Broker, schedules: Iterable[Schedule], *, ring: bool = False) -> None:
        """Put schedules into the broker, where the later mark stays; `ring` the owners of others' agents anyway."""
        by_agent: dict[AgentId, list[Kept]] = {}
        for schedule in schedules:
            by_agent.setdefault(schedule.agent, []).append(sealed(schedule, self._node.guard.seals))
        for agent, kept_ones in by_agent.items():
            try:
                await self._put_for(broker, agent, kept_ones, ring=ring)
            except KeyUnfit:  # they are put there as soon as it is right; nobody else's wait for it
                self._node.broker.unfit([agent])

    async def _put_for(self, broker: Broker, agent: AgentId, kept: list[Kept], *, ring: bool = False) -> None:
        others = agent not in self._node.roster.agents
        await broker.put_schedules(agent, kept, ring=ring and others)

    async def forget_old(self) -> None:
        """Know no longer, here and in the broker, what was over long ago."""
        old = self._book.old(int(self._node.config.state.keep_days * DAY_MS))
        broker = self._node.broker.broker
        if broker is None or not old:
            return
        gone: list[Schedule] = []
        for schedule in old:
            try:
                await broker.forget_schedules(schedule.agent, [schedule.id])
            except KeyUnfit:
                self._node.broker.unfit([schedule.agent])
            else:
                gone.append(schedule)
        await self._book.forget(gone)

    async def _leave_to_others(self) -> None:
        """Know no longer what was added elsewhere, for agents that are another node's now: the broker has it."""
        name, agents = self._node.name, self._node.roster.agents
        others = [s for s in self._book.all() if s.origin != name and s.agent not in agents]
        if others:
            await self._book.forget(others)


def sealed(schedule: Schedule, seals: Seals) -> Kept:
    """Return a schedule as it lies in the broker. Of two marks the greater text is the later, sealed or not."""
    mark = schedule.mark.packed()
    signature = seals.sign("mark", schedule.id, mark)
    return Kept(
        id=schedule.id,
        asked=pack(schedule, seals.sign("schedule", *asked(schedule).values())),
        mark=f"{mark}|{signature}" if signature else mark,
    )


def readable(kept: Iterable[Kept], seals: Seals) -> list[Schedule]:
    """Return what can be read and is sealed; what cannot be read stays where it is, for a newer node."""
    found: list[Schedule] = []
    for each in kept:
        mark, signature = _split(each.mark)
        try:
            schedule = unpack(each.asked, mark)
            told = {"target": schedule.agent, "named": schedule.id, "sender": schedule.sender}
            values = asked(schedule).values()
            seals.check(signature_in(each.asked), "schedule", *values, **told)
            seals.check(signature, "mark", schedule.id, mark, **told)
        except InvalidRequest as error:
            log.warning("schedule.unreadable", extra={"schedule": each.id[:40], "problem": error.message})
        except Unproven:
            continue
        else:
            found.append(schedule)
    return found


def _mark(text: str, schedule: Schedule, seals: Seals) -> Mark:
    mark, signature = _split(text)
    try:
        read = Mark.unpacked(mark)
        seals.check(
            signature, "mark", schedule.id, mark,
            target=schedule.agent, named=schedule.id, sender=schedule.sender,
        )  # fmt: skip
    except InvalidRequest as error:
        log.warning("schedule.unreadable_mark", extra={"problem": error.message})
        return Mark()
    except Unproven:
        return Mark()
    return read


def _split(text: str) -> tuple[str, str]:
    """Return a mark and its signature, which is empty when it has none."""
    if text.count("|") < MARK_FIELDS:
        return text, ""
    mark, _, signature = text.rpartition("|")
    return mark, signature
