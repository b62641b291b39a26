"""Ask and tell a tmux server with one short-lived client a command line. It is never started."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence

from nova_torch.errors import PaneNotFound, TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import is_interpreter
from noval_d.delivery.lines import all_of, enter_key, guard
from noval_d.tmux.clock import CLOCK, in_time
from noval_d.tmux.panes import PANE_FORMAT, Observation, PaneFacts, parse_pane
from noval_d.tmux.quoting import quote
from noval_d.tmux.screen import parse_screen
from noval_d.tmux.server import TmuxSocket, find_socket
from noval_d.tmux.targets import PLACE_FORMAT, Place, parse_places

LIMIT_S = 5.0
LATE_S = 0.1  # an Enter that tmux gets to later than this (rounded up to its whole seconds) is refused
HIDDEN = "_nova-"  # sessions of the daemon's own
WITH_CLOCK = ("set-option", "-g", CLOCK, "%s", ";")


def server_of(environment: Mapping[str, str]) -> TmuxSocket:
    """Return the server that a plain `tmux` would talk to here, unless NOVA_TMUX names another one."""
    named = environment.get("NOVA_TMUX", "")
    inside = environment.get("TMUX", "").rsplit(",", 2)[0]
    return TmuxSocket(path=inside) if inside and not named else find_socket(named)


class Refused(TmuxUnavailable):
    """tmux ran the command line and refused it; the message is what it said."""


class PlainTmux:
    """One tmux server, asked by processes of a few milliseconds."""

    def __init__(self, socket: TmuxSocket, environment: Mapping[str, str]) -> None:
        self.socket = socket
        self._environment = dict(environment)
        inside = environment.get("TMUX", "").rsplit(",", 2)[0]
        if os.path.realpath(inside) != os.path.realpath(
            socket.path
        ):  # the pane of another server says nothing
            self._environment.pop("TMUX", None)
            self._environment.pop("TMUX_PANE", None)

    def __repr__(self) -> str:
        return f"<PlainTmux {self.socket.path}>"

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
        """Return where every pane is to be found, hidden sessions left out."""
        found = parse_places(self.run("list-panes", "-a", "-F", PLACE_FORMAT).removesuffix(b"\n"))
        return tuple(place for place in found if not place.session.startswith(HIDDEN))

    def current(self) -> PaneId:
        """Return the pane that tmux takes for a target that is not named."""
        return PaneId(self.run("display-message", "-p", "-t", "", "#{pane_id}").decode().strip())

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

    def paste(self, pane: PaneFacts, text: str, *, now: float, enter: Driver | None = None) -> bool:
        """Paste `text`, with `enter` its Enter too, if it is still the pane that was looked at: all or nothing."""
        buffer = f"nova-legacy-{os.getpid()}-{secrets.token_hex(4)}"
        inner = [f"paste-buffer -p -r -d -b {buffer} -t {pane.pane_id}"] if text else []
        if enter is not None:
            inner.append(enter_key(enter, pane))
        load = ("load-buffer", "-b", buffer, "-", ";") if text else ()
        conditions = [guard(pane)]
        if is_interpreter(pane.command):  # the guard sees its name only: what was looked at must be fresh
            conditions.append(in_time(int(now + LATE_S)))
        otherwise = [f"delete-buffer -b {buffer}"] if text else []
        words = (*load, *_if(pane, conditions, inner, otherwise))
        return b"OK" in self.run(*WITH_CLOCK, *words, stdin=text.encode() if text else None).split()

    def enter(
        self, pane: PaneFacts, driver: Driver, *, now: float, text: str | None, absent: Sequence[str]
    ) -> bool:
        """Press Enter if `text` is on the screen, none of `absent` is, and tmux gets to it in time."""
        conditions = [guard(pane), in_time(int(now + LATE_S)), *([f"#{{C:{text}}}"] if text else [])]
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        return b"OK" in self.run(*WITH_CLOCK, *_if(pane, conditions, [enter_key(driver, pane)], [])).split()

    def press(self, pane: PaneFacts, keys: str, *, now: float, absent: Sequence[str] = ()) -> bool:
        """Press one key by tmux's name, guarded like Enter."""
        conditions = [guard(pane), in_time(int(now + LATE_S))]
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        pressed = [f"send-keys -t {pane.pane_id} {quote(keys)}"]
        return b"OK" in self.run(*WITH_CLOCK, *_if(pane, conditions, pressed, [])).split()


def gone(pane_id: str) -> PaneNotFound:
    """Return the error for a pane that is not there (any more)."""
    return PaneNotFound(f"there is no pane {pane_id}.", "List them: tmux list-panes -a")


def _if(
    pane: PaneFacts, conditions: Sequence[str], then: Sequence[str], otherwise: Sequence[str]
) -> tuple[str, ...]:
    """Return the words of a command that runs `then` and says OK, or `otherwise` and says NO."""
    branches = (
        " ; ".join([*then, "display-message -p OK"]),
        " ; ".join([*otherwise, "display-message -p NO"]),
    )
    return ("if-shell", "-F", "-t", pane.pane_id, all_of(conditions), *branches)
