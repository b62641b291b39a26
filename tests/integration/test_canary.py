"""novactl doctor --drivers: an agent that looks as its driver says fits; another is told with its screen."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from noval_d.agents.driver_file import BUILT_IN
from noval_d.canary.results import Check
from noval_d.canary.stage import PREFIX, sweep
from tests.lab.tmux import PROGRAMS
from tests.support.node import ROOT, until

CLAUDE = (BUILT_IN / "claude.toml").read_text()
LOOKS = {
    "title": "busy = '^[⠀-⣿]'",
    "busy": "'esc to interrupt'",
    "dialog": "'Esc to (?:cancel|close|clear)'",
}
CHOICE = r"'^❯ \d+\. '"
LIMIT_S = 100

pytestmark = pytest.mark.timeout(LIMIT_S + 20)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a fake Claude Code, drivers of his own, and nothing else."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "NOVA_STATE_DIR": str(self.folder / "state"),
            "NOVA_DELIVERY_DRIVERS_DIR": str(self.folder / "drivers"),
            "NOVA_TMUX": "mine",
            "TMUX": "/mine,1,0",
            "TMUX_PANE": "%77",
            "ANTHROPIC_API_KEY": "sk-ant-mine",
        }

    def has_agent(self, *arguments: str) -> None:
        """Put a program `claude` on the PATH that looks like Claude Code; it is led to the model by --model."""
        (self.folder / "real").mkdir()
        python = self.folder / "real" / "claude"  # tmux shows the name that a program was started under
        python.symlink_to(Path(sys.executable).resolve())
        hook = shlex.join([sys.executable, "-I", "-S", str(ROOT / "novactl" / "hook.py")])
        words = [str(python), str(PROGRAMS / "agent_tui.py"), "--hook", hook, *arguments]
        program = self.folder / "bin" / "claude"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "9.8.7 (a fake)"; exit; }}\nexec {shlex.join(words)}\n'
        )
        program.chmod(0o755)

    def has_driver(self, *changes: tuple[str, str]) -> Path:
        """Replace the driver `claude` by one of the user's own, with each change made."""
        text = CLAUDE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = self.folder / "drivers" / "claude.toml"
        file.write_text(text)
        return file

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        # whoever runs the tests in the background has Ctrl-C ignored, and a child inherits that
        return subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-m", "novactl.main", "doctor", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def doctor(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and notes."""
        with self.begin(*arguments) as running:
            out, err = running.communicate(timeout=LIMIT_S)
        return running.returncode, out, err

    def tried(self, *arguments: str) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
        """Return the exit code, the finding about claude, and its checks by name."""
        code, out, err = self.doctor("--drivers", "--agent", "claude", "--json", *arguments)
        assert out, err
        (finding,) = json.loads(out)
        return code, finding, {check["check"]: check for check in finding["checks"]}

    def living(self) -> list[psutil.Process]:
        """The processes of trials that this user started."""
        found = []
        for process in psutil.process_iter():
            try:
                env = process.environ()
            except psutil.Error:
                continue
            if PREFIX in env.get("HOME", "") and str(self.folder) in env.get("PATH", ""):
                found.append(process)
        return found


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    for name in ("home", "bin", "drivers"):
        (tmp_path / name).mkdir()
    made = User(tmp_path)
    yield made
    assert made.living() == []
    assert list((tmp_path / "home").iterdir()) == []


def test_an_agent_that_looks_as_its_driver_says_fits(user: User) -> None:
    user.has_agent("--model")
    code, out, err = user.doctor("--drivers", "--agent", "claude")
    checks = ", ".join(Check)
    fits = f"Claude Code 9.8.7 (driver claude, looks of 2.1.197): {checks}."
    assert (code, out) == (0, f"ok\tdriver_fits\t{fits}\n"), err
    assert f"claude: Claude Code 9.8.7, {user.folder}/bin/claude\nclaude: ready …\n" in err
    assert not (user.folder / "state").exists()


def test_looks_that_have_changed_are_told_with_the_screen(user: User) -> None:
    user.has_agent("--model")
    gone = [(LOOKS["title"], "busy = '^NEVER'"), *((LOOKS[name], "'NEVER'") for name in ("busy", "dialog"))]
    file = user.has_driver(*gone, (CHOICE, "'NEVER'"))
    code, finding, checks = user.tried()
    assert (code, finding["code"], finding["severity"]) == (1, "driver_drift", "warning")
    assert (finding["version"], finding["looks_of"], finding["driver"]) == ("9.8.7", "2.1.197", str(file))
    assert {name: check["result"] for name, check in checks.items()} == {
        "ready": "ok",
        "proof": "ok",
        "busy": "drift",
        "queue": "not_run",
        "dialog": "drift",
        "held": "not_run",
    }
    assert checks["busy"]["seen"] == "an empty input box, no dialog, no sign of work"
    assert "Working…" in checks["busy"]["screen"]
    assert "Do you want to proceed?" in checks["dialog"]["screen"]
    kept = Path(checks["dialog"]["file"])
    assert kept == user.folder / "state" / "canary" / "claude-dialog.screen"
    assert kept.read_text() == checks["dialog"]["screen"]
    assert json.loads(kept.read_text().partition("\n")[0])["expect"]["dialog"] is None


def test_an_input_box_that_is_not_found_any_more_is_drift_and_nothing_is_typed(user: User) -> None:
    user.has_agent("--model")
    user.has_driver(('prompts = ["❯"]', 'prompts = ["»"]'))
    code, finding, checks = user.tried("--timeout", "6s")
    assert (code, finding["code"]) == (1, "driver_drift")
    assert checks["ready"]["seen"].startswith("no input box")
    assert "? for shortcuts" in checks["ready"]["screen"]
    assert {check["result"] for name, check in checks.items() if name != "ready"} == {"not_run"}


def test_what_is_claimed_is_held_against_what_the_model_got(user: User) -> None:
    user.has_agent()  # it reports every prompt, and asks no model
    code, finding, checks = user.tried("--timeout", "15s")
    assert (code, finding["code"]) == (1, "driver_drift")
    assert checks["proof"]["seen"] == "acknowledged, and 0 times at the model"


def test_an_agent_that_does_not_start_is_not_tried_and_says_why(user: User) -> None:
    program = user.folder / "bin" / "claude"
    program.write_text("#!/bin/sh\necho 'it needs a newer Node.js'\nexit 3\n")
    program.chmod(0o755)
    code, finding, checks = user.tried()
    assert (code, finding["code"]) == (1, "driver_not_tried")
    assert {check["result"] for check in checks.values()} == {"not_run"}
    assert checks["ready"]["why"].endswith("it said: it needs a newer Node.js")


def test_a_driver_file_that_cannot_be_used_keeps_no_other_agent_from_being_tried(user: User) -> None:
    user.has_driver(("prompts =", "promts ="))
    code, out, err = user.doctor("--drivers", "--agent", "claude", "--agent", "codex")
    broken, absent = out.splitlines()
    assert code == 1, err
    assert broken.startswith("warning\tdriver_not_tried\t")
    assert "composer.promts is unknown. Did you mean prompts?" in broken
    assert absent == "ok\tdriver_no_agent\tCodex is not installed."


def test_an_agent_that_is_not_installed_is_no_drift(user: User) -> None:
    code, out, _ = user.doctor("--drivers", "--agent", "claude", "--agent", "claude")
    assert (code, out) == (0, "ok\tdriver_no_agent\tClaude Code is not installed.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("--drivers", "--agent", "cluade"),
            5,
            "there is no trial for an agent 'cluade'. Did you mean claude?",
        ),
        (("--drivers", "--agent", "--limit=0"), 2, "'--limit=0' is no agent"),
        (("--drivers", "--program", "claude=/nonexistent"), 2, "/nonexistent is no program."),
        (("--drivers", "--timeout", "soon"), 2, "soon"),
        (("--agent", "claude"), 2, "--agent goes with --drivers."),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    user: User, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done, out, err = user.doctor(*arguments)
    assert (done, out, err.count("\n")) == (code, "", 1), err
    assert said in err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_trial_whose_caller_is_gone_ends_and_leaves_nothing(user: User, how: signal.Signals) -> None:
    user.has_agent("--model")
    with user.begin("--drivers", "--agent", "claude") as running:
        until(lambda: agents_of(user), 45, "the agent")
        homes = {Path(process.environ()["HOME"]) for process in user.living()}
        running.send_signal(how)
        running.communicate(timeout=LIMIT_S)
    assert running.returncode == (130 if how == signal.SIGINT else -how)
    until(lambda: not user.living(), 45, "the end of all that was started")
    until(lambda: not any(home.parent.exists() for home in homes), 45, "the removal")


def test_what_a_killed_trial_left_is_removed_by_the_next(user: User) -> None:
    user.has_agent("--model")
    with user.begin("--drivers", "--agent", "claude") as running:
        until(lambda: agents_of(user), 45, "the agent")
        (home,) = {Path(process.environ()["HOME"]) for process in user.living()}
        (trial,) = [child for child in psutil.Process(running.pid).children() if child.is_running()]
        trial.kill()
        _, err = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 1
    assert "the trial ended early" in err
    sweep()
    # a trial of another test may have come first, and be at it
    until(lambda: not home.parent.exists() and not user.living(), 45, "the removal")


def agents_of(user: User) -> list[psutil.Process]:
    """The fake agents that run."""
    found = []
    for process in user.living():
        try:
            if "agent_tui.py" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
