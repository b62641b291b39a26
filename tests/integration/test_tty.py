"""What a pane's own terminal tells, on real terminals."""

from __future__ import annotations

import os
import pty
import time
import tty as terminal

import pytest

from nova_torch.errors import PaneNotFound
from noval_d.tmux.tty import is_line_buffered, unread_bytes
from tests.lab.tmux import PrivateTmux


def waited_for(path: str, count: int) -> bool:
    limit = time.monotonic() + 10
    while unread_bytes(path) != count and time.monotonic() < limit:
        time.sleep(0.01)
    return unread_bytes(path) == count


def test_a_raw_program_that_does_not_read_leaves_its_bytes_waiting(tmux: PrivateTmux) -> None:
    pane = tmux.open("sh -c 'stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.02; done; exec cat'")
    tmux.wait_for(pane, "ready")
    path = tmux.value(pane, "pane_tty")
    assert not is_line_buffered(path)
    tmux.paste(pane, "eleven byte")
    assert waited_for(path, 11)
    tmux.press(pane, "Enter")
    assert waited_for(path, 12)
    (tmux.home / "go").touch()
    assert waited_for(path, 0)
    tmux.wait_for(pane, "eleven byte")


def test_a_line_buffered_terminal_counts_whole_lines_only(tmux: PrivateTmux) -> None:
    pane = tmux.open("sh -c 'echo ready; exec sleep 1000'")
    tmux.wait_for(pane, "ready")
    path = tmux.value(pane, "pane_tty")
    assert is_line_buffered(path)
    tmux.paste(pane, "half a line")
    tmux.wait_for(pane, "half a line")
    assert unread_bytes(path) == 0
    tmux.press(pane, "Enter")
    assert waited_for(path, 12)


def test_looking_takes_nothing_away() -> None:
    master, slave = pty.openpty()
    try:
        terminal.setraw(slave)
        os.write(master, b"abc")
        path = os.ttyname(slave)
        assert waited_for(path, 3)
        assert unread_bytes(path) == 3
        assert os.read(slave, 10) == b"abc"
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("path", ["/dev/pts/99999", "/no/such/tty", "/dev/null", ""])
def test_what_is_no_terminal_is_an_error_of_ours(path: str) -> None:
    with pytest.raises(PaneNotFound):
        unread_bytes(path)
    with pytest.raises(PaneNotFound):
        is_line_buffered(path)
