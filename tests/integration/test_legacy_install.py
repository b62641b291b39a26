"""`novactl legacy`: the scripts come under their names into a directory, and go again without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from novactl.drop_ins import BACKUP, NAMES, source
from tests.support.cli import clean_environment, run_here


def legacy(capfd: pytest.CaptureFixture[str], what: str, directory: Path) -> tuple[list[list[str]], str]:
    done = run_here(capfd, ["legacy", what, "--dir", str(directory)])
    assert done.code == 0
    return [line.split("\t") for line in done.out.splitlines()], done.err


def tree(directory: Path) -> dict[str, str | bytes]:
    return {
        path.name: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in directory.iterdir()
    }


def test_what_was_there_is_kept_and_put_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAMES[0]).write_text("#!/bin/sh\necho mine\n")
    (tmp_path / NAMES[0]).chmod(0o755)
    (tmp_path / NAMES[1]).symlink_to("/elsewhere")
    before = tree(tmp_path)
    rows, _ = legacy(capfd, "install", tmp_path)
    assert [row[1] for row in rows] == ["installed"] * 3
    assert rows[0][2] == f"what was there: {tmp_path / NAMES[0]}{BACKUP}"
    assert [row[1] for row in legacy(capfd, "status", tmp_path)[0]] == ["installed"] * 3
    assert [row[1] for row in legacy(capfd, "install", tmp_path)[0]] == ["already there"] * 3
    assert (tmp_path / f"{NAMES[0]}{BACKUP}").read_text() == "#!/bin/sh\necho mine\n"
    assert [row[1] for row in legacy(capfd, "remove", tmp_path)[0]] == ["removed"] * 3
    assert tree(tmp_path) == before
    assert os.access(tmp_path / NAMES[0], os.X_OK)
    assert [row[1] for row in legacy(capfd, "remove", tmp_path)[0]] == [
        "not ours, left", "not ours, left", "missing",
    ]  # fmt: skip


def test_no_backup_is_ever_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"{NAMES[0]}{BACKUP}").write_text("an old one")
    (tmp_path / NAMES[0]).write_text("a new one")
    legacy(capfd, "install", tmp_path)
    assert (tmp_path / f"{NAMES[0]}{BACKUP}").read_text() == "an old one"
    assert (tmp_path / f"{NAMES[0]}{BACKUP}.1").read_text() == "a new one"
    legacy(capfd, "remove", tmp_path)
    assert (tmp_path / NAMES[0]).read_text() == "a new one"
    assert (tmp_path / f"{NAMES[0]}{BACKUP}").read_text() == "an old one"


def test_a_link_to_what_is_gone_is_told_and_mended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAMES[0]).symlink_to(f"/gone/legacy/{NAMES[0]}")
    rows, said = legacy(capfd, "status", tmp_path)
    assert rows[0][1] == "broken"
    assert "install again: novactl legacy install" in said
    legacy(capfd, "install", tmp_path)
    assert legacy(capfd, "status", tmp_path)[0][0][1:] == ["installed", ""]


def test_a_directory_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    done = run_here(capfd, ["legacy", "install", "--dir", str(tmp_path / "file" / "bin")])
    assert (done.out, done.code) == ("", 4)
    assert "cannot be changed" in done.err
    assert "--dir DIR" in done.err


def test_the_scripts_run_through_their_links_from_anywhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, said = legacy(capfd, "install", tmp_path)
    assert f"{tmp_path} is not on PATH" in said
    env = clean_environment(NOVA_PYTHON=sys.executable, PATH=f"{tmp_path}:{os.environ['PATH']}")
    usage = subprocess.run(
        ["send-claude-message.sh"], cwd="/", env=env, capture_output=True, text=True, check=False
    )
    assert usage.stdout.startswith(f"Usage: {tmp_path}/send-claude-message.sh <session:window> <message>\n")
    wrong = subprocess.run(
        ["schedule_with_note.sh", "soon"], cwd="/", env=env, capture_output=True, text=True, check=False
    )
    assert (wrong.stdout, wrong.returncode) == ("", 2)
    assert wrong.stderr.startswith("schedule_with_note.sh: 'soon' is no number of minutes.")
    seen = subprocess.run(
        [sys.executable, "-c", "import tmux_utils; print(tmux_utils.TmuxOrchestrator().max_lines_capture)"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert seen.stdout == "1000\n", seen.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_without_what_it_needs_says_so_and_sends_nothing(tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    copy.write_bytes(Path(source(name)).read_bytes())
    copy.chmod(0o755)
    words = [sys.executable, "-I", "-S"] if name.endswith(".py") else []
    done = subprocess.run(
        [*words, copy, "x:1", "hello"], check=False, env=clean_environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{copy} was copied away" in done.stderr
    assert "novactl legacy install" in done.stderr
