"""Log when each line arrived at the terminal: `arrivals.py LOGFILE`. One program a pane; light, for fifty of them.

A line ends with the CR of Enter. The log has one line for each: monotonic nanoseconds at which its last byte was
read, and its first word.
"""

from __future__ import annotations

import os
import sys
import termios
import time
import tty

READ_BYTES = 65536


def run(path: str) -> None:
    """Put the terminal into raw mode and log until it ends; the log's first line says that it is ready."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(log, b"ready\n")
    rest = b""
    try:
        while data := os.read(0, READ_BYTES):
            now = time.monotonic_ns()
            *lines, rest = (rest + data).split(b"\r")
            if lines:
                os.write(log, b"".join(b"%d %s\n" % (now, line.partition(b" ")[0]) for line in lines))
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)


if __name__ == "__main__":
    run(sys.argv[1])
