"""Ask a tmux server with one short-lived client a command line. It is never started, and little is imported."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from nova_torch.errors import PaneNotFound, TmuxNotAnswering, TmuxUnavailable
from nova_torch.words import PaneId
from noval_d.tmux.server import TmuxSocket, find_socket
from noval_d.tmux.targets import PLACE_FORMAT, Place, parse_places

LIMIT_S = 5.0
HIDDEN = "_nova-"  # sessions of the daemon's own
_ACTIVE = (
    "#{?#{&&:#{window_active},#{pane_active}},"
    "#{session_activity} #{s/[^0-9]//:session_id} #{pane_id} #{session_name},}"
)


def server_of(environment: Mapping[str, str]) -> TmuxSocket:
    """Return the server that a plain `tmux` would talk to here, unless NOVA_TMUX names another one."""
    named = environment.get("NOVA_TMUX", "")
    inside = environment.get("TMUX", "").rsplit(",", 2)[0]
    return TmuxSocket(path=inside) if inside and not named else find_socket(named)


def _same_file(one: str, other: str) -> bool:
    try:
        return bool(one) and os.path.realpath(one) == os.path.realpath(other)
    except OSError:  # one is relative, and the working directory is gone
        return False


class Refused(TmuxUnavailable):
    """tmux ran the command line and refused it; the message is what it said."""


class Asker:
    """One tmux server, asked by processes of a few milliseconds."""

    def __init__(self, socket: TmuxSocket, environment: Mapping[str, str]) -> None:
        self.socket = socket
        self._environment = dict(environment)
        inside = environment.get("TMUX", "").rsplit(",", 2)[0]
        if not _same_file(inside, socket.path):  # the pane of another server says nothing
            self._environment.pop("TMUX", None)
            self._environment.pop("TMUX_PANE", None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.socket.path}>"

    def run(self, *words: str, stdin: bytes | None = None) -> bytes:
        """Run one tmux command line. Raises Refused, TmuxUnavailable, TmuxNotAnswering."""
        try:
            done = subprocess.run(
                self.socket.argv(*words),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env=self._environment,
                timeout=LIMIT_S,
                check=False,
            )
        except FileNotFoundError:
            raise TmuxUnavailable(
                "cannot run tmux: it is not on PATH.", "Install tmux 3.2 or later."
            ) from None
        except subprocess.TimeoutExpired:
            raise TmuxNotAnswering(
                f"the tmux server at {self.socket.path} did not answer within {LIMIT_S:g} s.",
                "Is it stopped or under heavy load? See: ps -o pid,stat,args -C tmux",
            ) from None
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode("utf-8", "replace").strip()
        if said.startswith(("no server", "error connecting", "server exited", "lost server")):
            raise self.socket.unavailable(said)
        raise Refused(f"tmux refused {words[0]}: {said}.")

    def places(self) -> tuple[Place, ...]:
        """Return where every pane is to be found and what it is marked with, hidden sessions left out."""
        found = parse_places(self.run("list-panes", "-a", "-F", PLACE_FORMAT).removesuffix(b"\n"))
        return tuple(place for place in found if not place.session.startswith(HIDDEN))

    def current(self) -> PaneId:
        """Return the pane that tmux takes for a target that is not named, with hidden sessions left out."""
        told = self.run("display-message", "-p", "-t", "", "#{pane_id} #{session_name}").decode().split()
        if len(told) != 2 or not told[1].startswith(HIDDEN):
            return PaneId(told[0] if told else "")
        # outside tmux that is the session that was used last, and the daemon uses its own one all the time;
        # tmux says the second only: of one second's the youngest
        shown = self.run("list-panes", "-a", "-F", _ACTIVE).decode().splitlines()
        rows = [row.split(" ", 3) for row in shown if row]
        used = [(int(at), int(age), pane) for at, age, pane, name in rows if not name.startswith(HIDDEN)]
        return PaneId(max(used)[2] if used else told[0])


def gone(pane_id: str) -> PaneNotFound:
    """Return the error for a pane that is not there (any more)."""
    return PaneNotFound(f"there is no pane {pane_id}.", "List them: tmux list-panes -a")
