"""The daemon's threads take turns more often than Python lets them."""

from __future__ import annotations

import sys

from noval_d import __main__ as daemon
from noval_d.threads import TURN_S


def test_the_loop_of_the_daemon_gives_way_to_a_commit_long_before_python_would_have_it() -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1.0)
        with daemon._runner():
            assert abs(sys.getswitchinterval() - TURN_S) < 1e-6
    finally:
        sys.setswitchinterval(before)
