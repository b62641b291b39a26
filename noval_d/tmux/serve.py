"""Be the tmux server, as a service of its own: wait until its place is free, then become `tmux -D`.

`-D` keeps the server in the foreground, as the main process that systemd follows, and lets it live without a
session (verified with tmux 3.3a; `start-server` with `exit-empty off` leaves no server at all there).
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import NoReturn

from nova_torch.config import Config
from nova_torch.errors import NotAllowed, StoreFailed, TmuxUnavailable
from noval_d.control.peers import read_credentials
from noval_d.tmux.server import SERVICE_ONLY, find_socket

log = logging.getLogger("nova.tmux")

AGAIN_S = 1.0
OURS = ("NOVA_", "DRAGONFLY_")  # what configures the daemon is not for the agents
PLACES = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "TMUX", "TMUX_PANE")


def serve(config: Config) -> NoReturn:
    """Become the tmux server of this configuration. Raises NotAllowed, StoreFailed, TmuxUnavailable."""
    path = find_socket(config.tmux.socket).path
    _own_directory(os.path.dirname(path))
    _wait_free(path)
    try:
        os.execvpe("tmux", ["tmux", "-u", "-D", "-S", path], environment(config, os.environ))  # noqa: S606
    except OSError as error:
        raise TmuxUnavailable(f"cannot run tmux: {error.strerror}.", "Install tmux 3.2 or later.") from error


def environment(config: Config, given: Mapping[str, str]) -> dict[str, str]:
    """Return what the panes of the server inherit: where their node is, and nothing that is the service's alone."""
    kept = {
        name: value
        for name, value in given.items()
        if not name.startswith(OURS) and name not in SERVICE_ONLY and name not in PLACES
    }
    if not any(kept.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        kept["LANG"] = "C.UTF-8"  # a service has no locale, and agents draw more than ASCII
    kept["NOVA_SOCKET"] = config.control.socket
    kept["NOVA_STATE_DIR"] = os.path.abspath(config.state.dir)
    return kept


def _own_directory(directory: str) -> None:
    """Make the socket's directory; refuse one that another user could exchange the socket in."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        owner = os.stat(directory).st_uid
    except OSError as error:
        raise StoreFailed(
            f"the directory of tmux's socket, {directory}, cannot be made: {error.strerror}.",
            "Give tmux another socket: NOVA_TMUX",
        ) from None
    if owner not in (0, os.getuid()):
        raise NotAllowed(
            f"the directory of tmux's socket, {directory}, belongs to another user (uid {owner}).",
            "Remove it, or give tmux another socket: NOVA_TMUX",
        )


def _wait_free(path: str) -> None:
    """Return when no server answers at `path`. One that somebody else started goes on until it ends."""
    told = 0
    while pid := _listener(path):
        if pid != told:
            log.warning("tmux.not_ours", extra={"socket": path, "pid": pid})
            told = pid
        try:
            process = os.pidfd_open(pid)
        except OSError:  # it has just ended, or another process listens in its name
            time.sleep(AGAIN_S)
            continue
        try:
            select.select([process], [], [])
        finally:
            os.close(process)


def _listener(path: str) -> int:
    """Return the process that listens at `path`, 0 when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return 0
        return read_credentials(probe).pid
