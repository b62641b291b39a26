"""Run one of the scripts: `run.py send|schedule CALLED-AS ARGUMENTS…`. Finds the packages beside this directory."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the program that the first argument names."""
    what, called, *words = sys.argv[1:]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`: no socket may come to stand in its place
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs it may have an older one
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(
            f"{os.path.basename(called)}: {sys.executable} is Python {version}, and 3.11 or later is needed. "
            "Name one in NOVA_PYTHON.\n"
        )
        return 1
    beside = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # a checkout
    if not os.path.isdir(os.path.join(beside, "noval_d")):
        beside = os.path.dirname(beside)  # site-packages
    sys.path.append(beside)
    try:
        if what == "send":
            from noval_d.legacy.send import main as program
        else:
            from noval_d.legacy.schedule import main as program
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"{os.path.basename(called)}: {error}. Install Nova-Torch, or name its Python in NOVA_PYTHON.\n"
        )
        return 1
    try:
        return program(called, words)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
