"""The first program of a spawned agent's window: wait for the go-ahead, then become the agent.

Run as a script by the daemon's own Python, with the go-ahead's path as its one argument. So the agent's words
and its environment pass no shell, no command line of tmux and no process list but its own; a window that was
opened by a daemon which then died starts nothing, since its go-ahead never comes; and one that is there can be
taken by one window only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

TYPE_CHECKING = False  # typing is not loaded: this is all that a start waits for
if TYPE_CHECKING:
    from typing import Any

WAIT_S = 20.0
LOOK_S = 0.005
NOT_FOUND, NOT_STARTED = 127, 126


def main(path: str) -> int:
    """Become the program that the file at `path` describes; return only when that fails."""
    given = _taken(path)
    if given is None:
        print("nova-torchd did not say what to start here.")
        return NOT_STARTED
    argv, cwd = given["argv"], given["cwd"]
    environment = _inherited()
    for name in given["drop"]:
        environment.pop(os.fsencode(name), None)
    environment.update({os.fsencode(name): os.fsencode(value) for name, value in given["env"].items()})
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(cwd)
        environment[b"PWD"] = os.fsencode(cwd)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        print(f"{argv[0]} cannot be started in {cwd}: {error.strerror}.")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED


def _taken(path: str) -> dict[str, Any] | None:
    own = f"{path}.taken"
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            os.rename(path, own)
        except OSError:
            time.sleep(LOOK_S)
            continue
        with open(own, encoding="utf-8") as file:
            given: dict[str, Any] = json.load(file)
        os.unlink(own)
        return given
    return None


def _inherited() -> dict[bytes, bytes]:
    """Return the environment as tmux gave it: Python may have added a locale to its own."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
