"""See and type with one short-lived tmux client a command line, for where no daemon does it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from nova_torch.values import PaneId
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import is_interpreter
from noval_d.delivery.lines import all_of, cursor_as_seen, enter_key, guard
from noval_d.legacy.asking import Asker, Refused, gone
from noval_d.tmux.clock import CLOCK, in_time
from noval_d.tmux.panes import PANE_FORMAT, Observation, PaneFacts, parse_pane
from noval_d.tmux.quoting import quote
from noval_d.tmux.screen import parse_screen

LATE_S = 0.1  # an Enter that tmux gets to later than this (rounded up to its whole seconds) is refused
WITH_CLOCK = ("set-option", "-g", CLOCK, "%s", ";")


class PlainTmux(Asker):
    """One tmux server, seen and typed into by processes of a few milliseconds."""

    def look(self, pane_id: PaneId) -> Observation:
        """Return the pane's facts and its visible screen, of one moment. Raises PaneNotFound."""
        apart = f"nova-{secrets.token_hex(8)}"
        try:
            said = self.run(
                "display-message", "-p", "-t", pane_id, PANE_FORMAT, ";", "display-message", "-p", apart, ";",
                "capture-pane", "-p", "-e", "-N", "-t", pane_id,
            )  # fmt: skip
        except Refused:
            raise gone(pane_id) from None
        first, _, shown = said.partition(f"\n{apart}\n".encode())
        facts = parse_pane(first)
        if facts.pane_id != pane_id:  # display-message of a missing pane may answer for another one
            raise gone(pane_id)
        screen = parse_screen(
            shown.removesuffix(b"\n").split(b"\n"),
            cursor_x=facts.cursor_x,
            cursor_y=facts.cursor_y,
            cursor_visible=facts.cursor_visible,
            title=facts.title,
            command=facts.command,
        )
        return Observation(facts=facts, screen=screen)

    def paste(
        self, pane: PaneFacts, text: str, *, now: float, enter: Driver | None = None, at_cursor: bool = False
    ) -> bool:
        """Paste `text`, with `enter` its Enter too, if it is still the pane that was looked at: all or nothing.

        With `at_cursor` only while the cursor stands where it was seen.
        """
        buffer = f"nova-legacy-{os.getpid()}-{secrets.token_hex(4)}"
        inner = [f"paste-buffer -p -r -d -b {buffer} -t {pane.pane_id}"] if text else []
        if enter is not None:
            inner.append(enter_key(enter, pane))
        load = ("load-buffer", "-b", buffer, "-", ";") if text else ()
        conditions = [guard(pane), *([cursor_as_seen(pane)] if at_cursor else [])]
        if is_interpreter(pane.command):  # the guard sees its name only: what was looked at must be fresh
            conditions.append(in_time(int(now + LATE_S)))
        otherwise = [f"delete-buffer -b {buffer}"] if text else []
        words = (*load, *_if(pane, conditions, inner, otherwise))
        return b"OK" in self.run(*WITH_CLOCK, *words, stdin=text.encode() if text else None).split()

    def enter(
        self, pane: PaneFacts, driver: Driver, *, now: float, text: str | None, absent: Sequence[str]
    ) -> bool:
        """Press Enter if `text` is on the screen, none of `absent` is, the cursor stands still, and in time."""
        conditions = [guard(pane), in_time(int(now + LATE_S)), cursor_as_seen(pane)]
        conditions += [f"#{{C:{text}}}"] if text else []
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        return b"OK" in self.run(*WITH_CLOCK, *_if(pane, conditions, [enter_key(driver, pane)], [])).split()

    def press(self, pane: PaneFacts, keys: str, *, now: float, absent: Sequence[str] = ()) -> bool:
        """Press one key by tmux's name, guarded like Enter."""
        conditions = [guard(pane), in_time(int(now + LATE_S))]
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        pressed = [f"send-keys -t {pane.pane_id} {quote(keys)}"]
        return b"OK" in self.run(*WITH_CLOCK, *_if(pane, conditions, pressed, [])).split()


def _if(
    pane: PaneFacts, conditions: Sequence[str], then: Sequence[str], otherwise: Sequence[str]
) -> tuple[str, ...]:
    """Return the words of a command that runs `then` and says OK, or `otherwise` and says NO."""
    branches = (
        " ; ".join([*then, "display-message -p OK"]),
        " ; ".join([*otherwise, "display-message -p NO"]),
    )
    return ("if-shell", "-F", "-t", pane.pane_id, all_of(conditions), *branches)
