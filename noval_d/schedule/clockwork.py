"""Send what is due: sleep until the next time or a change.

Who sends is the owner of the agent. With the broker it is asked first, under the owner's fence, whether the time
was decided elsewhere; without it a node goes on with what was added on it, for agents of its own. The message and
the mark that it was sent are written in one transaction, then the mark goes to the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from nova_torch.communication.compose import compose
from nova_torch.errors import (
    BrokerUnavailable,
    Conflict,
    KeyUnfit,
    MailboxLost,
    NotOwner,
    NovaError,
    StoreFailed,
)
from nova_torch.values import AgentId, Message, MessageId, State
from noval_d.failpoints import failpoint
from noval_d.node.pulse import idle
from noval_d.schedule.book import Book
from noval_d.schedule.copies import Copies
from noval_d.schedule.decide import ahead, decide
from noval_d.schedule.schedule import Schedule, ScheduleId
from noval_d.schedule.times import shown

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.schedule")

RECHECK_S = 10.0
"""While something is scheduled, the wall clock is compared this often: a clock that was set wakes nobody."""
RETRY_S = 1.0
GIVE_UP_MS = 60_000
"""How long after an owner would have given a message up the node where it was added says so instead."""
BATCH = 64
NOTE_CHARS = 200
ABSENT = "nobody was there"
WAITING = frozenset({State.ACCEPTED, State.QUEUED, State.HELD})


class Clockwork:
    """The schedules of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._changed = asyncio.Event()
        self.book = Book(node.store, lambda: self._node.clock_ms())  # noqa: PLW0108 - tests set the clock
        self.copies = Copies(node, self.book)

    def __repr__(self) -> str:
        return f"<Clockwork {self.book!r}>"

    # -- what others say --

    def wake(self) -> None:
        """Look again: something was added, or an agent came or went."""
        self._changed.set()

    def together(self) -> None:
        """Put all copies together again: the broker is there, or another, or an agent is this node's now."""
        self.copies.unsure()
        self._changed.set()

    def stale(self, agent: AgentId) -> None:
        """Read the schedules of an agent again: another node changed them."""
        self.copies.unsure(agent)
        self._changed.set()

    # -- the loop --

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            self._changed.clear()
            wait_s: float | None = RETRY_S
            try:
                await self.copies.together()
                wait_s = await self._round()
            except BrokerUnavailable as error:
                self._node.broker.failed(error)
            except StoreFailed as error:
                log.warning("schedule.store_failed", extra={"problem": error.message})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await idle(self._changed.wait)

    async def _round(self) -> float | None:
        """Send what is due; return the seconds until there is something to do, None when nothing is scheduled."""
        if self._node.stopping.is_set():
            return None
        retry = False
        for agent, due in self._due().items():
            retry |= not await self._send(agent, due)
        await self._give_up()
        await self.copies.forget_old()
        if not self.book.active():
            return None
        return RETRY_S if retry else max(self._sleep_s(), 0.001)

    def _due(self) -> dict[AgentId, list[Schedule]]:
        """Return what asks for something now, by agent: of agents of this node only."""
        found: dict[AgentId, list[Schedule]] = {}
        agents, now_ms = self._node.roster.agents, self._node.clock_ms()
        for next_ms, schedule in self.book.upcoming():
            if schedule.agent in agents and (next_ms <= now_ms or ahead(schedule, now_ms)):
                found.setdefault(schedule.agent, []).append(schedule)
        return found

    def _sleep_s(self) -> float:
        now_ms = self._node.clock_ms()
        agents = self._node.roster.agents
        due = [due_ms for due_ms, schedule in self.book.upcoming() if schedule.agent in agents]
        return min([RECHECK_S, *(max(due_ms - now_ms, 0) / 1000 for due_ms in due)])

    # -- sending --

    async def _send(self, agent: AgentId, due: list[Schedule]) -> bool:
        """Do what is due for one agent of this node; False when it is not this node's to do now."""
        link = self._node.broker
        broker, owner = link.broker, link.owner
        if broker is None or owner is None:
            mine = [schedule for schedule in due if schedule.origin == self._node.name]
        elif not link.claimed(agent) or not link.lease_ok:
            return False
        else:
            try:
                await self.copies.confirm(broker, agent, owner, due)
            except (NotOwner, MailboxLost):
                link.claim_again(agent)
                return False
            except KeyUnfit:  # as without the broker; the others wait until somebody has mended the key
                link.unfit([agent])
                mine = [schedule for schedule in due if schedule.origin == self._node.name]
            else:
                mine = due
        done: list[Schedule] = []
        try:
            for start in range(0, len(mine), BATCH):
                await self._carry_out_all(mine[start : start + BATCH], done)
            if broker is not None and done:
                await self.copies.put(broker, done)
                failpoint("schedule.told")
        except BaseException:
            self.copies.unsure()  # what was done goes to the broker later
            raise
        finally:  # a new owner knows of them before anything is typed, if it can be told at all
            self._node.outbox.let_go(MessageId(schedule.mark.last_id) for schedule in done)
        return len(mine) == len(due)

    async def _carry_out_all(self, batch: list[Schedule], done: list[Schedule]) -> None:
        """Carry out several, in their order and with few commits; add to `done` what changed, then raise."""
        outcomes = await asyncio.gather(
            *(self._carry_out(schedule.id) for schedule in batch), return_exceptions=True
        )
        done += [each for each in outcomes if isinstance(each, Schedule)]
        problems = [each for each in outcomes if isinstance(each, BaseException)]
        if problems:
            raise problems[0]

    async def _carry_out(self, schedule_id: ScheduleId) -> Schedule | None:
        """Carry out the decision about one schedule; return it as it is then, if it changed."""
        schedule = self.book.get(schedule_id)
        if schedule is None or schedule.mark.ended:
            return None
        on_time_ms = round(self._node.config.schedule.on_time_s * 1000)
        decision = decide(schedule, self._node.clock_ms(), on_time_ms=on_time_ms)
        if decision.nothing:
            return None
        new = schedule.marked(done_ms=decision.done_ms)
        if decision.back:
            new = new.marked(turn=schedule.mark.turn + 1, note="the clock was set back")
        if decision.missed_ms is not None:
            new = new.marked(note=ABSENT)
        if decision.fire_ms is not None:
            new = await self._fire(schedule, new, decision.fire_ms)
        else:
            new = new.marked(ended="missed") if schedule.when.once else new
            await self.book.write(new)
        if decision.missed_ms is not None:
            self._tell_missed(new, decision.missed_ms, ABSENT)
        return new

    async def _fire(self, schedule: Schedule, new: Schedule, due_ms: int) -> Schedule:
        """Send the message of the time `due_ms`, or write down why it is not; return the schedule as it is then."""
        try:
            refused = self._kept_back(schedule)
            message = None if refused else self._message(schedule, due_ms)
        except NovaError as error:
            message, refused = None, error.message
        if message is None:
            new = new.marked(note=refused[:NOTE_CHARS], ended="failed" if schedule.when.once else "")
            await self.book.write(new)
            self._tell_missed(new, due_ms, refused)
            return new
        over = "finished" if schedule.when.once else ""
        new = new.marked(last_ms=due_ms, last_id=message.id, note="", ended=over)
        if self._node.outbox.state_of(message.id) is not None:  # sent before: an older copy said otherwise
            await self.book.write(new)
            return new
        new = new.marked(fired=schedule.mark.fired + 1)
        reason = f"schedule {schedule.id}, due {shown(due_ms, schedule.when.tz)}"
        try:
            failpoint("schedule.before")
            await self._node.outbox.accept(
                message, schedule.agent, self.book.row(new), reason=reason, hold=True
            )
            failpoint("schedule.after")
        except Conflict as error:  # somebody sent another message under this id, in this very moment
            self.book.took(new)
            self._tell_missed(new, due_ms, error.message)
            return new
        self.book.took(new)
        log.info("schedule.fired", extra={"schedule": schedule.id, "agent": schedule.agent, "due_ms": due_ms})
        self._publish("fired", new, due_ms, message.id, "")
        return new

    def _kept_back(self, schedule: Schedule) -> str:
        """Return why a repeating schedule does not send now: the message before still waits."""
        last = schedule.mark.last_id
        if schedule.when.once or not last or self._node.outbox.state_of(MessageId(last)) not in WAITING:
            return ""
        return f"message {last}, the one before, still waits"

    def _message(self, schedule: Schedule, due_ms: int) -> Message:
        return compose(
            schedule.target,
            schedule.body,
            now_ms=self._node.clock_ms(),
            message_id=schedule.message_id(due_ms),
            sender=schedule.sender,
            priority=schedule.priority,
            ttl_s=schedule.ttl_s,
            form=schedule.form,
            headers={
                "origin": self._node.name,
                "agent": schedule.agent,
                "answers": schedule.answers,
                "schedule": schedule.id,
                "due_ms": str(due_ms),
            },
            max_bytes=self._node.config.delivery.max_body_bytes,
        )

    async def _give_up(self) -> None:
        """Say of messages that were added here, for agents of no node, that their time is over."""
        broker = self._node.broker.broker
        now_ms = self._node.clock_ms()
        late = [
            schedule
            for schedule in self.book.active()
            if schedule.when.once
            and schedule.origin == self._node.name
            and schedule.agent not in self._node.roster.agents
            and now_ms > schedule.when.at_ms + schedule.late_ms + GIVE_UP_MS
        ]
        if broker is None or not late:
            return
        await self.copies.read(broker, {schedule.agent for schedule in late})
        given_up = [
            known.marked(ended="missed", note=f"no node had {known.agent}")
            for schedule in late
            if (known := self.book.get(schedule.id)) is not None and not known.mark.ended
        ]
        await self.book.write(*given_up)
        for schedule in given_up:
            self._tell_missed(schedule, schedule.when.at_ms, schedule.mark.note)
        await self.copies.put(broker, given_up)

    def _tell_missed(self, schedule: Schedule, due_ms: int, why: str) -> None:
        log.warning(
            "schedule.missed",
            extra={"schedule": schedule.id, "agent": schedule.agent, "due_ms": due_ms, "problem": why},
        )
        self._publish("missed", schedule, due_ms, "", why)

    def _publish(self, what: str, schedule: Schedule, due_ms: int, message: str, reason: str) -> None:
        node = self._node
        node.events.publish(
            {
                "at_ms": node.clock_ms(),
                "event": f"schedule.{what}",
                "id": message,
                "schedule": schedule.id,
                "agent": schedule.agent,
                "state": what,
                "reason": reason,
                "due_ms": due_ms,
                "node": node.name,
            }
        )
