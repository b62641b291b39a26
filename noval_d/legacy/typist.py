"""Type one message into a pane without a daemon, and follow it to a verdict. What to do is decided elsewhere.

Deciding are the same pure parts as in the daemon: `gate`, `template`, `sight`, `steps`. A lock on the pane's own
terminal keeps two of these from typing at once; nothing is left behind when one of them is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nova_torch.errors import PaneNotFound, TmuxUnavailable
from nova_torch.values import HoldReason, Message, PaneId, State
from noval_d.agents.driver import Driver
from noval_d.agents.sight import echoes, guard_text, is_typed_behind, look
from noval_d.delivery import steps
from noval_d.delivery.gate import Hold, Refuse, decide
from noval_d.delivery.template import dress
from noval_d.legacy.choose import Way
from noval_d.legacy.seen import Eyes, Seen, asks, glance, unread_bytes
from noval_d.legacy.tmux import PlainTmux
from noval_d.tmux import tty
from noval_d.tmux.panes import PaneFacts

READ_S = 0.3  # how long a program may take to read what was typed until that is told
SCREEN_SETTLE_S = 0.3  # Codex, Gemini and Claude join an Enter to a paste for 80-200 ms (DELIVERY 3.2)
FOLLOW_S = 15.0  # how long a text in an input box is followed to its proof
ASKING_S = 2.0  # the same, while a dialog is open that came behind our Enter: a person has to answer it
READ_LOOK_S = 0.002
BESIDE = "somebody else has typed into the same line"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a message; `state` is submitted, typed (no proof was to be had), unconfirmed or failed."""

    state: State
    reason: str = ""


class PlainTypist:
    """Types into one pane, once."""

    def __init__(
        self,
        tmux: PlainTmux,
        drivers: Mapping[str, Driver],
        *,
        hold_s: float,
        registered: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tmux = tmux
        self._hold_s = hold_s
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._eyes = Eyes(tmux, drivers, clock, registered=registered)

    def __repr__(self) -> str:
        return f"<PlainTypist {self._tmux!r}>"

    def type(self, pane: PaneId, message: Message) -> Verdict:
        """Type `message` as soon as nothing is in the way, and follow it. Raises PaneNotFound, TmuxUnavailable."""
        until = self._clock() + self._hold_s
        first = self._tmux.look(pane).facts
        if first.dead:
            return Verdict(State.FAILED, "the program in its pane has ended")
        with self._alone(first, until) as alone:
            if not alone:
                return Verdict(State.FAILED, "another message is being typed there")
            return self._type(pane, message, until)

    def put(self, pane: PaneId, message: Message, keys: str = "") -> Verdict:
        """Type the body without Enter, or press one key, `keys`, whatever stands in the line already."""
        until = self._clock() + self._hold_s
        while True:
            seen = self._look(pane)
            hold = self._hindrance(seen, message)
            if isinstance(hold, Refuse):
                return Verdict(hold.state, hold.reason)
            if hold is None or hold.reason is HoldReason.DRAFT:
                if keys:
                    ran = self._tmux.press(seen.facts, keys, now=self._wall())
                else:
                    ran = self._tmux.paste(seen.facts, message.body, now=self._wall())
                if ran:
                    return Verdict(State.TYPED)
            elif hold.reason is HoldReason.NO_AGENT or self._clock() >= until:
                return Verdict(State.FAILED, hold.detail)
            self._sleep(0.05)

    def _type(self, pane: PaneId, message: Message, until: float) -> Verdict:
        while True:
            seen = self._look(pane)
            hold = self._hindrance(seen, message)
            if isinstance(hold, Refuse):
                return Verdict(hold.state, hold.reason)
            early = self._clock() < until
            if hold is None and not (seen.perhaps and early):
                verdict = self._typed(
                    seen, message, at_cursor=seen.view.at_prompt or (early and seen.buffers)
                )
                if verdict is not None:
                    return verdict
                if not early:
                    return Verdict(State.FAILED, "it does not stand still long enough to be typed into")
            elif hold is not None and (hold.reason is HoldReason.NO_AGENT or not early):
                shown = f": {hold.shown}" if hold.shown else ""
                return Verdict(State.FAILED, hold.detail + shown)
            self._sleep(0.05)

    def _typed(self, seen: Seen, message: Message, *, at_cursor: bool) -> Verdict | None:
        """Paste and go on as the pane wants it; None when tmux refused, so that nothing was typed.

        With `at_cursor` tmux refuses, too, when the cursor is not where it was seen.
        """
        text, way = dress(seen.choice.driver, message), seen.choice.way
        if way is not Way.AGENT:
            text = message.body
        enter = seen.choice.driver if way is Way.LINE else None
        pasted_at = self._clock()
        if text or enter is not None:
            try:
                ran = self._tmux.paste(seen.facts, text, now=self._wall(), enter=enter, at_cursor=at_cursor)
            except TmuxUnavailable as error:
                return Verdict(State.UNCONFIRMED, f"tmux did not say whether it was typed ({error.message})")
            if not ran:
                return None
        match way:
            case Way.LINE:
                return self._read(seen)
            case Way.SCREEN:
                return self._enter_later(seen, text, pasted_at)
            case Way.AGENT:
                return self._bring_home(seen, text, steps.Progress(pasted_at=pasted_at))

    def _hindrance(self, seen: Seen, message: Message) -> Hold | Refuse | None:
        """Return why it must not be typed now, or ever."""
        choice, view = seen.choice, seen.view
        if choice.absent:
            return Hold(HoldReason.NO_AGENT, choice.absent)
        if choice.way is Way.AGENT and not message.body.strip():
            return Refuse(State.FAILED, "an empty message would only press Enter in the agent")
        decision = decide(message, view, int(self._wall() * 1000))
        if isinstance(decision, Hold | Refuse):
            return decision
        if choice.way is Way.SCREEN and (asked := asks(choice.driver, seen.screen)):
            return Hold(HoldReason.DIALOG, "a dialog is open", 0.1, asked)
        return None

    # -- a line, or a screen that nobody has described --

    def _read(self, seen: Seen) -> Verdict:
        """Wait until the program has read everything: its proof, where it can be had."""
        until = self._clock() + READ_S
        empty = 0
        while True:
            unread = unread_bytes(seen.facts)
            empty = empty + 1 if unread == 0 and tty.in_front(seen.facts.pid) else 0
            if empty >= 2:
                return Verdict(State.SUBMITTED)
            if self._clock() >= until:
                return Verdict(State.TYPED, "the program there has not read it yet")
            self._sleep(READ_LOOK_S)

    def _enter_later(self, seen: Seen, text: str, pasted_at: float) -> Verdict:
        """Press Enter when the paste has been read and settled, no dialog is open, and nothing came behind it."""
        why = "a dialog or copy mode was in the way"
        while self._clock() < pasted_at + FOLLOW_S:
            if unread_bytes(seen.facts) or self._clock() < pasted_at + SCREEN_SETTLE_S:
                if unread_bytes(seen.facts) and self._clock() > pasted_at + 2 * READ_S:
                    return Verdict(
                        State.UNCONFIRMED, "typed without Enter: the program there does not read it"
                    )
                self._sleep(READ_LOOK_S * 5)
                continue
            now = self._look(seen.facts.pane_id)
            if now.facts.pid != seen.facts.pid or now.facts.command != seen.facts.command:
                return Verdict(State.UNCONFIRMED, "typed without Enter: another program is in front now")
            behind = is_typed_behind(now.screen, text)
            if behind or now.facts.in_mode or asks(seen.choice.driver, now.screen):
                why = BESIDE if behind else why
                self._sleep(0.05)
                continue
            absent = look(seen.choice.driver, now.screen).absent_marks
            if self._tmux.enter(now.facts, seen.choice.driver, now=self._wall(), text=None, absent=absent):
                return self._read(now)
            self._sleep(0.02)
        return Verdict(State.UNCONFIRMED, f"typed without Enter: {why}")

    # -- an agent --

    def _bring_home(self, seen: Seen, text: str, progress: steps.Progress) -> Verdict | None:
        """Follow a pasted message to its verdict, step by step; None: nothing of it is left, type it anew."""
        driver, why, before = seen.choice.driver, "", 0
        rules, until = steps.rules_of(driver), self._clock() + FOLLOW_S
        asking_since: float | None = None
        while True:
            now = self._look(seen.facts.pane_id)
            shown = echoes(driver, now.screen, text)
            shows = glance(seen, now, text, entered=progress.enters > 0, echoed=shown > before)
            sight = now.view.sight
            progress, step = steps.next_step(rules, progress, shows, self._clock())
            match step:
                case steps.Done(state, reason):
                    return Verdict(state, reason)
                case steps.Again():
                    return None
                case steps.Enter() if sight is not None:
                    before = shown
                    wanted = guard_text(sight, text)
                    absent, wall = sight.absent_marks, self._wall()
                    if self._tmux.enter(now.facts, driver, now=wall, text=wanted, absent=absent):
                        progress = steps.entered(progress, self._clock(), busy=sight.busy)
                    else:
                        progress = replace(progress, calm=False, spaced_at=None)
                case steps.Space() if sight is not None:
                    sent_at = self._clock()
                    if self._tmux.press(now.facts, "Space", now=self._wall(), absent=sight.absent_marks):
                        progress = steps.spaced(progress, sent_at)
                case steps.Wait(seconds, reason):
                    why = BESIDE if reason == steps.MIXED else reason
                    self._sleep(seconds)
                case _:
                    self._sleep(steps.LOOK_S)
            asking = progress.enters > 0 and shows.dialog
            asking_since = (asking_since or self._clock()) if asking else None
            if self._clock() >= (until if asking_since is None else asking_since + ASKING_S):
                told = (
                    "is in its input box without an Enter"
                    if not progress.enters
                    else "was typed, without proof"
                )
                return Verdict(State.UNCONFIRMED, f"the text {told}{f' ({why})' if why else ''}")

    # -- parts --

    def _look(self, pane: PaneId) -> Seen:
        return self._eyes.look(pane)

    @contextlib.contextmanager
    def _alone(self, facts: PaneFacts, until: float) -> Iterator[bool]:
        """Hold the pane's terminal for ourselves among the likes of us; False when it could not be had in time."""
        try:
            descriptor = os.open(facts.tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise PaneNotFound(f"cannot open the pane's terminal {facts.tty}: {error.strerror}.") from error
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._clock() >= until:
                        yield False
                        return
                    self._sleep(0.01)
            yield True
        finally:
            os.close(descriptor)
