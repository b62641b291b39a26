"""Look at a pane without a daemon: facts, screen, terminal and process of one moment, made into a view."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nova_torch.errors import PaneNotFound
from nova_torch.values import PaneId
from noval_d.agents.driver import Driver
from noval_d.agents.prompt import (
    Prompt,
    Spot,
    is_line,
    is_prompt,
    perhaps_typed,
    read_prompt,
    spot_of,
    unlearned,
)
from noval_d.agents.recognition import described
from noval_d.agents.sight import begun, is_mixed, landed, look
from noval_d.delivery import steps
from noval_d.delivery.view import AgentView
from noval_d.legacy.choose import Choice, Way, choose
from noval_d.legacy.tmux import PlainTmux
from noval_d.tmux import tty
from noval_d.tmux.front import Front, read_front
from noval_d.tmux.panes import PaneFacts
from noval_d.tmux.screen import Screen

STARTED_S = 6.0  # a prompt that is there by then has been there for long enough (DELIVERY 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pane at one moment, and how it is typed into."""

    view: AgentView
    facts: PaneFacts
    screen: Screen
    choice: Choice
    front: Front | None
    perhaps: str = ""
    """What only may be half typed: worth waiting for, and no reason not to type."""

    @property
    def buffers(self) -> bool:
        """Whether a program other than a shell reads whole lines here, and keys of somebody else are echoed."""
        return self.view.line_buffered and not self.choice.shell


class Eyes:
    """Looks at one pane again and again, and remembers since when an input box is there."""

    def __init__(
        self,
        tmux: PlainTmux,
        drivers: Mapping[str, Driver],
        clock: Callable[[], float] = time.monotonic,
        *,
        registered: bool = True,
    ) -> None:
        """`registered`: an agent's name that the pane carries counts."""
        self._tmux, self._drivers, self._clock = tmux, drivers, clock
        self._registered = registered
        self._box_since: float | None = None

    def __repr__(self) -> str:
        return f"<Eyes {self._tmux!r}>"

    def look(self, pane: PaneId) -> Seen:
        """Return what the pane is now. Raises PaneNotFound, TmuxUnavailable."""
        seen = self._tmux.look(pane)
        facts, screen = seen.facts, seen.screen
        assert screen is not None
        front = read_front(facts.pid)
        argv = front.argv if front is not None else ()
        unread, buffered, asked = _terminal(facts)
        line, spot, half, perhaps = self._drivers["line"], _spot(facts, screen, editing=not buffered), "", ""
        edits = is_line(line, screen, spot) and not asks(self._drivers["generic"], screen)
        choice = choose(
            facts,
            argv,
            self._drivers,
            line_buffered=buffered,
            edits_line=edits,
            registered=self._registered,
        )
        if choice.way is Way.LINE:
            known = Prompt(read_prompt(facts.nova_prompt, facts.pid)).behind(line, spot, self._clock())
            half = known or unlearned(screen, spot, shell=choice.shell)
            perhaps = perhaps_typed(line, spot.line) if buffered and not choice.shell else ""
        sight = look(choice.driver, screen) if choice.way is Way.AGENT and not choice.absent else None
        free = (
            not choice.agent_id and choice.way is not Way.AGENT
        )  # typing ahead of a shell is its user's right
        view = AgentView(
            driver=choice.driver if not free else self._drivers["line"],
            facts=facts,
            sight=sight,
            running=described(facts.command, argv),
            ready=self._ready(sight is not None and sight.composer is not None, choice.driver, screen, front),
            unread_bytes=0 if free else unread,
            line_buffered=buffered and choice.way is Way.LINE,
            terminal=asked or free,
            at_prompt=choice.way is Way.LINE and is_prompt(line, spot.line),
            half_typed=half,
        )
        return Seen(view=view, facts=facts, screen=screen, choice=choice, front=front, perhaps=perhaps)

    def _ready(self, box: bool, driver: Driver, screen: Screen, front: Front | None) -> bool:
        """Tell whether the agent is past its start, in which it might swallow an Enter."""
        now = self._clock()
        self._box_since = (self._box_since or now) if box else None
        if self._box_since is not None and now - self._box_since >= driver.ready_after_s:
            return True
        if box and begun(driver, screen, front.argv if front is not None else ()):
            return True
        return front is not None and _age_s(front) >= STARTED_S


def glance(before: Seen, now: Seen, text: str, *, entered: bool, echoed: bool) -> steps.Look:
    """Return what `now` tells of a text that was pasted when the pane was as `before`."""
    sight, driver = now.view.sight, before.choice.driver
    same = (now.facts.pid, now.facts.nova_agent) == (before.facts.pid, before.facts.nova_agent)
    same = same and (before.front is None or before.front.is_same(now.front))
    mixed = sight is not None and is_mixed(driver, sight, text)
    return steps.Look(
        here=sight is not None and (landed(driver, sight, text) or (mixed and not entered)),
        mixed=mixed,
        composer=sight.composer if sight is not None else None,
        dialog=sight is not None and sight.dialog is not None,
        unread_bytes=now.view.unread_bytes,
        running=same and not now.facts.dead and not now.choice.absent,
        reading=now.facts.in_mode or now.facts.input_off,
        busy=sight is not None and sight.busy,
        pending=sight is not None and sight.pending,
        echoed=entered and echoed,
    )


def asks(driver: Driver, screen: Screen) -> str:
    """Return the row of a screen's end that looks like a dialog; "" when none does."""
    rows = (row.strip() for row in screen.bottom(driver.dialog_rows).split("\n"))
    return next((row[:60] for row in rows if any(p.search(row) for p in driver.dialogs)), "")


def _spot(facts: PaneFacts, screen: Screen, *, editing: bool) -> Spot:
    return spot_of(screen, width=facts.width, history_rows=facts.history_rows, editing=editing)


def _terminal(facts: PaneFacts) -> tuple[int, bool, bool]:
    """Return the unread bytes, whether lines are buffered, and whether the terminal could be asked."""
    try:
        return tty.unread_bytes(facts.tty), tty.is_line_buffered(facts.tty), True
    except (PaneNotFound, OSError):
        return 0, False, False


def unread_bytes(facts: PaneFacts) -> int:
    """Return how many bytes wait to be read; some, when the terminal cannot be asked."""
    try:
        return tty.unread_bytes(facts.tty)
    except (PaneNotFound, OSError):
        return 1


def _age_s(front: Front) -> float:
    """Return how long a process has run; 0 when that cannot be read."""
    try:
        with open("/proc/uptime", encoding="ascii") as file:
            return float(file.read().split()[0]) - front.started / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
