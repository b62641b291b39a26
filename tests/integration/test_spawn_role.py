"""An agent of a mere role: the first known agent program on its PATH, with the role and the skills."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch import AgentRegistry
from nova_torch.errors import TimedOut
from tests.support.node import ROOT, TestNode, node
from tests.support.spawned import Spawned, command, spawn

OF_THE_DAEMON = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[TestNode]:
    """A node whose tmux server finds programs in `bin`, and which knows no other agent."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with node(env={"PATH": OF_THE_DAEMON}) as made:
        made.tmux.open("cat")
        made.tmux.tmux("set-environment", "-g", "PATH", f"{folder}:/usr/bin:/bin")
        yield made


def install(made: TestNode, folder: Path, program: str) -> None:
    """Put a program there that becomes the lab's agent."""
    words = command(made, folder / "agent.jsonl")
    script = folder / "bin" / program
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)


def registry(made: TestNode, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nova_torch.orchestration.agent_registry", *words],
        env={**made.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_first_user_gets_an_agent_of_a_role_and_skills(site: TestNode, tmp_path: Path) -> None:
    install(site, tmp_path, "claude")
    install(site, tmp_path, "codex")
    done = registry(site, "--spawn", "developer", "python,testing")
    assert done.returncode == 0, done.stderr
    (record,) = site.call("agents")
    assert (record["role"], record["skills"], record["driver"]) == (
        "developer",
        ["python", "testing"],
        "claude",
    )
    assert record["agent_id"].startswith("developer-")
    assert done.stdout.startswith(f"ready: {record['agent_id']}\tidle\tdeveloper\tpython,testing\t")
    told = site.novactl("spawn", "tester", "--skill", "python")
    assert (told.returncode, told.stderr.splitlines()[0]) == (0, "tester: asking the node")
    assert "driver claude" in told.stdout


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (("--role", "developer"), "claude"),
        (("claude", "--role", "developer"), "claude"),
        (("--role", "developer", "--driver", "line", "--", "cat", "-u"), "cat"),
        (("developer", "--role", "developer", "--driver", "line", "--", "cat", "-u"), "cat"),
    ],
)
def test_a_role_may_be_named_by_its_option(
    site: TestNode, tmp_path: Path, words: tuple[str, ...], program: str
) -> None:
    install(site, tmp_path, "claude")
    told = site.novactl("spawn", *words)
    assert told.returncode == 0, told.stderr
    (record,) = site.call("agents")
    assert (record["role"], record["driver"]) == ("developer", "claude" if program == "claude" else "line")
    assert site.tmux.value(record["pane"], "pane_current_command") == program


def test_a_program_is_not_taken_for_a_role(site: TestNode, tmp_path: Path) -> None:
    install(site, tmp_path, "claude")
    told = site.novactl("spawn", "--", "cat")
    assert (told.returncode, told.stdout) == (2, "")
    assert "'cat' is a program on the agent's PATH" in told.stderr
    assert "novactl spawn ROLE --driver line -- cat" in told.stderr
    assert site.call("agents") == []


def test_a_spawn_without_a_role_is_told_what_there_is(site: TestNode) -> None:
    told = site.novactl("spawn")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "novactl: no role is given. Such as: novactl spawn developer --skill python\n"


def test_an_agent_has_the_path_of_the_tmux_server_and_then_that_of_the_daemon(
    site: TestNode, tmp_path: Path
) -> None:
    """tmux gives a window the PATH of the process that opens it, and nothing else of it."""
    install(site, tmp_path, "claude")
    agent = spawn(site, tmp_path, driver=None, command=["claude", "--log", str(tmp_path / "own")])
    assert agent.starts() == 0
    (start,) = Spawned(site, agent.name, tmp_path / "own").rows("start")
    assert start["env"]["PATH"] == f"{tmp_path / 'bin'}:/usr/bin:/bin:{Path(sys.executable).parent}"


def test_where_none_is_installed_or_the_name_is_mistyped_the_choice_is_clear(
    site: TestNode, tmp_path: Path
) -> None:
    done = registry(site, "--spawn", "developer", "python,testing")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "nova_torch: there is no template 'developer' in the configuration, and on the agent's PATH is none of "
        "claude, codex, gemini, opencode, aider. Install one, or say what to start: its command, and --driver "
        "DRIVER if it is another program.\n"
    )
    install(site, tmp_path, "claude")
    done = registry(site, "--spawn", "cluade")
    assert (done.returncode, done.stdout) == (5, "")
    assert "Did you mean claude?" in done.stderr
    assert site.call("agents") == []


def test_the_first_installed_one_is_meant_with_the_path_that_was_given(
    site: TestNode, tmp_path: Path
) -> None:
    install(site, tmp_path, "claude")
    other = tmp_path / "other"
    other.mkdir()
    os.symlink("/bin/cat", other / "aider")
    tried = site.novactl("spawn", "developer", "--dry-run", "--env", f"PATH={tmp_path}")
    assert tried.returncode == 5
    assert site.novactl("spawn", "developer", "--dry-run", "--env", f"PATH={other}").returncode == 0


def test_an_agent_that_does_not_get_ready_is_waited_for_as_long_as_was_said(site: TestNode) -> None:
    agents = AgentRegistry(socket=site.socket)
    before = time.monotonic()
    with pytest.raises(TimedOut, match=r"agent slow-1 is not ready after 2\.0s; its start goes on") as caught:
        agents.spawn("slow", agent_id="slow-1", driver="claude", command=["cat"], timeout_s=2)
    assert time.monotonic() - before >= 2
    assert caught.value.hint == "Look: novactl peek slow-1"
    assert agents.get_agent("slow-1").role == "slow"
    done = registry(site, "--spawn", "slow", "--driver", "claude", "--command", "cat", "--timeout", "1s")
    assert (done.returncode, done.stdout) == (6, "")


def test_the_only_line_of_a_program_that_could_not_start_is_seen(site: TestNode, tmp_path: Path) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho the one thing to know\nexit 3\n")
    script.chmod(0o755)
    done = registry(site, "--spawn", "broken", "--driver", "claude", "--id", "b-1", "--command", str(script))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ended before it was ready: exit code 3. See what it said: novactl peek b-1\n"
    )
    shown = site.novactl("peek", "b-1").stdout.splitlines()
    assert (shown[0], shown[-1].split("(")[0]) == ("the one thing to know", "Pane is dead ")
