"""What was just written to a terminal counts as unread at once, however busy the machine is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tty

from noval_d.tmux.tty import unread_bytes

ROUNDS = 3000


def test_a_byte_on_its_way_through_the_kernel_is_unread() -> None:
    master, slave = pty.openpty()
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        tty.setraw(slave)
        path = os.ttyname(slave)
        for _ in range(ROUNDS):
            os.write(master, b"x")
            assert unread_bytes(path) == 1
            assert os.read(slave, 10) == b"x"
            assert unread_bytes(path) == 0
    finally:
        for process in busy:
            process.kill()
            process.wait(10)
        os.close(master)
        os.close(slave)
