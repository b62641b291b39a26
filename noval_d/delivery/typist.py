"""Type one message into its pane and follow it to a verdict: paste, look, Enter, proof. DELIVERY, throughout.

What to do is decided in `steps` and `leftover`; tmux is told by the injector. After anything unclear the pane's
marker says what happened, never a guess.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from nova_torch.errors import TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import State
from noval_d.agents.agent import Agent
from noval_d.agents.prompt import write_prompt
from noval_d.agents.sight import guard_text, is_mixed, landed
from noval_d.delivery import steps
from noval_d.delivery.back import Back, Taking, plan
from noval_d.delivery.injector import ENTERED, Injector
from noval_d.delivery.item import Item
from noval_d.delivery.leftover import LOOK_S, Forget, Keep, Later, Left, tidy, which
from noval_d.delivery.line import LineProver
from noval_d.delivery.lost import Erase, Probe
from noval_d.delivery.outcome import Outcome, Postponed, Verdict
from noval_d.delivery.proof import has_piece
from noval_d.delivery.template import dress
from noval_d.delivery.view import AgentView
from noval_d.failpoints import failpoint
from noval_d.mailroom.desk import Desk
from noval_d.tmux.link import TmuxLink

HANDS_S = 0.05  # before the next look while somebody else presses keys in the pane
SHOWN_CHARS = 80  # letters of a text by which it is known above the box; fewer are many messages' own
LOST = "the agent lost it: it is typed once more"
TAKEN = "somebody else typed into the same line: it was taken back, and is typed again behind theirs"
MAX_TAKEN = 3  # from then on it stays beside theirs, until they go away or send both
TELL_S = 1.0  # a typed message that waits for a person this long is reported with the reason


class Typist:
    """Types into the pane of one agent, one message at a time."""

    def __init__(
        self,
        agent: Agent,
        *,
        link: TmuxLink,
        injector: Injector,
        desk: Desk,
        server_alive: Callable[[str], bool],
        may: Callable[[Item], bool],
        news: Callable[[], Awaitable[None]],
    ) -> None:
        self.agent = agent
        self._link = link
        self._injector = injector
        self._desk = desk
        self._server_alive = server_alive
        self._may = may
        self._news = news
        self._prover = LineProver(link)
        self.stopping = False
        self.left: tuple[Left, ...] = ()
        """Texts that the agent has taken lately."""

    def __repr__(self) -> str:
        return f"<Typist {self.agent!r}{' stopping' if self.stopping else ''}>"

    async def type(self, item: Item, view: AgentView) -> Outcome:
        """Paste a message that the gate let through, and follow it to its verdict."""
        with self._typing():
            return await self._type(item, view)

    @contextlib.contextmanager
    def _typing(self) -> Iterator[None]:
        """What is in the input box meanwhile is ours: nobody's draft."""
        self.agent.typing = True
        try:
            yield
        finally:
            self.agent.typing = self.agent.mixed = False

    async def _type(self, item: Item, view: AgentView) -> Outcome:
        agent, facts = self.agent, view.facts
        assert facts is not None
        # somebody answers a dialog, or has sent keys that may not be drawn: look again when that is over
        if agent.hands.locked() or agent.their_keys.undrawn(agent.clock()):
            return Postponed(HANDS_S)
        item.typed = dress(agent.driver, item.message)
        line_driver = agent.driver if agent.driver.kind == "line" else None
        item.pasting = True
        try:
            async with agent.hands:
                await self._desk.typing(item, agent.pane_key)
                if not self._may(item):  # this process stood still, and its lease ended meanwhile
                    await self._desk.untyped(item)
                    return Postponed(0.0)
                if agent.unread_bytes(facts) > 0:  # keys that came since the look, or nobody reads
                    await self._desk.untyped(item)
                    return Postponed(0.01)
                await self._news()  # what is told before the paste says nothing of it
                sent_at = agent.clock()
                item.front, item.elsewhere, item.alone, item.theirs = agent.front, False, False, ""
                item.shown_before = agent.echoes(item.typed, SHOWN_CHARS)
                prompt = write_prompt(agent.prompt.known, facts.pid)
                ran = await self._injector.paste(
                    facts,
                    item.typed,
                    item.token,
                    enter=line_driver,
                    at_cursor=view.at_prompt,
                    prompt=prompt if prompt != facts.nova_prompt else "",
                )
        except TmuxUnavailable:
            return Postponed(0.0)  # whether it ran is not known: `recover` asks the marker
        finally:
            item.pasting = False
        if not ran:
            item.refusals += 1
            await self._desk.untyped(item)
            return Postponed(0.01 if item.refusals < 10 else 0.5)
        item.refusals = 0
        if line_driver is not None:
            if view.spot is not None:
                agent.prompt.typed_at(line_driver, view.spot, item.typed)
            return await self._prove_line(item)
        await self._desk.tell(item, State.TYPED)
        return await self._bring_home(item, steps.Progress(pasted_at=sent_at, losses=item.losses))

    async def _prove_line(self, item: Item) -> Outcome:
        """Wait until the program has read everything: its proof (DELIVERY 4.3)."""
        failpoint("proof.before")
        async for finding in self._prover.follow(self.agent, item.pane, len(item.typed.encode()) + 1):
            if finding.verdict is not None:
                return Verdict(finding.verdict, finding.reason)
            if self.stopping:
                break
            await self._desk.tell(item, State.TYPED, finding.reason)
        return Postponed(0.0)

    async def _bring_home(self, item: Item, progress: steps.Progress) -> Outcome:
        """Follow a pasted message to its verdict, step by step."""
        agent, rules = self.agent, steps.rules_of(self.agent.driver)
        waiting_since = agent.clock()
        while True:
            agent.wake.clear()
            look = await self._glance(item, progress)
            if look is None:
                progress = replace(progress, calm=False, spaced_at=None)
                await pause(agent, 0.2)
                continue
            progress, step = steps.next_step(rules, progress, look, agent.clock())
            match step:
                case steps.Done(state, reason):
                    if look.here and state is State.SUBMITTED and not agent.hooked:
                        self.taken(item)  # an acknowledged one is noted by the worker
                    return Verdict(state, reason or (item.beside if state is State.ACKNOWLEDGED else ""))
                case steps.Again() as again:
                    return await self._again(item, again)
                case steps.Enter():
                    after = await self._enter(item, progress)
                    if after is None:  # whether it was pressed is not known: `recover` asks the marker
                        return Postponed(0.1)
                    progress, waiting_since = after, agent.clock()
                case steps.Space() | steps.TakeBack() | Probe() | Erase():
                    progress, waiting_since = await self._touch(item, progress, look, step), agent.clock()
                case steps.Wait(seconds, why):
                    if self.stopping and why:  # that may last; the node ends this after a grace anyway
                        return Postponed(0.0)
                    if why and agent.clock() - waiting_since > TELL_S:
                        await self._desk.tell(item, State.TYPED, why)
                    await pause(agent, seconds)

    async def _glance(self, item: Item, progress: steps.Progress) -> steps.Look | None:
        """Look at the pane of a pasted message; None while tmux does not answer."""
        agent = self.agent
        try:
            view = await agent.view(self._link.client)
        except TmuxNotAnswering:
            self._link.answered(well=False)
            return None
        except TmuxUnavailable:
            if self._server_alive(item.pane):
                return None
            view = AgentView(driver=agent.driver, facts=None)
        sight, facts = view.sight, view.facts
        same = facts is not None and agent.pane_key == item.pane
        same = same and (item.front is None or item.front.is_same(agent.front))
        mixed = sight is not None and is_mixed(agent.driver, sight, item.typed)
        if progress.missing:
            await self._news()
        told, queued = item.overheard()
        seen = steps.Look(
            here=sight is not None
            and (landed(agent.driver, sight, item.typed) or (mixed and not progress.enters)),
            mixed=mixed,
            composer=sight.composer if sight is not None else None,
            dialog=view.asking or (sight is not None and sight.dialog is not None),
            unread_bytes=view.unread_bytes,
            running=same and view.present,
            reading=facts is not None and (facts.in_mode or facts.input_off),
            acknowledged=item.acknowledged,
            hooked=bool(agent.hooked),
            busy=sight is not None and sight.busy,
            pending=sight is not None and sight.pending,
            echoed=item.echoes is not None and agent.echoes(item.typed) > item.echoes,
            column=facts.cursor_x if facts is not None else None,
            tells=agent.told_prompt and bool(agent.hooked),
            elsewhere=item.elsewhere or agent.echoes(item.typed, SHOWN_CHARS) > item.shown_before,
            idle=sight is not None and not (sight.busy or sight.pending or agent.working),
            back=self._back(item) if mixed else None,
            alone=item.alone,
            told=told,
            queued=queued,
            piece=progress.missing and sight is not None and has_piece(sight.composer or "", item.typed),
            undrawn=agent.their_keys.undrawn(agent.clock()),
        )
        agent.mixed = mixed and not progress.enters
        if item.acknowledged and steps.untouched(progress, seen):
            if not (mixed and item.beside):  # else both went in together, and are not drawn away yet
                await self._desk.unproven(item)  # somebody else's prompt of the same words
            seen = replace(seen, acknowledged=False)
        return seen

    async def _enter(self, item: Item, progress: steps.Progress) -> steps.Progress | None:
        """Press Enter; return the progress, None when it is not known whether tmux ran it."""
        agent = self.agent
        sight, facts = agent.sight, agent.facts
        assert sight is not None
        assert facts is not None
        if agent.hands.locked():
            await pause(agent, HANDS_S)
            return replace(progress, calm=False, spaced_at=None)
        text = guard_text(sight, item.typed)
        item.echoes = agent.echoes(item.typed)
        try:
            async with agent.hands:
                if agent.unread_bytes(facts) > 0:  # keys that came since the look: not ours
                    return replace(progress, calm=False, spaced_at=None)
                ran = await self._injector.enter(facts, agent.driver, item.token, text, self._absent())
        except TmuxUnavailable:
            return None
        if ran:
            failpoint("proof.before")
            return steps.entered(progress, agent.clock(), busy=sight.busy)
        if agent.clock() - progress.pasted_at > agent.driver.enter_window_s:
            await pause(agent, 0.05)
        return replace(progress, calm=False, spaced_at=None)

    def _back(self, item: Item) -> Back | None:
        """Return how the text is taken out from beside somebody else's; keys go to all of synchronised panes."""
        sight, facts = self.agent.sight, self.agent.facts
        if sight is None or facts is None or facts.synchronized or item.backs >= MAX_TAKEN:
            return None
        return plan(self.agent.driver, sight, item.typed, facts.cursor_x)

    async def _take_back(self, item: Item, progress: steps.Progress, back: Back) -> steps.Progress:
        """Take the text back; return the progress, the same one when the keys were surely not pressed."""
        sent_at, item.theirs = self.agent.clock(), back.theirs
        failpoint("back.before")
        ran = await self._pressed(back.keys, at_cursor=True)
        failpoint("back.after")
        return progress if ran is False else replace(progress, taking=Taking(back, sent_at))

    async def _again(self, item: Item, again: steps.Again) -> Outcome:
        """Give it back to be typed anew, unless what the agent has written down says where it went."""
        if again.lost or again.taken:
            await self._news()
            if item.acknowledged or item.elsewhere:
                return Postponed(0.0)  # `recover` finds out the rest
            item.losses, item.backs = item.losses + again.lost, item.backs + again.taken
            await self._desk.tell(item, State.TYPED, LOST if again.lost else TAKEN)
        item.attempt += 1
        await self._desk.untyped(item)
        if again.lost:
            failpoint("lost.after")
        if again.taken:
            failpoint("back.written")
        return Postponed(0.0)

    async def _touch(
        self,
        item: Item,
        progress: steps.Progress,
        look: steps.Look,
        step: steps.Space | steps.TakeBack | Probe | Erase,
    ) -> steps.Progress:
        """Press a key that starts nothing; return the progress, the same one when it was not pressed."""
        match step:
            case steps.Space():
                sent_at = await self._key("Space")
                return progress if sent_at is None else steps.spaced(progress, sent_at)
            case steps.TakeBack(back):
                return await self._take_back(item, progress, back)
            case Probe():
                sent_at = await self._key("Space", at_cursor=True)
                return progress if sent_at is None else steps.probed(progress, look, sent_at)
            case Erase():
                sent_at = await self._key("BSpace", at_cursor=True)
                failpoint("lost.before")
                return progress if sent_at is None else steps.erased(progress, sent_at)

    async def _key(self, key: str, *, at_cursor: bool = False) -> float | None:
        """Press a harmless key; return when it was sent, None when it was not or nobody knows."""
        sent_at = self.agent.clock()
        return sent_at if await self._pressed(key, at_cursor=at_cursor) else None

    async def _pressed(self, keys: str, *, at_cursor: bool) -> bool | None:
        """Press harmless keys, in one write; None when nobody knows whether they were. If not, wait a moment."""
        agent, ran = self.agent, False
        assert agent.facts is not None
        if not agent.hands.locked():
            try:
                async with agent.hands:
                    if agent.unread_bytes(agent.facts) == 0:  # else keys came since the look
                        ran = await self._injector.keys(
                            agent.facts, keys, self._absent(), at_cursor=at_cursor
                        )
            except TmuxUnavailable:
                return None
        if not ran:
            await pause(agent, HANDS_S)
        return ran

    def _absent(self) -> tuple[str, ...]:
        """Return the dialog's marks that the screen does not show now: none may appear before an Enter runs."""
        sight = self.agent.sight
        return sight.absent_marks if sight is not None else ()

    async def recover(self, item: Item) -> Outcome:
        """Find out from the pane whether a paste ran, and go on from there (DELIVERY 2.3)."""
        with self._typing():
            return await self._recover(item)

    async def _recover(self, item: Item) -> Outcome:
        agent = self.agent
        item.typed = item.typed or dress(agent.driver, item.message)
        if item.acknowledged:
            return Verdict(State.ACKNOWLEDGED, item.beside)
        try:
            view = await agent.view(self._link.client)
        except TmuxUnavailable:
            if self._server_alive(item.pane):
                return Postponed(0.5)
            view = AgentView(driver=agent.driver, facts=None)
        facts = view.facts
        if facts is None or agent.pane_key != item.pane:
            return Verdict(State.UNCONFIRMED, "its pane went away while it was being typed")
        now = agent.clock()
        progress = steps.Progress(pasted_at=now, calm=False, resumed=True)
        if facts.nova_last == item.token + ENTERED:
            if agent.driver.kind == "line":
                return await self._prove_line(item)
            progress = replace(progress, enters=1, entered_at=now)
        elif facts.nova_last != item.token:
            await self._desk.untyped(item)
            return Postponed(0.0)
        return await self._bring_home(item, progress)

    def taken(self, item: Item) -> None:
        """Note that the agent has surely taken this text: what comes back of it may be cleared."""
        if self.agent.driver.kind != "line":
            self.left = (*self.left, Left(typed=item.typed, at=self.agent.clock()))

    async def tidy(self, view: AgentView) -> float:
        """Take away what is left of the last taken text; return how long nothing may be typed, 0 for not at all."""
        agent, now = self.agent, self.agent.clock()
        self.left = which(self.left, view, now)
        if not self.left:
            return 0.0
        *others, left = self.left
        step = tidy(left, view, now)
        if isinstance(step, Later):
            return step.seconds
        if isinstance(step, Keep):
            return 0.0
        if isinstance(step, Forget) or view.facts is None or view.sight is None:
            self.left = tuple(others)
            return 0.0
        if agent.hands.locked():
            return HANDS_S
        try:
            async with agent.hands:
                await self._injector.keys(view.facts, agent.driver.clear_keys, view.sight.absent_marks)
        except TmuxUnavailable:
            return 0.5
        self.left = (*others, replace(left, keys=left.keys + 1))
        return LOOK_S


async def pause(agent: Agent, seconds: float) -> None:
    """Wait, but no longer than until somebody has news of the agent."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await agent.wake.wait()
