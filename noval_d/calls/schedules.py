"""Answer the calls about schedules: add, list, show, cancel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nova_torch.clean import checked_body
from nova_torch.communication.group import is_group
from nova_torch.errors import Busy, Conflict, InvalidRequest, MessageNotFound, ScheduleNotFound, ShuttingDown
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AgentId, Form, MessageId, Priority
from nova_torch.zones import local_zone
from noval_d.calls.messages import Messages
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.schedule.schedule import MISSED, Mark, Schedule, ScheduleId
from noval_d.schedule.times import Kind, When, explained, read_at, read_cron, shown, zone

WAYS = ("in_s", "at", "every_s", "cron")
HOW = "Give one of: in, at, every, cron."
DAY_MS = 86_400_000
MAX_S = 1e9
OVER_ROWS = 500


class Schedules(Messages):
    """One method a call."""

    async def schedule_add(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a message that is sent later. The same id again is the same schedule."""
        node = self._node
        if node.stopping.is_set():
            raise ShuttingDown("the daemon is stopping and takes no schedules.", "Add it again in a moment.")
        asked = Args(args)
        made = await self._made(peer, asked)
        known = node.schedules.book.get(made.id)
        if known is None:
            if node.outbox.state_of(MessageId(made.id)) is not None:
                raise Conflict(
                    f"the id {made.id} belongs to a message.", "Leave --id away, or give a new ULID."
                )
            await self._refuse_too_many(made)
            await node.schedules.copies.add(made)
            node.schedules.wake()
            known = made
        elif not known.same_as(made):
            raise Conflict(
                f"the id {made.id} belongs to another schedule.", "Leave --id away, or give a new ULID."
            )
        return self._told(known, await self._fleet())

    async def schedule_list(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the schedules of the fleet, the next one first; with `all` those that are over too."""
        asked = Args(args)
        agent, over = asked.optional_text("agent"), asked.flag("all")
        fleet = await self._fleet()
        known = [
            schedule
            for schedule in await self._node.schedules.copies.known(fleet)
            if agent is None or agent in (schedule.agent, schedule.target)
        ]
        ended = [schedule for schedule in known if schedule.mark.ended][-OVER_ROWS:] if over else []
        rows = [self._told(each, fleet) for each in known if not each.mark.ended]
        rows += [self._told(each, fleet) for each in ended]
        return sorted(rows, key=lambda row: (row["next_ms"] is None, row["next_ms"] or 0, row["id"]))

    async def schedule_show(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return one schedule, with its body for those who may write."""
        fleet = await self._fleet()
        schedule = await self._schedule(Args(args).text("id"), fleet)
        private = peer.access >= Access.WRITE
        body = (schedule.body or self._node.schedules.book.body(schedule.id) or None) if private else None
        how = {"priority": schedule.priority.value, "form": schedule.form.value, "ttl_s": schedule.ttl_s}
        return {**self._told(schedule, fleet), **how, "at_ms": schedule.when.at_ms, "body": body}

    async def schedule_cancel(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """End a schedule; what it has sent already goes on."""
        asked = Args(args)
        fleet = await self._fleet()
        schedule = await self._schedule(asked.text("id"), fleet)
        if schedule.mark.ended not in ("", "cancelled"):
            sent = f" Its message: novactl trace {schedule.mark.last_id}" if schedule.mark.last_id else ""
            raise Conflict(f"schedule {schedule.id} is over already: {schedule.mark.ended}.", sent.strip())
        if not schedule.mark.ended:
            schedule = await self._node.schedules.copies.cancel(schedule, self._sender(peer, asked))
        return self._told(schedule, fleet)

    async def trace(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return every hop of a message, and the schedule it came from."""
        message = MessageId(Args(args).text("id"))
        headers = self._node.outbox.headers_of(message)
        schedule = self._node.schedules.book.get(message)
        if not headers and schedule is not None and not schedule.mark.ended:
            raise MessageNotFound(
                f"message {message} is not sent yet: it is due {shown(schedule.when.at_ms, schedule.when.tz)}.",
                f"See: novactl schedule show {message}",
            )
        told = await super().trace(peer, args)
        return {**told, "schedule": headers["schedule"]} if "schedule" in headers else told

    # -- parts --

    async def _made(self, peer: Peer, asked: Args) -> Schedule:
        """Return the schedule that is asked for. Raises InvalidRequest and its kin."""
        node = self._node
        limits = node.config.schedule
        now_ms = node.clock_ms()
        named = asked.optional_text("id")
        if named is not None and not is_ulid(named):
            raise InvalidRequest(
                f"{named[:40]!r} is not a ULID.", "Leave the id away, or give 26 letters of base 32."
            )
        target = self._named_target(asked)
        if is_group(target):
            raise InvalidRequest(f"{target} may be several agents, and a schedule is for one.", "Name it.")
        body = checked_body(asked.payload("body"), max_bytes=limits.max_body_bytes)
        when = self._when(asked, now_ms)
        sender = self._sender(peer, asked)
        ttl_s = asked.optional_number("ttl_s")
        known = node.schedules.book.get(named) if named is not None else None
        agent = known.agent if known is not None else await self._resolve(target)
        message = node.orchestrator.compose(  # what cannot be a message now will be none later
            target,
            body,
            sender=sender,
            priority=asked.optional_text("priority") or Priority.NORMAL,
            form=asked.optional_text("form") or Form.AUTO,
            ttl_s=ttl_s,
            headers={"origin": node.name},
        )
        node.guard.demand_send(message, agent)
        await node.rejections.demand(agent)
        late_s = asked.optional_number("late_s", least=0, most=7 * 86400)
        return Schedule(
            id=ScheduleId(named or new_ulid(now_ms)),
            agent=agent,
            target=target,
            sender=sender,
            body=body,
            when=when,
            origin=node.name,
            answers=await self._answers_to(sender),
            created_ms=now_ms,
            missed=asked.optional_choice("missed", MISSED) or limits.missed,
            late_ms=round((limits.late_s if late_s is None else late_s) * 1000),
            priority=message.priority,
            form=message.form,
            ttl_s=ttl_s,
            mark=Mark(done_ms=0 if when.once else now_ms),
        )

    def _named_target(self, asked: Args) -> str:
        if not asked.flag("here"):
            return asked.text("target")
        caller = self._agent_of(asked)
        if caller is None:
            raise InvalidRequest("this pane is no agent's.", "Name the agent, or run this in its pane.")
        return caller.id

    def _when(self, asked: Args, now_ms: int) -> When:
        given = [
            way
            for way, value in (
                ("in_s", asked.optional_number("in_s", most=MAX_S)),
                ("at", asked.optional_text("at")),
                ("every_s", asked.optional_number("every_s", most=MAX_S)),
                ("cron", asked.optional_text("cron")),
            )
            if value is not None
        ]
        if len(given) != 1:
            said = " and ".join(given) if given else "no time"
            raise InvalidRequest(f"{said} {'are' if len(given) > 1 else 'is'} given.", HOW)
        tz = asked.optional_text("tz") or local_zone() or "UTC"
        zone(tz)
        limits = self._node.config.schedule
        match given[0]:
            case "cron":
                return read_cron(asked.text("cron"), tz, now_ms)
            case "every_s":
                every_s = asked.number("every_s")
                if every_s < limits.min_period_s:
                    raise InvalidRequest(
                        f"every {every_s:g} s is too often.",
                        f"The shortest period is {limits.min_period_s:g} s (schedule.min_period_s).",
                    )
                every_ms = round(every_s * 1000)
                self._refuse_far(now_ms + every_ms, now_ms, tz)
                return When(kind=Kind.EVERY, at_ms=now_ms, every_ms=every_ms, tz=tz)
            case "in_s":
                in_s = asked.number("in_s")
                if in_s <= 0:
                    raise InvalidRequest(f"in {in_s:g} s is not later.", "Give a duration such as 30s or 2h.")
                at_ms = now_ms + max(round(in_s * 1000), 1)
            case _:
                at_ms = read_at(asked.text("at"), tz, now_ms)
        self._refuse_far(at_ms, now_ms, tz)
        return When(kind=Kind.AT, at_ms=at_ms, tz=tz)

    def _refuse_far(self, at_ms: int, now_ms: int, tz: str) -> None:
        days = self._node.config.schedule.horizon_days
        if at_ms > now_ms + days * DAY_MS:
            raise InvalidRequest(
                f"{shown(at_ms, tz)} is too far ahead.",
                f"At most {days:g} days are allowed (schedule.horizon_days).",
            )

    async def _refuse_too_many(self, made: Schedule) -> None:
        limits, book = self._node.config.schedule, self._node.schedules.book
        for attempt in (0, 1):
            theirs, senders = book.count(agent=made.agent), book.count(sender=made.sender)
            if theirs < limits.max_per_agent and senders < limits.max_per_sender:
                return
            if attempt == 0:  # some may be over at another node
                await self._node.schedules.copies.known()
        if theirs >= limits.max_per_agent:
            raise Busy(
                f"{made.agent} has {theirs} schedules (schedule.max_per_agent).",
                f"Cancel some: novactl schedule list --agent {made.agent}",
            )
        raise Busy(
            f"{made.sender} has {senders} schedules (schedule.max_per_sender).",
            "Cancel some: novactl schedule list",
        )

    async def _schedule(self, schedule_id: str, fleet: Collection[AgentId]) -> Schedule:
        found = {schedule.id: schedule for schedule in await self._node.schedules.copies.known(fleet)}
        if schedule_id in found:
            return found[ScheduleId(schedule_id)]
        raise ScheduleNotFound(
            f"no schedule {schedule_id[:40]} is known.", "See them all: novactl schedule list --all"
        )

    async def _fleet(self) -> frozenset[AgentId]:
        return frozenset(self._node.roster.agents) | await self._names_elsewhere()

    def _told(self, schedule: Schedule, fleet: Collection[AgentId]) -> dict[str, Any]:
        when, mark = schedule.when, schedule.mark
        state, note = mark.ended, mark.note
        next_ms: int | None = None
        words = ""
        try:
            next_ms, words = schedule.next_ms, explained(when)
        except InvalidRequest as error:
            state, note = state or "failed", error.message
        if not state and schedule.agent not in fleet:
            down = self._node.broker.broker is None
            state = "waiting" if down else "no_agent"
            note = (
                "the broker does not answer" if down else f"no node has {schedule.agent}; it is kept for it"
            )
        return {
            "id": schedule.id,
            "target": schedule.target,
            "agent": schedule.agent,
            "sender": schedule.sender,
            "node": schedule.origin,
            "state": state or "waiting",
            "reason": note,
            "kind": when.kind.value,
            "every_s": when.every_ms / 1000 if when.every_ms else None,
            "cron": when.cron or None,
            "words": words,
            "tz": when.tz,
            "next_ms": next_ms,
            "next": "" if next_ms is None else shown(next_ms, when.tz),
            "missed": schedule.missed,
            "late_s": schedule.late_ms / 1000,
            "fired": mark.fired,
            "last_ms": mark.last_ms or None,
            "last_id": mark.last_id or None,
            "created_ms": schedule.created_ms,
        }
