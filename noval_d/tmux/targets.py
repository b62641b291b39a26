"""Find the pane that a person means by `session:window[.pane]`. Pure.

tmux itself guesses: a target that is missing silently becomes another one. Here a name means one thing or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.errors import PaneNotFound
from nova_torch.nearest import suggestion
from nova_torch.words import PaneId
from noval_d.tmux.fields import Reader, changing, text, word

PLACE_FORMAT = (
    "".join(map(word, ("pane_id", "pane_pid", "pane_index", "pane_active", "pane_dead")))
    + "".join(map(word, ("window_index", "window_active", "session_attached")))
    + "".join(map(text, ("session_name", "window_name", "pane_title", "@nova_agent", "@nova_node")))
    + changing("pane_current_command")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pane is to be found by people."""

    pane_id: PaneId
    pid: int
    pane_index: int
    pane_active: bool
    dead: bool
    window_index: int
    window_active: bool
    attached: int
    session: str
    window_name: str
    title: str
    command: str
    agent: str = ""
    """The agent that the pane is marked for, and its node; empty for neither."""
    node: str = ""

    @property
    def name(self) -> str:
        """The target that means this pane and no other."""
        return f"{self.session}:{self.window_index}.{self.pane_index}"


def parse_places(data: bytes) -> tuple[Place, ...]:
    """Read panes printed with PLACE_FORMAT, with a line feed between them. Raises BadFacts."""
    reader = Reader(data)
    places: list[Place] = []
    while not reader.done:
        if places:
            reader.literal(b"\n")
        # The arguments are evaluated as they stand, which is the order of PLACE_FORMAT.
        places.append(
            Place(
                pane_id=PaneId(reader.word()),
                pid=reader.number(),
                pane_index=reader.number(),
                pane_active=bool(reader.number()),
                dead=bool(reader.number()),
                window_index=reader.number(),
                window_active=bool(reader.number()),
                attached=reader.number(),
                session=reader.text(),
                window_name=reader.text(),
                title=reader.text(),
                agent=reader.text(),
                node=reader.text(),
                command=reader.changing(),
            )
        )
    return tuple(places)


def resolve(places: Sequence[Place], target: str) -> PaneId:
    """Return the pane that `target` means: `session:window[.pane]`, `session:`, or a pane's `%id`.

    A session is named in full or by the beginning of its name if only one begins so; a window by its index or
    its full name; without a pane it is the window's active one, without a window the session's current one.
    Raises PaneNotFound, with the nearest names.
    """
    if target.startswith("%"):
        if any(place.pane_id == target for place in places):
            return PaneId(target)
        raise PaneNotFound(f"there is no pane {target}.", "List them: tmux list-panes -a")
    session, _, rest = target.partition(":")
    in_session = _session(places, session, target)
    window, pane = _window(in_session, rest, target)
    if pane is None:
        return next(place.pane_id for place in window if place.pane_active)
    for place in window:
        if str(place.pane_index) == pane or place.pane_id == pane:
            return place.pane_id
    known = ", ".join(place.name for place in window)
    raise PaneNotFound(f"there is no pane {target}.", f"That window has {known}.")


def _session(places: Sequence[Place], name: str, target: str) -> list[Place]:
    names = {place.session for place in places}
    if name not in names:
        longer = sorted(known for known in names if name and known.startswith(name))
        if len(longer) > 1:
            raise PaneNotFound(
                f"{target}: several sessions begin with {name}.", f"One of {', '.join(longer)}?"
            )
        if not longer:
            cure = suggestion(name, names, otherwise="List them: tmux list-sessions")
            raise PaneNotFound(f"{target}: there is no session {name}.", cure)
        name = longer[0]
    return [place for place in places if place.session == name]


def _window(places: list[Place], rest: str, target: str) -> tuple[list[Place], str | None]:
    """Return the panes of the window that `rest` names, and the name of the pane if it has one."""
    if not rest:
        return [place for place in places if place.window_active], None
    head, dot, tail = rest.rpartition(".")  # a window's name may hold dots: the whole is tried first
    for window, pane in ((rest, None), (head, tail)) if dot else ((rest, None),):
        found = [place for place in places if str(place.window_index) == window]
        found = found or [place for place in places if place.window_name == window]
        indexes = {place.window_index for place in found}
        if len(indexes) > 1:
            which = ", ".join(f"{place.session}:{place.window_index}" for place in found if place.pane_active)
            raise PaneNotFound(f"{target}: several windows are called {window}.", f"One of {which}?")
        if found:
            return found, pane
    names = {place.window_name for place in places} | {str(place.window_index) for place in places}
    cure = suggestion(rest, names, otherwise=f"That session has {', '.join(sorted(names))}.")
    raise PaneNotFound(f"{target}: there is no window {rest}.", cure)
