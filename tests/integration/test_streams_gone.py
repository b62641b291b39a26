"""Scripts and programs whose standard output is closed, full or read by nobody, and in a directory that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nova_torch import AgentRegistry
from nova_torch.errors import DaemonUnreachable
from tests.lab.tmux import PrivateTmux
from tests.support.legacy import SCHEDULE, SEND, UTILS, Window, environment, window
from tests.support.node import ROOT, node, until

FULL = "No space left on device"


@pytest.fixture
def cat(tmp_path: Path) -> Iterator[Window]:
    with PrivateTmux.create() as tmux:
        yield window(tmux, tmp_path, ("new-session", "-d", "-s", "work"), "cat")


def shell(line: str, env: dict[str, str], *words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run `line` with `words` as its "$@"; return exit code, standard output and standard error."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, "bash", *words],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("where", ['"$@" >&-', '"$@" >/dev/full'])
def test_a_message_whose_line_cannot_be_printed_is_sent_and_no_error(cat: Window, where: str) -> None:
    """A failure here would have it sent again."""
    assert shell(where, environment(cat.tmux), SEND, "work", "once") == (0, "", "")
    assert cat.fresh() == b"once\r"


def test_a_message_whose_line_nobody_reads_is_sent_and_no_error(cat: Window) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as nobody:
        done = subprocess.run(
            [SEND, "work", "once"],
            env=environment(cat.tmux),
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert cat.fresh() == b"once\r"


def test_what_cannot_be_printed_is_no_traceback(cat: Window) -> None:
    env = environment(cat.tmux)
    code, out, err = shell('"$@" >/dev/full', env, SCHEDULE, "500", "a note", "work")
    assert (code, out) == (0, "")
    (sentence,) = err.splitlines()  # and no line of a traceback
    assert "does not survive a reboot" in sentence
    os.kill(int(sentence.split("process ")[1].split()[0]), 15)
    assert shell('"$@" >/dev/full', env, sys.executable, str(UTILS)) == (1, "", "")
    assert shell('"$@" | head -n 1', env, sys.executable, str(UTILS)) == (0, "{\n", "")
    assert shell('"$@" 2>&-', env, SEND, "nowhere", "x") == (5, "", "")


def test_a_directory_that_is_gone_keeps_nothing_from_being_sent(cat: Window, tmp_path: Path) -> None:
    env, gone = environment(cat.tmux), tmp_path / "gone"
    gone.mkdir()
    code, out, err = shell('rmdir "$PWD"; "$@"', env, SEND, "work", "from nowhere", cwd=gone)
    assert (code, out) == (0, "Message sent to work: from nowhere\n"), err
    assert "Traceback" not in err


def test_the_librarys_programs_say_what_they_cannot_print(tmp_path: Path) -> None:
    with node() as made:
        env = {**made.environment, "PYTHONPATH": str(ROOT)}
        pane = made.tmux.open("cat")
        made.register("agent_123", pane)
        words = (sys.executable, "-m", "nova_torch.orchestration.agent_registry")
        code, out, err = shell('"$@" >/dev/full', env, *words, "--list")
        assert (code, out) == (1, "")
        assert err == (
            f"nova_torch: standard output cannot be written: {FULL}. What was asked for may be done all the same.\n"
        )
        assert shell('"$@" >&-', env, *words, "--list") == (0, "", "")
        gone = tmp_path / "gone"
        gone.mkdir()
        code, out, err = shell('rmdir "$PWD"; "$@"', env, *words, "--spawn", "x", cwd=gone)
        assert (code, out) == (5, "")
        assert err.startswith("nova_torch: the current directory is gone.")


def test_an_error_of_the_library_shows_no_other_one_before_it(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as caught:
        AgentRegistry(socket=str(tmp_path / "none")).list_agents()
    chain: list[str] = []
    error = caught.value.__context__
    while error is not None:
        chain.append(str(error))
        error = error.__context__
    assert "no running event loop" not in chain


def test_who_watches_is_told_that_the_daemon_has_ended(tmp_path: Path) -> None:
    programs = (["nova_torch.communication.debug_monitor"], ["novactl.main", "watch"])
    with node() as made, ExitStack() as files:
        env = {**made.environment, "PYTHONPATH": str(ROOT)}
        made.register("cat", made.tmux.open("cat"))
        seen = [tmp_path / words[0] for words in programs]
        watching = [
            subprocess.Popen(
                [sys.executable, "-m", *words],
                env=env,
                stdout=files.enter_context(path.open("wb")),
                stderr=subprocess.PIPE,
                text=True,
            )
            for words, path in zip(programs, seen, strict=True)
        ]
        try:
            until(
                lambda: made.send("cat", "x") and all(path.stat().st_size for path in seen),
                45,
                "both to watch",
            )
            assert made.stop() == 0
            ended = [each.communicate(timeout=45)[1].splitlines()[-1] for each in watching]
        finally:
            for each in watching:
                each.kill()
    assert ended == ["nova_torch: the daemon has ended", "the daemon has ended"]
