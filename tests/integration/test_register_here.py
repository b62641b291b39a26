"""`novactl register --here` typed at a shell's prompt: novactl itself is in front then, and is not the agent."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.support.node import ROOT, TestNode, node, until


def typed(made: TestNode, pane: str, folder: Path, *words: str) -> str:
    """Have the pane's shell run novactl in its foreground; return what that said, on either stream."""
    said, done, script = folder / "said", folder / "done", folder / "script"
    done.unlink(missing_ok=True)
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in made.environment.items())
    novactl = shlex.join([sys.executable, "-m", "novactl.main", *words])
    script.write_text(f"cd {ROOT}\n{environment} {novactl} > {said} 2>&1\ntouch {done}\n")
    made.tmux.press(pane, "-l", f". {script}")
    made.tmux.press(pane, "Enter")
    until(done.exists, 45, "the end of novactl")
    return said.read_text()


def test_the_shell_is_registered_and_not_novactl_that_is_in_front(tmp_path: Path) -> None:
    with node() as made:
        pane = made.tmux.open("bash --noprofile --norc")
        made.tmux.wait_for(pane, "$")
        refused = typed(made, pane, tmp_path, "register", "mine", "--here")
        assert f"pane {pane} runs 'bash', which no driver claims." in refused
        refused = typed(made, pane, tmp_path, "register", "mine", "--here", "--driver", "generic")
        assert f"pane {pane} runs bash, and the driver generic never types into a shell." in refused
        told = typed(made, pane, tmp_path, "register", "mine", "--here", "--driver", "line")
        assert told == f"registered mine (pane {pane}, idle, driver line)\n"
        message = made.send("mine", "echo $((20 + 22))")["id"]
        made.wait_state(message, "submitted")
        made.tmux.wait_for(pane, "\n42")
