"""Tell systemd how the daemon is doing (sd_notify). Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notifies(env: Mapping[str, str] | None = None) -> bool:
    """Tell whether there is somebody to tell."""
    return bool((os.environ if env is None else env).get("NOTIFY_SOCKET"))


def feed() -> None:
    """Tell systemd's watchdog that all is well."""
    notify("WATCHDOG=1")


def notify(message: str, env: Mapping[str, str] | None = None) -> bool:
    """Send `message` (for example READY=1) to $NOTIFY_SOCKET; return False when there is none to tell."""
    address = (os.environ if env is None else env).get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(message.encode(), address)
        except OSError:
            return False
    return True
