#!/usr/bin/env python3
"""Look at tmux sessions and type into their windows: the interface of the original `tmux_utils.py`.

Part of Nova-Torch; docs/legacy.md says what it does otherwise than the original.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

try:
    import noval_d.legacy  # noqa: F401  # installed for this Python
except ImportError:
    _beside = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # a checkout
    if not os.path.isdir(os.path.join(_beside, "noval_d")):
        _beside = os.path.dirname(_beside)  # site-packages
    if not os.path.isdir(os.path.join(_beside, "noval_d")):
        raise ImportError(
            f"{__file__} was copied away from what it needs. Link to it where Nova-Torch has it"
            " (novactl legacy install), or install Nova-Torch for this Python."
        ) from None
    sys.path.append(_beside)

from nova_torch.errors import NovaError
from noval_d.legacy.asking import Asker, server_of
from noval_d.legacy.look import Window, capture, layout_of, windows
from noval_d.legacy.road import send, type_only


@dataclass
class TmuxWindow:
    """One window of a session."""

    session_name: str
    window_index: int
    window_name: str
    active: bool


@dataclass
class TmuxSession:
    """One session with its windows."""

    name: str
    windows: list[TmuxWindow]
    attached: bool


class TmuxOrchestrator:
    """Reads the tmux server and types into its windows.

    With `safety_mode` every send asks on the terminal first, and goes on only at `yes`; `confirm=False` leaves that
    out for one send. `max_lines_capture` is the most that a capture returns.
    """

    def __init__(self) -> None:
        self.safety_mode = True
        self.max_lines_capture = 1000

    def get_tmux_sessions(self) -> list[TmuxSession]:
        """Return the sessions with their windows; on failure print a line and return an empty list."""
        try:
            found = windows(_tmux())
        except NovaError as error:
            print(f"Error getting tmux sessions: {error}", file=sys.stderr if _as_program() else sys.stdout)
            return []
        sessions: dict[str, TmuxSession] = {}
        for window in found:
            session = sessions.setdefault(window.session, TmuxSession(window.session, [], window.attached))
            session.windows.append(TmuxWindow(window.session, window.index, window.name, window.active))
        return list(sessions.values())

    def capture_window_content(self, session_name: str, window_index: int, num_lines: int = 50) -> str:
        """Return the last lines of a window, at most `max_lines_capture`; a sentence when it cannot be read."""
        try:
            return capture(_tmux(), session_name, window_index, min(num_lines, self.max_lines_capture))
        except NovaError as error:
            return f"Error capturing window content: {error}"

    def get_window_info(self, session_name: str, window_index: int) -> dict[str, Any]:
        """Return `{name, active, panes, layout, content}`, or `{error}`."""
        try:
            tmux = _tmux()
            window = _window(tmux, session_name, window_index)
            return {
                "name": window.name,
                "active": window.active,
                "panes": window.panes,
                "layout": layout_of(tmux, session_name, window_index),
                "content": self.capture_window_content(session_name, window_index),
            }
        except NovaError as error:
            return {"error": f"Could not get window info: {error}"}

    def send_keys_to_window(
        self, session_name: str, window_index: int, keys: str, confirm: bool = True
    ) -> bool:
        """Type `keys` as text, without Enter; True when they are in the pane."""
        if not self._allowed(session_name, window_index, keys, confirm):
            return False
        return _done(lambda: type_only(f"={session_name}:{window_index}", os.fsencode(keys)))

    def send_command_to_window(
        self, session_name: str, window_index: int, command: str, confirm: bool = True
    ) -> bool:
        """Type `command` and Enter; True when it went in, or a daemon has taken it over."""
        if not self._allowed(session_name, window_index, command, confirm):
            return False
        return _done(lambda: send(f"={session_name}:{window_index}", os.fsencode(command)))

    def get_all_windows_status(self) -> dict[str, Any]:
        """Return `{timestamp, sessions}` with every window's info."""
        return {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "sessions": [
                {
                    "name": session.name,
                    "attached": session.attached,
                    "windows": [
                        {
                            "index": window.window_index,
                            "name": window.window_name,
                            "active": window.active,
                            "info": self.get_window_info(session.name, window.window_index),
                        }
                        for window in session.windows
                    ],
                }
                for session in self.get_tmux_sessions()
            ],
        }

    def find_window_by_name(self, window_name: str) -> list[tuple[str, int]]:
        """Return `(session, index)` of each window whose name contains `window_name`, in whatever case."""
        return [
            (session.name, window.window_index)
            for session in self.get_tmux_sessions()
            for window in session.windows
            if window_name.lower() in window.window_name.lower()
        ]

    def create_monitoring_snapshot(self) -> str:
        """Return what every window shows, for reading."""
        status = self.get_all_windows_status()
        rows = [f"Tmux snapshot of {status['timestamp']}", "=" * 50]
        for session in status["sessions"]:
            rows += ["", f"Session {session['name']} ({'attached' if session['attached'] else 'detached'})"]
            for window in session["windows"]:
                rows.append(
                    f"  Window {window['index']}: {window['name']}{' (active)' if window['active'] else ''}"
                )
                info = window["info"]
                if "error" in info:
                    rows.append(f"    | {info['error']}")
                rows += [f"    | {line}" for line in info.get("content", "").splitlines()[-SNAPSHOT_LINES:]]
        return "\n".join(rows) + "\n"

    def _allowed(self, session_name: str, window_index: int, text: str, confirm: bool) -> bool:
        if not (self.safety_mode and confirm):
            return True
        print(f"About to send to {session_name}:{window_index}: {text}")
        try:
            return input("Send it? (yes/no): ").strip().lower() == "yes"
        except EOFError:
            return False


SNAPSHOT_LINES = 10


def _tmux() -> Asker:
    return Asker(server_of(os.environ), os.environ)


def _window(tmux: Asker, session: str, index: int) -> Window:
    from nova_torch.errors import PaneNotFound

    for window in windows(tmux):
        if (window.session, str(window.index)) == (session, str(index)):
            return window
    raise PaneNotFound(f"there is no window {session}:{index}.", "List them: tmux list-windows -a")


def _done(send_it: Any) -> bool:
    try:
        sent = send_it()
    except NovaError as error:
        print(f"Error sending: {error}", file=sys.stderr)
        return False
    if sent.note:
        print(sent.note, file=sys.stderr)
    return True


def _as_program() -> bool:
    return __name__ == "__main__"


if __name__ == "__main__":
    from noval_d.legacy.send import say

    sys.exit(0 if say(json.dumps(TmuxOrchestrator().get_all_windows_status(), indent=2)) else 1)
