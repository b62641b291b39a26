"""List the windows of a tmux server and read what they show, for `tmux_utils.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nova_torch.errors import PaneNotFound
from noval_d.legacy.asking import Asker, Refused
from noval_d.tmux.targets import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window of a session."""

    session: str
    index: int
    name: str
    active: bool
    attached: bool
    panes: int


def windows(tmux: Asker) -> list[Window]:
    """Return every window, by session and index. Raises TmuxUnavailable."""
    return grouped(tmux.places())


def grouped(places: Iterable[Place]) -> list[Window]:
    """Return the windows that these panes make up. Pure."""
    found: dict[tuple[str, int], list[Place]] = {}
    for place in places:
        found.setdefault((place.session, place.window_index), []).append(place)
    return [
        Window(
            session=session,
            index=index,
            name=panes[0].window_name,
            active=panes[0].window_active,
            attached=panes[0].attached > 0,
            panes=len(panes),
        )
        for (session, index), panes in found.items()
    ]


def capture(tmux: Asker, session: str, index: int, lines: int) -> str:
    """Return the last `lines` lines of a window's active pane, no blank ones at the end. Raises PaneNotFound."""
    pane = _pane(tmux, session, index)
    if lines <= 0:
        return ""
    try:
        shown = tmux.run("capture-pane", "-p", "-S", f"-{lines}", "-t", pane)
    except Refused as error:
        raise PaneNotFound(
            f"{session}:{index} cannot be read: {error.message}", "Is it still there?"
        ) from None
    return last(shown.decode("utf-8", "replace"), lines)


def last(shown: str, lines: int) -> str:
    """Return the last `lines` lines down to the last one that is not blank. Pure."""
    rows = [row.rstrip() for row in shown.split("\n")]
    while rows and not rows[-1]:
        rows.pop()
    return "\n".join(rows[-lines:])


def layout_of(tmux: Asker, session: str, index: int) -> str:
    """Return a window's layout, as tmux writes it. Raises PaneNotFound."""
    pane = _pane(tmux, session, index)
    return (
        tmux.run("display-message", "-p", "-t", pane, "#{window_layout}").decode("utf-8", "replace").strip()
    )


def _pane(tmux: Asker, session: str, index: int) -> str:
    for place in tmux.places():
        if (place.session, str(place.window_index)) == (session, str(index)) and place.pane_active:
            return place.pane_id
    raise PaneNotFound(f"there is no window {session}:{index}.", "List them: tmux list-windows -a")
