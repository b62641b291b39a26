"""The lab runs the real Claude Code, and what is typed into it reaches the stub model once."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noval_d.canary import processes
from noval_d.canary.model.stub_model import StubModel
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs

pytestmark = [pytest.mark.live, needs(ClaudeLab)]


@pytest.fixture
def stub() -> Iterator[StubModel]:
    with StubModel.start() as running:
        yield running


def test_a_typed_prompt_is_received_once(tmp_path: Path, stub: StubModel) -> None:
    with ClaudeLab.start(tmp_path, stub) as lab:
        lab.submit("hello [[m-1]]")
        assert stub.wait_received("[[m-1]]") == 1
        lab.wait_for("STUB-OK")
        assert stub.prompts() == ["hello [[m-1]]"]
        assert lab.server.value(lab.pane, "pane_current_command") == "claude"


def test_nothing_is_left_behind(tmp_path: Path, stub: StubModel) -> None:
    lab = ClaudeLab.start(tmp_path, stub)
    assert processes.living_in(lab.home)
    lab.stop()
    assert not processes.living_in(lab.home)
    assert not lab.server.root.exists()


def test_the_callers_environment_stays_outside(
    tmp_path: Path, stub: StubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVA_SECRET_OF_THE_CALLER", "1")
    monkeypatch.setenv("ANTHROPIC_MODEL", "the-callers-own")
    with ClaudeLab.start(tmp_path, stub, env={"NOVA_GIVEN": "2"}, wait_ready=False) as lab:
        lab.wait_for("❯")
        seen = [process.environ() for process in processes.living_in(lab.home)]
    assert seen
    assert all(environ.get("NOVA_GIVEN") == "2" for environ in seen)
    assert not any({"NOVA_SECRET_OF_THE_CALLER", "ANTHROPIC_MODEL"} & environ.keys() for environ in seen)


def test_a_hook_of_the_settings_is_told_the_prompt_and_the_pane(tmp_path: Path, stub: StubModel) -> None:
    told = tmp_path / "told.jsonl"
    script = tmp_path / "hook.py"
    script.write_text(
        "import json, os, sys\n"
        "line = {**json.load(sys.stdin), 'pane': os.environ['TMUX_PANE']}\n"
        f"print(json.dumps(line), file=open({str(told)!r}, 'a'))\n"
    )
    command = shlex.join([sys.executable, str(script)])
    hook = [{"hooks": [{"type": "command", "command": command}]}]
    with ClaudeLab.start(tmp_path, stub, settings={"hooks": {"UserPromptSubmit": hook}}) as lab:
        lab.submit("hello [[m-1]]")
        assert stub.wait_received("[[m-1]]") == 1
        line = json.loads(told.read_text())
        assert (line["prompt"], line["pane"]) == ("hello [[m-1]]", lab.pane)


def test_a_shell_remains_when_the_agent_was_started_in_one(tmp_path: Path, stub: StubModel) -> None:
    with ClaudeLab.start(tmp_path, stub, in_shell=True) as lab:
        lab.submit("/exit")
        lab.wait_for(lambda _: lab.server.value(lab.pane, "pane_current_command") == "bash")
        assert lab.server.value(lab.pane, "pane_dead") == "0"


def test_a_prompt_queued_while_a_tool_waits_for_permission_is_received_once(
    tmp_path: Path, stub: StubModel
) -> None:
    stub.mode, stub.delay_s = "tool", 2.0
    with ClaudeLab.start(tmp_path, stub) as lab:
        lab.submit("USETOOL [[m-1]]")
        assert stub.wait_received("[[m-1]]") == 1
        lab.submit("meanwhile [[m-2]]")
        lab.wait_for("Esc to cancel")
        stub.delay_s = 0.0
        lab.server.press(lab.pane, "Enter")
        lab.wait_for("STUB-OK")
        assert (stub.received("[[m-1]]"), stub.received("[[m-2]]")) == (1, 1)
        assert stub.prompts() == ["USETOOL [[m-1]]", "meanwhile [[m-2]]"]


def test_a_tool_needs_permission(tmp_path: Path, stub: StubModel) -> None:
    stub.mode = "tool"
    with ClaudeLab.start(tmp_path, stub) as lab:
        lab.submit("USETOOL [[m-1]]")
        lab.wait_for("Esc to cancel")
        assert not (tmp_path / "toolran").exists()
        lab.server.press(lab.pane, "Enter")
        lab.wait_for("STUB-OK")
        assert (tmp_path / "toolran").exists()
