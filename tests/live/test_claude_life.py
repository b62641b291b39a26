"""A real Claude Code is spawned, got through its dialogs, restarted with its conversation, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from noval_d.canary.kinds.claude import KEY
from noval_d.canary.model.stub_model import StubModel
from tests.lab.claude import ClaudeLab, find_claude
from tests.live.agent_node import needs
from tests.support.node import TestNode, node, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(270), needs(ClaudeLab)]


@dataclass(frozen=True, slots=True)
class Stage:
    """A node, a stub model, and a folder and a home for an agent that is not there yet."""

    node: TestNode
    stub: StubModel
    home: Path
    directory: Path

    def args(self, **more: Any) -> dict[str, Any]:
        env = {**ClaudeLab.environment(self.stub), "HOME": str(self.home)}
        good = {
            "role": "claude",
            "agent_id": "claude-1",
            "command": [str(find_claude())],
            "driver": "claude",
            "cwd": str(self.directory),
            "env": env,
        }
        return {**good, **more}

    def steps(self, call: str = "spawn", **args: Any) -> list[str]:
        """Follow a start to its end; return its steps. Raises what ends it."""
        with Client.connect(self.node.socket, 10.0) as client:
            return [str(step["step"]) for step in client.stream(call, args, 90.0)]

    def wait_received(self, marker: str) -> None:
        until(lambda: self.stub.received(marker) > 0, 60, f"{marker} at the model, {self.node.log()[-2000:]}")
        assert self.stub.received(marker) == 1

    def record(self) -> dict[str, Any]:
        (record,) = self.node.call("agents")
        return dict(record)


@contextlib.contextmanager
def stage(*, furnished: bool) -> Iterator[Stage]:
    with (
        StubModel() as stub,
        tempfile.TemporaryDirectory(prefix="nova-w-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        node() as made,
    ):
        home = made.tmux.home / "claude"
        home.mkdir()
        settings = ClaudeLab.hook_settings()
        ClaudeLab.furnish(home, Path(directory).resolve(), stub, settings)
        if not furnished:  # nothing but the onboarding: it asks for the key and for the folder
            (home / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True}))
        yield Stage(made, stub, home, Path(directory).resolve())


def test_a_spawned_claude_gets_its_prompt_and_a_message_of_the_same_second_once_and_resumes() -> None:
    with stage(furnished=True) as claude:
        prompt = "[[first]] $(touch x) 'one' \"two\" `three` ${HOME}"
        with Client.connect(claude.node.socket, 10.0) as client:
            steps = client.stream("spawn", claude.args(prompt=prompt, restart="on-failure"), 90.0)
            assert next(steps)["step"] == "started"
            message = claude.node.send("claude-1", "[[second]] in the same second")["id"]
            assert [step["step"] for step in steps][-1] == "ready"
        claude.node.wait_state(message, "acknowledged", timeout_s=60)
        claude.wait_received("[[first]]")
        claude.wait_received("[[second]]")
        assert not (claude.directory / "x").exists()
        pane = claude.record()["pane"]

        # restarted by order, with its conversation; what was sent meanwhile arrives in it
        claude.node.call("pause", {"agent_id": "claude-1"})
        message = claude.node.send("claude-1", "[[third]] over the restart")["id"]
        claude.node.wait_state(message, "held")
        claude.node.call("resume", {"agent_id": "claude-1"})
        claude.node.wait_state(message, "acknowledged", timeout_s=60)
        until(lambda: claude.record()["state"] == "idle", 30, "idle")
        assert claude.steps("restart", agent_id="claude-1")[-1] == "ready"
        assert claude.record()["pane"] == pane
        message = claude.node.send("claude-1", "[[fourth]] after the restart")["id"]
        claude.node.wait_state(message, "acknowledged", timeout_s=60)
        claude.wait_received("[[fourth]]")
        told = next(r for r in reversed(claude.stub.requests) if "[[fourth]]" in r.last_prompt)
        assert "[[first]]" in str(told.user_texts)  # it goes on with the conversation of before

        # killed: its policy brings it back, and the held message arrives
        os.kill(int(claude.node.tmux.value(pane, "pane_pid")), signal.SIGKILL)
        message = claude.node.send("claude-1", "[[fifth]] after a crash")["id"]
        claude.node.wait_state(message, "acknowledged", timeout_s=60)
        claude.wait_received("[[fifth]]")
        assert claude.stub.received("[[first]]") == 1

        answer = claude.node.call("stop_agent", {"agent_id": "claude-1"}, 60)
        assert answer["ended"] == "it quit when it was asked"
        archive = Path(answer["archive"])
        assert "[[fifth]]" in (archive / "pane.txt").read_text()
        assert json.loads((archive / "summary.json").read_text())["exit"]["code"] == 0
        assert claude.node.call("agents") == []


def test_the_dialogs_of_its_start_are_answered_where_they_are_allowed() -> None:
    with stage(furnished=False) as claude:
        steps = claude.steps(**claude.args(allow=["trust", "api-key"], prompt="[[asked]] good morning"))
        assert steps.count("answered") == 2
        assert steps[-1] == "ready"
        claude.wait_received("[[asked]]")
        saved = json.loads((claude.home / ".claude.json").read_text())
        assert saved["customApiKeyResponses"]["approved"] == [KEY[-20:]]


@pytest.mark.long
def test_a_dialog_of_its_start_that_is_not_allowed_is_named_and_not_answered() -> None:
    with stage(furnished=False) as claude:
        with pytest.raises(NovaError, match="waits at its dialog") as caught:
            claude.steps(**claude.args(allow=["api-key"]))
        assert "--allow trust" in caught.value.hint
        saved = json.loads((claude.home / ".claude.json").read_text())
        folder = saved.get("projects", {}).get(str(claude.directory), {})
        assert not folder.get("hasTrustDialogAccepted")
        claude.node.tmux.press(claude.record()["pane"], "Enter")  # a person says yes
        until(lambda: claude.record()["state"] == "idle", 30, "idle")
