"""Run `novactl migrate` and end it as kill -9 does, right before one of its steps: python -m … STEP ARGUMENTS…

Steps are what changes something on the disk: link, symlink, rename, unlink, a journal that is opened to be written.
They are counted from 1. A run that ends before its step exits as novactl does.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from novactl.main import main

CHANGES = ("os.link", "os.symlink", "os.rename", "os.remove")


def die_before(number: int) -> None:
    """End this process right before its step of that number."""
    steps = 0

    def look(event: str, args: tuple[Any, ...]) -> None:
        nonlocal steps
        opens = event == "open" and args[1] is None and str(args[0]).endswith("migration.json.new")
        if event in CHANGES or opens:  # Python tells of an open twice; os.open names no mode
            steps += 1
            if steps == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


if __name__ == "__main__":
    die_before(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
