"""Wait in the background for one schedule: `python -I later.py`, told by JSON on its standard input.

Without a daemon it sends the text itself when its time has come. With one the daemon does that, and this is only
what `kill` cancels the schedule by, as it did with the original.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Mapping
from typing import Any

LOOK_S = 20.0  # a machine that was suspended, or whose clock was set, notices within this
HOLD = "10m"  # nobody waits for it: a draft or a dialog may take its time
LOG_BYTES = 1 << 20
MODE = 0o600
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def main() -> int:
    """Wait, then send; or be the handle of a schedule of the daemon."""
    told = json.load(sys.stdin.buffer)
    if told.get("schedule"):
        return _stand_for(told)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # whoever started this has blocked it
    while (left_s := told["due_s"] - time.time()) > 0:
        time.sleep(min(left_s, LOOK_S))
    return _send(told)


def _stand_for(told: Mapping[str, Any]) -> int:
    """Be the handle of a schedule of the daemon until it is due; SIGTERM, which stays blocked, cancels it."""
    while (left_s := told["due_s"] - time.time()) > 0:
        heard = signal.sigtimedwait({signal.SIGTERM}, min(left_s, LOOK_S))
        if heard is None:
            continue
        if not is_shutdown(heard.si_pid, heard.si_uid):
            _cancel(told)
        return 0
    return 0


def is_shutdown(pid: int, uid: int) -> bool:
    """Tell whether a SIGTERM of this sender ends everything here (a logout, a reboot), not this schedule."""
    if pid <= 1 or (uid == 0 and os.getuid() != 0):
        return True
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip().startswith("systemd")
    except OSError:
        return False


def _send(told: Mapping[str, Any]) -> int:
    from nova_torch.errors import NovaError
    from noval_d.legacy.road import send

    environment = {"NOVA_LEGACY_HOLD": HOLD, **os.environ}
    try:
        sent = send(told["target"], told["text"].encode(), environment)
    except NovaError as error:
        _log(told, f"failed: {error}")
        return error.exit_code
    _log(told, f"{'held' if sent.waits else 'sent'}{f', {sent.note}' if sent.note else ''}")
    return 0


def _cancel(told: Mapping[str, Any]) -> None:
    from nova_torch.errors import NovaError
    from nova_torch.protocol.client import Client

    try:
        with Client.connect(told["socket"], 5.0) as client:
            client.call("schedule_cancel", {"id": told["schedule"]})
    except NovaError as error:
        _log(told, f"not cancelled: {error}")


def _log(told: Mapping[str, Any], what: str) -> None:
    """Note what became of it: never the text."""
    path = told["log"]
    try:
        if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES:
            os.replace(path, f"{path}.1")
        descriptor = os.open(path, LOG_FLAGS, MODE)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
                return  # put there by somebody else
            if stat.S_IMODE(state.st_mode) != MODE:
                os.fchmod(descriptor, MODE)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            file.write(f"{stamp} {told['target']!r} {' '.join(what.splitlines())}\n")
    except OSError:
        pass  # nobody is left to tell


if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    sys.exit(main())
