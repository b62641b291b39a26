"""Name a tmux server: where its socket is, how it is called without ever being started, which one it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from nova_torch.errors import ConfigInvalid, TmuxUnavailable

# What a service manager tells the daemon alone; nothing that the daemon starts is to inherit it.
SERVICE_ONLY = (
    "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TmuxSocket:
    """The absolute path of a server's socket."""

    path: str

    def argv(self, *arguments: str) -> list[str]:
        """Return the command that runs `arguments` on this server.

        `-N`: the server is never started by it, not even by new-session (verified with tmux 3.3a).
        """
        return ["tmux", "-u", "-N", "-S", self.path, *arguments]

    def unavailable(self, why: str = "") -> TmuxUnavailable:
        """Return the error for a server that is not there."""
        told = f": {why}" if why else ""
        return TmuxUnavailable(
            f"no tmux server at {self.path}{told}.",
            f"Start one: tmux -S {self.path} new-session -d; or name yours in NOVA_TMUX.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """One life of a tmux server. A pane is its `%id` plus this, nothing else (DELIVERY 1)."""

    pid: int
    started_s: int


def find_socket(name_or_path: str) -> TmuxSocket:
    """Return the server that NOVA_TMUX means: a name (tmux -L), a path (tmux -S), or "" for the default one.

    $TMUX is not looked at: the daemon serves the same server wherever it was started from.
    """
    if "\0" in name_or_path or "\n" in name_or_path:
        raise ConfigInvalid("the name of the tmux server holds a control character.", "Correct NOVA_TMUX.")
    if "/" in name_or_path:
        return TmuxSocket(path=os.path.abspath(os.path.expanduser(name_or_path)))
    base = os.path.realpath(os.environ.get("TMUX_TMPDIR") or "/tmp")  # noqa: S108 - where tmux itself looks
    if not os.path.isdir(base):
        base = os.path.realpath("/tmp")  # noqa: S108 - tmux falls back to it
    return TmuxSocket(path=os.path.join(base, f"tmux-{os.getuid()}", name_or_path or "default"))


def how_to_start(unit: str) -> str:
    """Return what to do where there is no server; `unit` is the systemd unit that keeps it, if one does."""
    if not unit:
        return "Start your agents in tmux; novactl spawn starts a server when there is none."
    scope = "--user " if "MANAGERPID" in os.environ else ""  # set by a user's manager alone (systemd.exec(5))
    return f"Start it: systemctl {scope}start {unit}"


def server_alive(pane_key: str) -> bool:
    """Tell whether the tmux server of a pane key (`pid.started/%id/pid`) still runs."""
    pid = pane_key.partition(".")[0]
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")


def client_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a tmux client of ours: one that knows of no pane it was started in."""
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if name not in {"TMUX", "TMUX_PANE"}}
