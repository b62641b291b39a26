"""One worker an agent: takes its messages in order, asks the gate, types, proves, settles. DELIVERY, throughout.

The worker decides nothing itself (gate.decide, steps.next_step) and writes nothing itself (Desk). What it owns is
the order: one message at a time, and after anything unclear the pane's marker before anything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from nova_torch.errors import NovaError, TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import HoldReason, Message, MessageId, State
from noval_d.agents.agent import Agent
from noval_d.agents.reports import Report
from noval_d.delivery.gate import Hold, Refuse, Type, decide
from noval_d.delivery.hearing import Hearing
from noval_d.delivery.injector import Injector
from noval_d.delivery.item import Item
from noval_d.delivery.leftover import AGAIN_S
from noval_d.delivery.outcome import Outcome, Postponed
from noval_d.delivery.poster import Poster
from noval_d.delivery.standing import MAY_MOVE, TAKES_BACK
from noval_d.delivery.template import dress
from noval_d.delivery.turns import Turns
from noval_d.delivery.typist import Typist, pause
from noval_d.delivery.view import AgentView
from noval_d.failpoints import failpoint
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.ledger import Phase
from noval_d.talk.talk import Talk
from noval_d.tmux.link import TmuxLink

log = logging.getLogger("nova.delivery")

CAPACITY = 64  # messages to type; the others wait in the mailbox
KEPT_BACK = 512  # messages that a limit keeps back, in hand besides: others from behind them must get past
UNPROVEN = 256  # messages in hand, with those that were submitted and whose hook has yet to tell
TRANSCRIPT_S = 1.0  # between two looks into the transcript while submitted messages wait for a hook
STANDS_S = 1.0  # so long the answer holds that a task is still its agent's
TROUBLED_S = 0.5  # before the next try when the state file or something of ours failed
MAX_DEFECTS = 5
MAX_REFUSALS = 50  # of the guard, although the look before had found nothing in the way


class Worker:
    """Types the messages of one agent, in order."""

    def __init__(
        self,
        agent: Agent,
        *,
        link: TmuxLink,
        injector: Injector,
        desk: Desk,
        lease_ok: Callable[[Item], bool],
        overtaken: Callable[[Message], Awaitable[str]],
        max_attempts: int,
        server_alive: Callable[[str], bool],
        talk: Talk | None = None,
    ) -> None:
        self.agent = agent
        self._link = link
        self._desk = desk
        self._lease_ok = lease_ok
        self._overtaken = overtaken
        self._takes_back = False
        """A message has come that takes back another."""
        self.max_attempts = max_attempts
        self._known: dict[MessageId, Item] = {}
        self.current: Item | None = None
        self.hearing = Hearing(
            agent, desk=desk, in_hand=self._known, current=lambda: self.current, settle=self._settle
        )
        self._typist = Typist(
            agent,
            link=link,
            injector=injector,
            desk=desk,
            server_alive=server_alive,
            may=lease_ok,
            news=self.hearing.read_transcript,
        )
        self.poster = Poster(agent, desk=desk, may=lease_ok)
        self._waiting: list[Item] = []
        self._arrivals = 0
        self._stopping = False
        self.hold: Hold | None = None
        self.hold_since = 0.0
        self.turns = Turns(agent, desk=desk, settle=self._settle, talk=talk)
        self.roomy = asyncio.Event()
        self.roomy.set()

    def __repr__(self) -> str:
        current = f" on={self.current!r}" if self.current else ""
        return f"<Worker {self.agent!r} in_hand={len(self._known)}{current}>"

    # -- what others ask --

    @property
    def in_hand(self) -> int:
        """How many messages are not settled here."""
        return len(self._known)

    @property
    def room(self) -> int:
        """How many more messages it takes now."""
        back = self.turns.kept_back
        kept = sum(item.message.sender in back for item in self._waiting) if back else 0
        return max(
            0,
            min(CAPACITY + kept - len(self._waiting), UNPROVEN + kept - len(self._known), KEPT_BACK - kept),
        )

    @property
    def items(self) -> tuple[Item, ...]:
        """Every message that is not settled here."""
        return tuple(self._known.values())

    def find(self, message: MessageId) -> Item | None:
        """Return the message if it is in hand."""
        return self._known.get(message)

    def put(self, item: Item) -> None:
        """Take a message over. Never refuses: callers look at `room` first."""
        self._arrivals += 1
        item.arrival, item.arrived_at = self._arrivals, self.agent.clock()
        if item.acknowledged:  # before a restart
            item.acknowledged_at = item.arrived_at
        self._known[item.message.id] = item
        if item.phase is Phase.ENTERED:
            item.typed = item.typed or dress(self.agent.driver, item.message)
        else:
            self._waiting.append(item)
        self._takes_back = self._takes_back or TAKES_BACK in item.message.headers
        self.agent.wake.set()
        self.agent.recount()

    def take_all(self) -> list[Item]:
        """Give back every message that was not typed (the agent is unregistered, or another node's)."""
        untyped = [item for item in self._known.values() if item.phase is Phase.RECEIVED and not item.begun]
        for item in untyped:
            self._forget(item)
        return untyped

    async def heard(self, report: Report, *, late: bool = False) -> None:
        """Take over a hook's report: what a prompt proves is acknowledged, also by one that comes `late`."""
        await self.hearing.heard(report, late=late)

    def stop(self) -> None:
        """Begin no further message; the one in hand is finished if its proof comes soon."""
        self._stopping = self._typist.stopping = True
        self.agent.wake.set()

    # -- the loop --

    async def run(self) -> None:
        """Work until stopped. What goes wrong with one message never ends the worker, nor the node."""
        while not self._stopping:
            self.agent.wake.clear()
            try:
                wait_s = await self._pass()
            except NovaError as error:
                log.warning("delivery.troubled", extra={"agent": self.agent.id, "problem": error.message})
                wait_s = TROUBLED_S
            except Exception:  # a defect of ours, met by one message: the others must not wait for its cure
                log.exception("delivery.failed", extra={"agent": self.agent.id})
                await self._give_up(self.current)
                wait_s = TROUBLED_S
            if wait_s > 0 and not self._stopping:
                await pause(self.agent, wait_s)

    async def _give_up(self, item: Item | None) -> None:
        """Settle the message that a defect was met with too often, as far as it is known what became of it."""
        if item is None or item.phase is Phase.SETTLED:
            return
        item.defects += 1
        if item.defects < MAX_DEFECTS:
            return
        state = State.DEAD if item.phase is Phase.RECEIVED else State.UNCONFIRMED
        try:
            await self._settle(item, state, "a defect: see the node's log")
        except NovaError as error:
            log.warning("delivery.troubled", extra={"agent": self.agent.id, "problem": error.message})

    async def _pass(self) -> float:
        """Do one thing for the message whose turn it is; return how long to wait before the next look."""
        if self.hearing.waits:
            await self.hearing.read_transcript()
            await self._look(None)
            await self.hearing.give_up()
        if not self._waiting:
            self.current = self.hold = None
            self.turns.clear()
            if self._typist.left:
                view = await self._look(None)
                return view.recheck_s if isinstance(view, Hold) else await self._typist.tidy(view) or AGAIN_S
            return TRANSCRIPT_S if self._known else 3600.0
        expires_s = await self._expire()
        if self._takes_back:
            self._takes_back = False
            for waiting in sorted(self._waiting, key=lambda one: one.order):
                await self._withdraw(waiting)
        if not self._waiting:
            return 0.0
        item, again_s = await self.turns.next(self._waiting, self._known)
        self.current = item
        if item is None:
            self.hold = None
            return min(again_s, expires_s)
        if item.phase is Phase.TYPING:
            road = self.poster if self.poster.is_on_its_way(item) else self._typist
            return await self._take(item, await road.recover(item))
        return min(await self._consider(item), expires_s, again_s)

    async def _expire(self) -> float:
        """Settle what waited too long, wherever it stands in the queue; return when the next one will have.

        By the time of day, and at the latest after as long as it was given: that clock may be set back.
        """
        now, clock = self.agent.clock_ms(), self.agent.clock()
        left_s = 3600.0
        for item in tuple(self._waiting):
            if item.phase is not Phase.RECEIVED or item.message.expires_ms is None:
                continue
            given_s = (item.message.expires_ms - item.message.created_ms) / 1000
            until_s = min((item.message.expires_ms - now) / 1000, item.arrived_at + given_s - clock)
            if until_s <= 0:
                await self._settle(item, State.EXPIRED, "its time to live ran out before it could be typed")
            else:
                left_s = min(left_s, until_s + 0.001)
        return left_s

    async def _withdraw(self, item: Item) -> None:
        """Settle a message that is not to be typed any more, and was not."""
        if item.phase is not Phase.RECEIVED or item.begun:
            return
        reason = await self._overtaken(item.message)
        item.asked_at = self.agent.clock()
        if reason:
            await self._settle(item, State.FAILED, reason)

    async def _consider(self, item: Item) -> float:
        view = await self._look(item)
        if isinstance(view, Hold):
            return await self._held(item, view)
        if (wait_s := await self._typist.tidy(view)) > 0:
            return wait_s
        aim = None
        decision = decide(item.message, view, self.agent.clock_ms())
        if not isinstance(decision, Refuse) and self.poster.may(item, view):
            past_the_screen = decide(item.message, replace(view, direct=True), self.agent.clock_ms())
            if isinstance(past_the_screen, Type) and (aim := await self.poster.aim(view)) is not None:
                decision = past_the_screen
        if isinstance(decision, Refuse):
            await self._settle(item, decision.state, decision.reason)
            return 0.0
        if isinstance(decision, Hold):
            return await self._held(item, decision)
        self.hold = None
        asked = item.asked_at is not None and self.agent.clock() - item.asked_at < STANDS_S
        if MAY_MOVE & item.message.headers.keys() and not asked:
            await self._withdraw(item)
            return 0.0  # what was seen is old by now
        if item.attempt >= self.max_attempts or item.refusals >= MAX_REFUSALS:
            await self._settle(item, State.DEAD, "it could not be typed in many tries")
            return 0.0
        if aim is not None:
            return await self._take(item, await self.poster.post(item, aim))
        if (hope := self.poster.hope()) is not None:
            return await self._held(item, hope)
        return await self._take(item, await self._typist.type(item, view))

    async def _take(self, item: Item, outcome: Outcome) -> float:
        """Write down what the typist found; return how long to wait before the next look."""
        if isinstance(outcome, Postponed):
            return outcome.seconds
        failpoint("proof.after")
        await self._verdict(item, outcome.state, outcome.reason)
        return 0.0

    async def _look(self, item: Item | None) -> AgentView | Hold:
        agent = self.agent
        if agent.paused or agent.facts is None:
            return AgentView(
                driver=agent.driver,
                facts=None,
                paused=agent.paused,
                launching=agent.launching,
                ending=agent.ending,
            )
        try:
            view = await agent.view(self._link.client, to_type=item is not None)
        except TmuxNotAnswering:
            self._link.answered(well=False)
            return Hold(HoldReason.NO_AGENT, "the tmux server does not answer", 0.5)
        except TmuxUnavailable:
            return Hold(HoldReason.NO_AGENT, "there is no tmux server", 1.0)
        return replace(view, lease_ok=item is None or self._lease_ok(item))

    async def _held(self, item: Item, hold: Hold) -> float:
        if self.hold is None or self.hold.reason is not hold.reason:
            self.hold_since = self.agent.clock()
        self.hold = hold
        await self._desk.tell(item, State.HELD, hold.reason.value)
        return hold.recheck_s

    async def _verdict(self, item: Item, state: State, reason: str) -> None:
        if state is State.SUBMITTED and self.agent.tells:
            item.entered_at = self.agent.clock()
            await self._desk.entered(item)
            self._pop(item)
            if item.acknowledged:  # the hook reported while that was written
                await self._settle(item, State.ACKNOWLEDGED, item.beside)
            return
        await self._settle(item, state, reason)

    # -- small things --

    async def _settle(self, item: Item, state: State, reason: str = "") -> None:
        if item.settling:
            return
        item.settling = True
        try:
            await self._desk.settle(item, state, reason)
        finally:
            item.settling = False
        if state is State.ACKNOWLEDGED:
            self._typist.taken(item)
            self.agent.acknowledged(item.message.id, item.acknowledged_at)
        # it leaves the queue only with a verdict that is durable: the next paste takes its marker away
        self._forget(item)

    def _pop(self, item: Item) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting is not item]

    def _forget(self, item: Item) -> None:
        self._pop(item)
        self._known.pop(item.message.id, None)
        self.roomy.set()
        self.agent.recount()
        if not self._known:
            self.agent.emptied()
