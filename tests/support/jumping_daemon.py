"""Run the daemon with a wall clock that a file sets wrong, and whatever it starts (its broker) with the same.

Not by libfaketime alone: that takes `clock_nanosleep` until a monotonic time, Python's sleep, for a wall-clock one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_FILE = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
_time_ns = time.time_ns


def _now_ns() -> int:
    return _time_ns() + int(_FILE.read_text()) * 1_000_000_000


time.time_ns = _now_ns
time.time = lambda: _now_ns() / 1e9

if __name__ == "__main__":
    os.environ["LD_PRELOAD"] = os.environ["NOVA_TEST_CLOCK"]
    from noval_d.__main__ import main

    sys.exit(main())
