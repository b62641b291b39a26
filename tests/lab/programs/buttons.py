"""Ask like opencode: options in a row, one with a mark: `buttons.py LOGFILE [--delay SECONDS] [--stuck] [--again]`.

The log gets the options that were chosen. With `--delay` a mark moves so much later; `--stuck`: never; with
`--again` another command is asked about as soon as the mark was to move.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
import tty
from pathlib import Path

OPTIONS = ("Allow once", "Allow always", "Reject")
MARKED, USUAL = "\x1b[48;2;245;167;66m", "\x1b[48;2;30;30;30m"
RIGHT = b"\x1b[C"


def draw(command: str, mark: int) -> None:
    """Draw the dialog, or what stands there without one (`mark` -1)."""
    rows = ["  ┃  △ Permission required", "  ┃", f"  ┃  $ {command}", "  ┃"]
    buttons = "".join(f"  {MARKED if n == mark else USUAL} {text} {USUAL}" for n, text in enumerate(OPTIONS))
    rows.append(f"  ┃{USUAL}{buttons}{' ' * 60}\x1b[0m")
    shown = rows if mark >= 0 else ["nothing is asked"]
    sys.stdout.write("\x1b[?25l\x1b[2J\x1b[H" + "\r\n".join(shown))
    sys.stdout.flush()


def run(log: Path, *, delay_s: float, stuck: bool, again: bool) -> None:
    """Ask until something is chosen, then show that nothing is asked."""
    tty.setraw(sys.stdin.fileno())
    os.set_blocking(sys.stdin.fileno(), False)
    command, mark = "touch toolran", 0
    draw(command, mark)
    moves: list[float] = []
    while True:
        select.select([sys.stdin], [], [], 0.01)
        try:
            data = os.read(sys.stdin.fileno(), 4096)
        except BlockingIOError:
            data = b""
        moves += [time.monotonic() + delay_s] * data.count(RIGHT)
        while moves and moves[0] <= time.monotonic():
            moves.pop(0)
            if again:
                command = "rm -rf project"
            elif not stuck:
                mark = (mark + 1) % len(OPTIONS)
            draw(command, mark)
        if b"\r" in data and mark >= 0:
            with log.open("a") as file:
                file.write(f"{OPTIONS[mark]}: {command}\n")
            mark = -1
            draw(command, mark)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--stuck", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    run(options.log, delay_s=options.delay, stuck=options.stuck, again=options.again)


if __name__ == "__main__":
    main()
