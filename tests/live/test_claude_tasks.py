"""A real Claude Code ends its task with its own novactl, and is reminded of one that it has not ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nova_torch.ulid import new_ulid
from noval_d.tasks.tasks import LOOK_S
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), needs(ClaudeLab)]

SETTINGS = {"permissions": {"allow": ["Bash(novactl:*)"]}}
ENV = {"PATH": str(Path(sys.executable).parent)}


def add(claude: ClaudeNode, title: str, body: str, task: str = "") -> str:
    given = {"title": title, "body": body, "id": task or new_ulid()}
    return str(claude.node.call("task_add", given)["id"])


def reaches(claude: ClaudeNode, task: str, state: str, timeout_s: float = 60.0) -> dict[str, Any]:
    def shown() -> dict[str, Any]:
        return dict(claude.node.call("task_show", {"id": task}))

    until(lambda: shown()["state"] == state, timeout_s, f"{state}: {shown()}")
    return shown()


def test_claude_ends_its_task_with_a_result_and_another_with_a_reason() -> None:
    with claude_node(hooked=True, settings=SETTINGS, env=ENV) as claude:
        claude.stub.mode = "tool"
        claude.wait_idle()
        one, two = new_ulid(), new_ulid()
        add(claude, "Count the files", f"RUN<<novactl task done {one} --result 'there are 7'>> [[one]]", one)
        done = reaches(claude, one, "done")
        assert (done["agent"], done["result"], done["attempt"]) == (claude.name, "there are 7", 1)
        assert [step["what"] for step in done["steps"]] == ["added", "assigned", "done"]
        assert claude.received("[[one]]") == 1
        claude.wait_idle()
        words = f"novactl task fail {two} --final --reason 'no such file'"
        add(claude, "Mend the file", f"RUN<<{words}>> [[two]]", two)
        failed = reaches(claude, two, "failed")
        assert failed["result"] == "no such file"
        assert claude.received("[[two]]") == 1


def test_claude_that_ends_its_turn_and_not_its_task_is_reminded_once_and_then_ends_it() -> None:
    with claude_node(hooked=True, settings=SETTINGS, env=ENV) as claude:
        claude.node.stop()
        claude.node.env["NOVA_TASKS_REMIND_S"] = "3"
        claude.node.start()
        claude.node.wait_up()
        claude.wait_idle()
        task = add(claude, "Think about it", "[[thought]] and say nothing")

        def whats() -> list[str]:
            return [step["what"] for step in claude.node.call("task_show", {"id": task})["steps"]]

        until(lambda: "reminded" in whats(), 60, "the reminder")
        until(lambda: claude.received("is still yours, and your turn has ended") == 1, 30, "it at the model")
        assert claude.received("[[thought]]") == 1
        assert claude.node.call("task_show", {"id": task})["state"] == "assigned"  # nobody guesses
        told = claude.node.novactl("task", "show", task).stdout
        assert "reminded" in told
        claude.node.kill()
        claude.node.start()
        claude.node.wait_up()
        time.sleep(2 * LOOK_S)  # two looks of the new daemon at the tasks: it reminds of nothing again
        assert claude.received("is still yours") == 1
        claude.stub.mode = "tool"
        claude.send(f"RUN<<novactl task done {task} --result 'a thought'>> [[now]]")
        assert reaches(claude, task, "done")["result"] == "a thought"
        assert whats() == ["added", "assigned", "reminded", "done"]
        assert claude.received("is still yours") == 1
