"""A command that is a script and becomes (exec) another, as pyenv's python3 is: the agent is what it became."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.support.node import TestNode, node, until


def test_an_agent_whose_command_is_a_script_that_becomes_it_is_there_after_a_restart(tmp_path: Path) -> None:
    script, go = becomes_cat(tmp_path)
    with node() as running:
        spawned = running.novactl("spawn", "one", "--driver", "line", "--", str(script))
        assert spawned.returncode == 0, spawned.stderr
        go.write_text("go\n")
        until(lambda: state(running) == ("idle", ""), 45, "the program that it became")
        assert running.stop() == 0
        running.start()
        message = running.send(running.call("agents")[0]["agent_id"], "after the restart")["id"]
        running.wait_state(message, "submitted")
        assert state(running)[0] == "idle"


def test_a_command_without_a_name_for_a_while_is_not_taken_for_what_its_pane_was_opened_with(
    tmp_path: Path,
) -> None:
    """As in the middle of an exec, which may last on a busy machine: tmux names the pane's first program then."""
    script, go, on = tmp_path / "wrapped", tmp_path / "go", tmp_path / "on"
    nameless = f'exec -a \'\' {sys.executable} -c \'open("{on}").read(); import os; os.execlp("cat", "cat")\''
    script.write_text(f"#!/bin/bash\nread -r line < {go}\n{nameless}\n")
    script.chmod(0o755)
    with node() as running:
        os.mkfifo(go)
        os.mkfifo(on)
        spawned = running.novactl("spawn", "one", "--driver", "line", "--", str(script))
        assert spawned.returncode == 0, spawned.stderr
        until(lambda: state(running) == ("idle", ""), 45, "the script")
        go.write_text("go\n")
        until(lambda: state(running)[0] == "busy", 45, "the program without a name")
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            assert state(running)[0] == "busy"
        on.write_text("on")
        until(lambda: state(running) == ("idle", ""), 45, "the program that it became")


def test_a_script_that_becomes_its_program_in_the_middle_of_a_task_keeps_the_task(tmp_path: Path) -> None:
    """It counted as exited until its keeper had seen what it became: the task was given a second time."""
    script, go = becomes_cat(tmp_path)
    with node() as running:
        spawned = running.novactl("spawn", "worker", "--driver", "line", "--", str(script))
        assert spawned.returncode == 0, spawned.stderr
        until(lambda: state(running) == ("idle", ""), 45, "the script")
        task = running.call("task_add", {"title": "one task", "role": "worker"})["id"]
        until(lambda: running.call("task_show", {"id": task})["state"] == "assigned", 45, "it is given")
        go.write_text("go\n")
        until(lambda: inbox(running) == ["submitted"], 45, "its message")
        until(lambda: state(running) == ("idle", ""), 45, "the program that it became")
        told = running.call("task_show", {"id": task})
        assert [step["what"] for step in told["steps"]] == ["added", "assigned"], told
        assert (told["state"], inbox(running)) == ("assigned", ["submitted"])


def becomes_cat(folder: Path) -> tuple[Path, Path]:
    """Make a script that becomes `cat` when a line is written into the pipe that is returned with it."""
    script, go = folder / "wrapped", folder / "go"
    script.write_text(f"#!/bin/sh\nread -r line < {go}\nexec cat\n")
    script.chmod(0o755)
    os.mkfifo(go)
    return script, go


def inbox(running: TestNode) -> list[str]:
    (agent,) = running.call("agents")
    return [row["state"] for row in running.call("inbox", {"agent": agent["agent_id"]})]


def state(running: TestNode) -> tuple[str, str]:
    (agent,) = running.call("agents")
    return agent["state"], agent["detail"]
