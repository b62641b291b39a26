"""Send what the outbox accepted: into mailboxes, or, while the broker is down, straight to local agents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from nova_torch.again import SILENT_S, Again
from nova_torch.broker import Broker, Enqueue, Enqueued, Lane
from nova_torch.errors import BrokerUnavailable, NovaError, StoreFailed
from nova_torch.values import AgentId, HoldReason, Hop, MessageId, NodeId, State
from noval_d.delivery.item import Item
from noval_d.failpoints import failpoint
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.outgoing import Outgoing
from noval_d.mailroom.seals import Seals
from noval_d.node.link import BrokerLink
from noval_d.node.pulse import idle
from noval_d.talk.pigeonhole import Hand

log = logging.getLogger("nova.outbox")

BATCH = 128
TICK_S = 1.0
ASK_S = 5.0  # between two looks for such messages
LOST_MS = 600_000  # how long after its time to live the owner of a message may still tell of it


class Dispatch:
    """Moves accepted messages on, in the order they were accepted."""

    def __init__(
        self,
        *,
        node: NodeId,
        outbox: Outbox,
        inbox: Inbox,
        link: BrokerLink,
        workers: Mapping[AgentId, Hand],
        clock_ms: Callable[[], int],
        mailbox_limit: int,
        seals: Seals,
    ) -> None:
        self._node = node
        self._outbox = outbox
        self._inbox = inbox
        self._link = link
        self._workers = workers
        self._clock_ms = clock_ms
        self._limit = mailbox_limit
        self._seals = seals
        self._expired_to = 0
        self._left = True
        """Whether the last round may have left something here."""
        self._asked_ms = 0
        """When it was last looked of which messages nothing is heard."""
        self._earlier = 0
        """The last message that was accepted before this start: it may have been handed on, and that not noted."""
        self._unsure: set[MessageId] = set()
        """What was handed on, and no answer came or none could be noted."""
        self._twins: dict[int, Again] = {}
        """What had come into its mailbox another way, by its place here."""
        self._owners: dict[AgentId, str] = {}
        """Who had each mailbox that something was put into last, as of which epoch."""
        self._foreseen: dict[AgentId, asyncio.Task[None]] = {}
        """Mailboxes of which it is being asked whose they are."""

    @property
    def mode(self) -> str:
        """`normal`, or `fallback` while the broker is down and only local agents are reached."""
        return "normal" if self._link.broker is not None else "fallback"

    def foresee(self, agent: AgentId) -> None:
        """See whose a mailbox is while a message for it is written down: its bell need not be rung afterwards."""
        broker = self._link.broker
        if broker is None or agent in self._workers or agent in self._foreseen or broker.seen_owned(agent):
            return
        self._foreseen[agent] = asyncio.create_task(self._see(broker, agent), name="dispatch.foresee")

    async def _see(self, broker: Broker, agent: AgentId) -> None:
        try:
            await broker.owner_of(agent)
        except NovaError:
            pass  # putting it in says what is wrong, and is told the owner
        finally:
            self._foreseen.pop(agent, None)

    async def run(self) -> None:
        """Send until cancelled."""
        self._earlier = self._outbox.newest()
        looked_ms = 0
        while True:
            if self._outbox.quiet:
                await idle(self._outbox.grew.wait)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._outbox.grew.wait()
            grew = self._outbox.grew.is_set()
            self._outbox.grew.clear()
            try:
                if not grew and not self._outbox.any_open():
                    continue
                look = abs(self._clock_ms() - looked_ms) >= TICK_S * 1000
                if look:
                    looked_ms = self._clock_ms()
                    if self._left:
                        await self._expire()
                await self._round(look=look)
            except BrokerUnavailable as error:
                self._link.failed(error)
                await asyncio.sleep(0.05)
                self._outbox.grew.set()
            except StoreFailed as error:
                log.warning("outbox.store_failed", extra={"problem": error.message})
                await asyncio.sleep(TICK_S)

    async def _round(self, *, look: bool) -> None:
        """Send what is unsent and, with `look`, again what nothing is heard of."""
        self._left = True
        broker = self._link.broker
        if broker is None:
            if not self._link.superseded:
                await self._straight()
            return
        stuck: set[AgentId] = set()  # theirs waits for its owner, in order; the next tick tries again
        more = True
        while more and (batch := self._outbox.unsent(BATCH, skip=stuck)):
            stuck |= await self._send(broker, batch)
            more = len(batch) == BATCH  # what came meanwhile has set `grew`
        self._left = bool(stuck)
        if look and (twins := self._due_twins()):
            await self._ask_again(broker, twins)
        if not look or abs(self._clock_ms() - self._asked_ms) < ASK_S * 1000:
            return
        self._asked_ms = self._clock_ms()
        silent = self._outbox.silent(self._clock_ms() - int(SILENT_S * 1000), BATCH)
        if silent:
            await self._ask_again(broker, [out for out in silent if self._in_hand(out) is None])
            await self._outbox.asked_again(out.message.id for out in silent)

    def _note_twin(self, out: Outgoing, answer: Enqueued, fresh: AbstractSet[MessageId]) -> None:
        if answer.duplicate and not self._may_be_there(out, but=fresh):
            self._twins[out.seq] = Again(self._clock_ms() / 1000, twin=True)

    def _due_twins(self) -> list[Outgoing]:
        """Return what lay in its mailbox already, and is to be put there again now."""
        now = self._clock_ms() / 1000
        due: list[Outgoing] = []
        for seq, again in [*self._twins.items()]:
            out = self._outbox.at(seq)
            if out is None or out.state is State.ACCEPTED or again.spaced:
                del self._twins[seq]
            elif again.due(now) and self._in_hand(out) is None and len(due) < BATCH:
                again.done(now, well=True)
                due.append(out)
        return due

    def _in_hand(self, outgoing: Outgoing) -> Item | None:
        worker = self._workers.get(outgoing.agent)
        return worker.find(outgoing.message.id) if worker is not None else None

    async def _send(self, broker: Broker, batch: list[Outgoing]) -> set[AgentId]:
        """Move messages on into mailboxes; return the agents that take none now."""
        hops: list[Hop] = []
        outside: list[Outgoing] = []
        for out in batch:
            item = self._in_hand(out)
            known = self._inbox.verdict(out.message.id) if out.agent in self._workers else None
            if known is not None:  # it came another way as well, with the same id
                hops.append(known)
            elif item is None:
                outside.append(out)
            else:  # given straight, or read before the broker lost it: its mailbox has no say any more
                state, reason = item.told
                hops.append(self._hop(out, State(state or State.QUEUED), reason))
        stuck: set[AgentId] = set()
        lost: set[AgentId] = set()
        unowned: list[MessageId] = []
        fresh = {out.message.id for out in outside} - self._unsure
        self._unsure |= fresh
        failpoint("enqueue.before")
        answers = await self._enqueue(broker, outside)
        failpoint("enqueue.after")
        for out, answer in zip(outside, answers, strict=True):
            if not answer.error:
                hops.append(self._hop(out, State.QUEUED, "", node=NodeId(answer.owner_node or "")))
                self._note_twin(out, answer, fresh)
            elif answer.error == "full" and not self._may_be_there(out, but=fresh):
                why = f"the mailbox of {out.agent} is full ({self._limit} messages)"
                hops.append(self._hop(out, State.FAILED, why, final=True))
            else:
                stuck.add(out.agent)
                if answer.error == "unfit":
                    self._link.unfit([out.agent])
                elif answer.error not in ("full", "moved"):
                    lost.add(out.agent)
                    if not out.reason:
                        unowned.append(out.message.id)
        for agent in lost & self._workers.keys():
            self._link.claim_again(agent)
        # a receipt of the owner may be faster than this note: it must not be overwritten
        await self._outbox.advance(hops)
        self._unsure -= fresh.union(hop.message for hop in hops)
        failpoint("queued.after")
        if unowned:
            await self._outbox.note(unowned, HoldReason.NO_AGENT.value)
        return stuck

    def _may_be_there(self, out: Outgoing, but: AbstractSet[MessageId] = frozenset()) -> bool:
        """Tell whether a mailbox may have had a message, by any try `but` that which was answered just now."""
        return (
            out.seq <= self._earlier
            or out.message.id in self._unsure - but
            or self._outbox.handed_on(out.message.id)
        )

    async def _ask_again(self, broker: Broker, lost: list[Outgoing]) -> None:
        """Send messages again of which nothing was heard: their owner takes them, or tells what became of them.

        Whatever the mailbox answers is no verdict: they may have been typed long ago.
        """
        answers = await self._enqueue(broker, lost)
        pairs = zip(lost, answers, strict=True)
        unowned = {out.message.id for out, answer in pairs if answer.error == "no_agent"}
        queued = [o.message.id for o in lost if o.message.id in unowned and o.state is State.QUEUED]
        if queued:  # no node has the mailbox: they are sent as soon as one does
            await self._outbox.resend(queued)

    async def _enqueue(self, broker: Broker, batch: list[Outgoing]) -> list[Enqueued]:
        """Put messages into their mailboxes, if those have the owners that this node knows, or no data was lost.

        A new owner may have claimed a mailbox of a broker that lost its data before this node has noticed: what was
        lost would be overtaken. Raises BrokerUnavailable then; it is sent again first, with the next connection.
        """
        if asked := {self._foreseen[out.agent] for out in batch if out.agent in self._foreseen}:
            await asyncio.wait(asked)
        answers = await self._put(broker, batch)
        if moved := [n for n, answer in enumerate(answers) if answer.error == "moved"]:
            if await self._link.lost(broker):
                raise BrokerUnavailable("the broker lost its data.", "What it lost is sent again.")
            self._learn(batch, answers)
            # these only: what went in may have been typed since, and its mailbox be full of others' messages
            again = await self._put(broker, [batch[n] for n in moved])
            for n, answer in zip(moved, again, strict=True):
                answers[n] = answer
        self._learn(batch, answers)
        return answers

    def _learn(self, batch: list[Outgoing], answers: list[Enqueued]) -> None:
        self._owners.update(
            {out.agent: answer.owner for out, answer in zip(batch, answers, strict=True) if answer.owner}
        )

    async def _put(self, broker: Broker, batch: list[Outgoing]) -> list[Enqueued]:
        return await broker.enqueue(
            [
                Enqueue(
                    agent=out.agent,
                    message_id=out.message.id,
                    lane=Lane.of(out.message.priority),
                    payload=self._seals.message(out.message, out.envelope),
                    limit=self._limit,
                    origin=self._node,
                    owner=self._owners.get(out.agent, ""),
                )
                for out in batch
            ]
        )

    async def _straight(self) -> None:
        """Give messages for local agents to their workers, in order, as far as they have room."""
        workers = {agent: hand for agent, hand in self._workers.items() if not self._link.taken(agent)}
        room = {agent: worker.room for agent, worker in workers.items() if worker.room > 0}
        for seq, message, agent in self._outbox.near(room):
            worker = self._workers.get(agent)
            if worker is None or room[agent] <= 0 or worker.find(message) is not None:
                continue
            out = self._outbox.at(seq)
            if out is not None:
                room[agent] -= 1
                await self._inbox.deliver(out)

    async def fail_all(self, agent: AgentId, why: str) -> int:
        """Fail what waits here for an agent that is unregistered and was handed to no other node."""
        failed = 0
        while batch := self._outbox.of(agent, BATCH):
            for out in batch:
                await self._inbox.fail(agent, out.message, why)
            failed += len(batch)
        return failed

    async def _expire(self) -> None:
        """Look at the next of the messages that wait here; those whose time ran out are final."""
        now = self._clock_ms()
        waiting = self._outbox.unsent(BATCH, after=self._expired_to)
        self._expired_to = waiting[-1].seq if len(waiting) == BATCH else 0
        late: list[Hop] = []
        for out in waiting:
            expires_ms = out.message.expires_ms
            if expires_ms is None or now < expires_ms or self._in_hand(out) is not None:
                continue
            if not self._may_be_there(out):
                late.append(
                    self._hop(out, State.EXPIRED, "its time to live ran out in the outbox", final=True)
                )
            elif now >= expires_ms + LOST_MS:
                why = "its time to live ran out, and no node tells what became of it"
                late.append(self._hop(out, State.UNCONFIRMED, why, final=True))
        if late:
            await self._outbox.apply(late)

    def _hop(
        self, out: Outgoing, state: State, reason: str, *, final: bool = False, node: NodeId | None = None
    ) -> Hop:
        return Hop(
            message=out.message.id,
            at_ms=self._clock_ms(),
            node=node or self._node,
            state=state,
            reason=reason,
            final=final,
        )
