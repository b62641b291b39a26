"""A command that is a script and becomes (exec) another, as pyenv's python3 is: the agent is what it became."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.node import TestNode, node, until


def test_an_agent_whose_command_is_a_script_that_becomes_it_is_there_after_a_restart(tmp_path: Path) -> None:
    script, go = tmp_path / "wrapped", tmp_path / "go"
    script.write_text(f"#!/bin/sh\nread -r line < {go}\nexec cat\n")
    script.chmod(0o755)
    with node() as running:
        os.mkfifo(go)
        spawned = running.novactl("spawn", "one", "--driver", "line", "--", str(script))
        assert spawned.returncode == 0, spawned.stderr
        go.write_text("go\n")
        until(lambda: state(running) == ("idle", ""), 45, "the program that it became")
        assert running.stop() == 0
        running.start()
        message = running.send(running.call("agents")[0]["agent_id"], "after the restart")["id"]
        running.wait_state(message, "submitted")
        assert state(running)[0] == "idle"


def state(running: TestNode) -> tuple[str, str]:
    (agent,) = running.call("agents")
    return agent["state"], agent["detail"]
