"""Find the pane that a user of the original scripts means, in the forms that those took. Pure.

tmux guesses on when a name fits nothing: here a name means one pane or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nova_torch.errors import PaneNotFound
from nova_torch.words import PaneId
from noval_d.tmux.targets import Place, resolve


def find(places: Sequence[Place], target: str, current: PaneId | None) -> PaneId:
    """Return the pane that `target` means.

    `session`, `session:window[.pane]` with windows by index or full name, a unique beginning of a session's
    name, `=session` for the whole name only, `%pane`; `current` is the pane that an empty target and an empty
    session mean. Raises PaneNotFound.
    """
    if not target:
        if current is None:
            raise PaneNotFound("there is no current session.", "Name one: session:window")
        return current
    if target.startswith("%"):
        return resolve(places, target)
    session, colon, rest = target.partition(":")
    here = next((place for place in places if place.pane_id == current), None)
    if not session:
        if here is None:
            raise PaneNotFound(f"{target}: there is no current session.", "Name one: session:window")
        return resolve(_only(places, here.session), f"{here.session}:{rest}")
    if session.startswith("="):
        named = session.removeprefix("=")
        return resolve(_only(places, named), f"{named}{colon}{rest}")
    return resolve(places, target)


def _only(places: Sequence[Place], session: str) -> Sequence[Place]:
    """Return `places` so that no other session can be meant by the beginning of its name."""
    return [
        place
        if place.session == session or not place.session.startswith(session)
        else replace(place, session="")
        for place in places
    ]
