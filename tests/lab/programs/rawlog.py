"""Log every byte that arrives at the terminal: `rawlog.py LOGFILE [--bracketed] [--stall SECONDS]`.

The log is locked from before a read until it is written: whoever kills this program under that lock does not lose
what it has read.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import sys
import termios
import time
import tty
from pathlib import Path

READ_BYTES = 65536
BRACKETED_PASTE = b"\x1b[?2004h"


def run(logfile: Path, *, bracketed: bool, stall_s: float) -> None:
    """Put the terminal into raw mode, say READY, and copy what is read to the log until it ends."""
    terminal = sys.stdin.fileno()
    log = os.open(logfile, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal, termios.TCSANOW)  # by default it throws away what was typed before
    try:
        os.write(sys.stdout.fileno(), (BRACKETED_PASTE if bracketed else b"") + b"READY\r\n")
        time.sleep(stall_s)
        while copied(terminal, log):
            pass
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        os.close(log)


def copied(terminal: int, log: int) -> bool:
    """Wait for bytes and log them; False at the end."""
    select.select([terminal], [], [])
    fcntl.flock(log, fcntl.LOCK_EX)
    try:
        data = os.read(terminal, READ_BYTES)
        ended = not data
        while data:
            data = data[os.write(log, data) :]
        return not ended
    finally:
        fcntl.flock(log, fcntl.LOCK_UN)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("logfile", type=Path)
    parser.add_argument("--bracketed", action="store_true", help="ask for bracketed paste")
    parser.add_argument("--stall", type=float, default=0.0, help="seconds before the first byte is read")
    options = parser.parse_args()
    run(options.logfile, bracketed=options.bracketed, stall_s=options.stall)


if __name__ == "__main__":
    main()
