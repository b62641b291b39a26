"""Open, reuse and close the windows of spawned agents, and read what stands in them. libtmux, off the loop.

A window's program is always given as several words: tmux passes those on as they are, while a single one goes
through a shell (verified with tmux 3.3a).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nova_torch.errors import PaneNotFound, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.core_files import give_back
from noval_d.tmux.admin import with_server
from noval_d.tmux.server import SERVICE_ONLY, TmuxSocket

if TYPE_CHECKING:
    import libtmux

COLUMNS, ROWS = 200, 50
LIMIT_S = 10.0


async def open_window(
    socket: TmuxSocket, *, session: str, name: str, argv: Sequence[str], may_start: bool
) -> PaneId:
    """Open a window of 200x50 with the program `argv` and return its pane; the session is made if need be.

    With `may_start` a tmux server is started when there is none. Raises TmuxUnavailable, TmuxNotAnswering.
    """

    def opened(server: libtmux.Server) -> PaneId:
        def there() -> bool:
            return server.cmd("has-session", "-t", f"={session}").returncode == 0

        printed = ("-d", "-P", "-F", "#{pane_id}", "-n", name)
        size = ("-x", str(COLUMNS), "-y", str(ROWS))
        window = ("new-window", *printed, "-t", f"={session}:", *argv)
        made = window if there() else ("new-session", *printed, "-s", session, *size, *argv)
        try:
            pane = PaneId(_output(server, *made).strip())
        except TmuxUnavailable:
            if made is window:
                raise
            # another start made the session meanwhile; or the server ended as it began, with all that was in it
            pane = PaneId(_output(server, *(window if there() else made)).strip())
        _output(server, "resize-window", "-t", pane, "-x", str(COLUMNS), "-y", str(ROWS))
        if may_start:
            for pid in _output(server, "display-message", "-p", "-t", pane, "#{pid} #{pane_pid}").split():
                give_back(int(pid))
            for variable in SERVICE_ONLY:
                if variable in os.environ:
                    _output(server, "set-environment", "-g", "-u", variable)
        return pane

    if may_start:
        os.makedirs(os.path.dirname(socket.path), mode=0o700, exist_ok=True)
    return await with_server(socket, opened, timeout_s=LIMIT_S, may_start=may_start)


async def reuse_pane(socket: TmuxSocket, pane: PaneId, argv: Sequence[str]) -> None:
    """Start `argv` in a pane whose program has ended. tmux refuses it while one runs there: TmuxUnavailable."""
    await with_server(
        socket, lambda server: _output(server, "respawn-pane", "-t", pane, *argv), timeout_s=LIMIT_S
    )


async def close_pane(socket: TmuxSocket, pane: PaneId) -> None:
    """Close a pane, and with it whatever runs there. One that is gone is fine."""

    def closed(server: libtmux.Server) -> None:
        server.cmd("kill-pane", "-t", pane)

    await with_server(socket, closed, timeout_s=LIMIT_S)


async def history(socket: TmuxSocket, pane: PaneId) -> str:
    """Return everything that a pane shows and has shown, as far as tmux keeps it. Raises PaneNotFound."""

    def captured(server: libtmux.Server) -> str:
        done = server.cmd("capture-pane", "-p", "-S", "-", "-t", pane)
        if done.returncode:
            raise PaneNotFound(f"pane {pane} cannot be read: {' '.join(done.stderr)}.", "Is it still there?")
        return "\n".join(done.stdout) + "\n"

    return await with_server(socket, captured, timeout_s=LIMIT_S)


async def search_path(socket: TmuxSocket, session: str) -> str:
    """Return where an agent in a new window of `session` finds programs: the PATH of tmux, then that of the daemon.

    Both, because the agent's owner may have either in mind, and `novactl` may be on one of them only.
    """
    own = os.environ.get("PATH", os.defpath)

    def found(server: libtmux.Server) -> str:
        value = ""
        for where in (("-g",), ("-t", f"={session}")):
            for line in server.cmd("show-environment", *where).stdout:
                if line.startswith("PATH="):
                    value = line.removeprefix("PATH=")
        return os.pathsep.join(
            dict.fromkeys(filter(None, [*value.split(os.pathsep), *own.split(os.pathsep)]))
        )

    try:
        return await with_server(socket, found, timeout_s=LIMIT_S)
    except TmuxUnavailable:
        return own


def _output(server: libtmux.Server, *words: str) -> str:
    done = server.cmd(*words)
    if done.returncode:
        raise TmuxUnavailable(f"tmux refused {words[0]}: {' '.join(done.stderr)}.")
    return "\n".join(done.stdout)
