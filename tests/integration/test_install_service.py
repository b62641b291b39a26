"""The systemd units are written for this installation, and nobody's own changes are lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from novactl.units import NAMES
from tests.support.cli import clean_environment, run_program

PROGRAMS = Path(sys.executable).parent


def run(home: Path, *options: str) -> tuple[int, str, str]:
    env = clean_environment(HOME=str(home), XDG_CONFIG_HOME=str(home / "conf"))
    done = run_program(["install-service", *options], env=env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def states(home: Path, *options: str) -> list[str]:
    code, said, err = run(home, "--user", "--json", *options)
    assert code == 0, err
    return [row["state"] for row in json.loads(said)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where units of the user are."""
    return tmp_path / "conf" / "systemd" / "user"


def test_units_name_the_programs_that_run_this_and_every_step_that_follows(
    tmp_path: Path, place: Path
) -> None:
    code, said, _ = run(tmp_path, "--user")
    assert code == 0
    assert sorted(path.name for path in place.iterdir()) == sorted(NAMES)
    assert f"ExecStart={PROGRAMS}/nova-torchd\n" in (place / "nova-torchd.service").read_text()
    assert f"ExecStart={PROGRAMS}/nova-torchd --serve-tmux\n" in (place / "nova-tmux.service").read_text()
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o644}
    for step in (
        "daemon-reload",
        "enable --now nova-tmux nova-torchd",
        "status",
        "disable --now",
        "--remove",
    ):
        assert step in said
    assert states(tmp_path) == ["already there"] * 3


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd-analyze is missing"
)
@pytest.mark.parametrize("options", [(), ("--user",)], ids=["system", "user"])
def test_systemd_finds_nothing_to_say_about_what_is_written(tmp_path: Path, options: tuple[str, ...]) -> None:
    place, runtime = tmp_path / "units", tmp_path / "run"
    runtime.mkdir(mode=0o700)
    run_as = () if options else ("--run-as", "root")
    code, _, err = run(tmp_path, *options, *run_as, "--into", str(place))
    assert code == 0, err
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *options, *map(str, sorted(place.iterdir()))],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    if not options:
        assert "User=root\n" in (place / "nova-tmux.service").read_text()
        assert "SocketUser=root\n" in (place / "nova-torchd.socket").read_text()


def test_a_changed_unit_stays_until_force_and_is_kept_then(tmp_path: Path, place: Path) -> None:
    assert states(tmp_path) == ["written"] * 3
    own, other = place / "nova-torchd.service", place / "nova-tmux.service"
    changed = own.read_text() + "# mine\n"
    own.write_text(changed)
    other.unlink()
    code, _, err = run(tmp_path, "--user")
    assert code != 0
    assert f"{own} was changed" in err
    assert own.read_text() == changed
    assert not other.exists()  # nothing was written, not half of it
    assert run(tmp_path, "--user", "--remove")[0] != 0
    assert states(tmp_path, "--force") == ["written", "replaced", "already there"]
    assert (place / "nova-torchd.service.before-nova-torch").read_text() == changed
    own.write_text("what is not ours at all")
    assert states(tmp_path, "--force") == ["already there", "replaced", "already there"]
    assert (place / "nova-torchd.service.before-nova-torch.1").read_text() == "what is not ours at all"
    assert not list(place.glob("*.new-nova-torch"))


def test_a_unit_of_another_installation_that_nobody_changed_is_updated(tmp_path: Path, place: Path) -> None:
    from novactl.units import _stamped

    assert states(tmp_path) == ["written"] * 3
    unit = place / "nova-tmux.service"
    now = unit.read_text()
    unit.write_text(_stamped(now.split("\n", 1)[1].replace(str(PROGRAMS), "/old/place")))
    assert states(tmp_path) == ["updated", "already there", "already there"]
    assert unit.read_text() == now


def test_dry_run_and_print_write_nothing(tmp_path: Path, place: Path) -> None:
    assert states(tmp_path, "--dry-run") == ["would be written"] * 3
    code, said, _ = run(tmp_path, "--user", "--print")
    assert code == 0
    assert said.count("[Install]") == 3
    assert not place.exists()
    assert states(tmp_path) == ["written"] * 3
    assert states(tmp_path, "--remove", "--dry-run") == ["would be removed"] * 3
    assert len(list(place.iterdir())) == 3
    assert states(tmp_path, "--remove") == ["removed"] * 3
    assert list(place.iterdir()) == []
    assert states(tmp_path, "--remove") == ["not there"] * 3


def test_a_user_that_is_not_there_or_cannot_reach_the_programs_is_named(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, "--into", str(tmp_path / "x"), "--run-as", "nobody-of-that-name")
    assert code == 5
    assert "useradd --create-home nobody-of-that-name" in err
    closed = tmp_path / "closed" / "bin"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    from nova_torch.errors import InvalidRequest
    from novactl.units import check_reach

    with pytest.raises(InvalidRequest, match="cannot reach"):
        check_reach("nobody", str(closed))
    assert not (tmp_path / "x").exists()


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "--user", "--run-as", "root")[0] == 2
    assert run(tmp_path, "--user", "--print", "--remove")[0] == 2
