"""The windows of spawned agents, where tmux itself fails as it begins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nova_torch.errors import TmuxUnavailable
from noval_d.tmux.server import TmuxSocket
from noval_d.tmux.windows import open_window
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run

DYING = """#!/bin/sh
case "$*" in
*new-session*)
    echo >>{tries}
    if [ "$(wc -l <{tries})" -le {deaths} ]; then
        echo server exited unexpectedly >&2
        exit 1
    fi
    ;;
esac
exec {tmux} "$@"
"""


@pytest.mark.parametrize(("deaths", "opened"), [(1, True), (9, False)])
def test_a_server_that_ends_as_it_begins_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmux: PrivateTmux, deaths: int, opened: bool
) -> None:
    real, tries = shutil.which("tmux"), tmp_path / "tries"
    program = tmp_path / "bin" / "tmux"
    program.parent.mkdir()
    program.write_text(DYING.format(tries=tries, deaths=deaths, tmux=real))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    socket = TmuxSocket(path=f"{tmux.root}/dying")
    opening = open_window(socket, session="s", name="w", argv=["cat"], may_start=True)
    try:
        if opened:
            pane = run(opening)
            shown = subprocess.run(
                [str(real), "-S", socket.path, "list-panes", "-a", "-F", "#{pane_id} #{pane_current_command}"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert shown.stdout == f"{pane} cat\n"
        else:
            with pytest.raises(TmuxUnavailable, match="server exited unexpectedly"):
                run(opening)
        assert len(tries.read_text()) == 2
    finally:
        subprocess.run([str(real), "-S", socket.path, "kill-server"], capture_output=True, check=False)
