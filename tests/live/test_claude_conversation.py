"""A real Claude Code is asked, answers with its own novactl, and asks in turn."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nova_torch.ulid import new_ulid
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.agents import Raw, raw
from tests.support.node import until
from tests.support.talkers import asking

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), needs(ClaudeLab)]

SETTINGS = {"permissions": {"allow": ["Bash(novactl:*)"]}}
ENV = {"PATH": str(Path(sys.executable).parent)}
QUESTIONS = 5


def asked_of(lines: Raw) -> list[dict[str, Any]]:
    return list(lines.node.call("inbox", {"agent": lines.name, "unanswered": True}))


def answer_as_a_person_would(claude: ClaudeNode, number: int) -> None:
    question = new_ulid()
    order = f"RUN<<novactl reply {question} 'pong {number}'>> [[q-{number}]]"
    with asking(claude.node, claude.name, order, "--id", question, "--timeout", "60s") as waiting:
        out, err = waiting.communicate(timeout=70)
    assert (waiting.returncode, out) == (0, f"pong {number}\n"), err
    assert claude.received(f"[[q-{number}]]") == 1
    states = [hop["state"] for hop in claude.node.call("trace", {"id": question})["hops"]]
    assert "replied" in states
    assert claude.node.receipt(question)["state"] == "replied"


def test_claude_answers_what_it_is_asked_with_its_own_novactl() -> None:
    with claude_node(hooked=True, settings=SETTINGS, env=ENV) as claude:
        claude.stub.mode = "tool"
        for number in range(QUESTIONS):
            answer_as_a_person_would(claude, number)
        head = next(p for p in claude.stub.prompts() if "[[q-0]]" in p).partition("\n")[0]
        assert head.startswith("[nova ")
        assert "] Answer with: novactl reply " in head
        kept = json.loads(claude.node.novactl("inbox", "--replies", "--json").stdout)
        assert [row["body"] for row in kept] == [f"pong {number}" for number in range(QUESTIONS)]
        assert json.loads(claude.node.novactl("inbox", claude.name, "--unanswered", "--json").stdout) == []


@pytest.mark.long
def test_claude_asks_and_reads_the_answer_once(tmp_path: Path) -> None:
    with claude_node(hooked=True, settings=SETTINGS, env=ENV) as claude:
        claude.stub.mode = "tool"
        claude.node.tmux = claude.lab.server  # its neighbour lives on the tmux server that the node serves
        lines = raw(claude.node, tmp_path, "lines")
        claude.send("RUN<<novactl ask lines 'what is the word?' --timeout 60s>>")
        (question,) = until(lambda: asked_of(lines), 30, "claude's question")
        assert (question["sender"], question["body"]) == (claude.name, "what is the word?")
        claude.node.call("reply", {"question": question["id"], "body": "[[swordfish]]", "sender": "lines"})
        claude.wait_idle()
        answer = claude.node.wait_state(question["id"], "replied")["reason"]
        assert "read by the program" in claude.node.wait_state(answer, "acknowledged")["reason"]
        time.sleep(1.0)  # nothing comes into the pane after it
        assert claude.received("[[swordfish]]") == 0  # as a prompt; the tool's result has it
        # without an ask that waits, the answer is typed into Claude's pane
        later = str(claude.node.send("lines", "and later?", sender=claude.name, answer="wanted")["id"])
        until(lambda: later in {row["id"] for row in asked_of(lines)}, 20, "the second question")
        claude.node.call("reply", {"question": later, "body": "[[herring]]", "sender": "lines"})
        claude.wait_received("[[herring]]")
        head = next(p for p in claude.stub.prompts() if "[[herring]]" in p).partition("\n")[0]
        assert head.endswith(f"from lines, answers {later}]")
