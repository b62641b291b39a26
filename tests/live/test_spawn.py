"""Every real agent is spawned, told things at once, restarted, killed, stopped; the model gets each thing once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.verdicts import Ended, Sent, judged
from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.arrived import arrived, asked
from tests.lab.claude import ClaudeLab
from tests.lab.codex import CodexLab
from tests.lab.gemini import GeminiLab
from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import needs
from tests.live.spawned import CONVERSATIONS, READY_S, stage
from tests.support.node import until

PATIENT = {"NOVA_LIFE_TRIES": "100", "NOVA_LIFE_BACK_OFF_MOST_S": "1"}
KINDS: tuple[type[AgentLab], ...] = (ClaudeLab, CodexLab, GeminiLab, OpencodeLab, AiderLab)

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]
EACH = pytest.mark.parametrize(
    "lab", [pytest.param(lab, id=lab.kind.name, marks=needs(lab)) for lab in KINDS]
)


@EACH
def test_a_prompt_and_a_message_of_the_same_second_arrive_once_and_a_stop_archives(
    lab: type[AgentLab],
) -> None:
    with stage(lab) as agent:
        prompt = "[[first]] $(touch x) 'one' \"two\" `touch x` ${HOME}"
        message = agent.spawn_and_send("[[second]] in the same second", prompt=prompt)
        agent.wait_proven(message)
        agent.wait_received("[[first]]", "[[second]]")
        assert not (agent.directory / "x").exists()
        agent.wait_idle()

        answer = agent.node.call("stop_agent", {"agent_id": agent.name}, 60)
        archive = Path(answer["archive"])
        # one that draws over the whole screen takes that with it when it ends
        assert "[[second]]" in (archive / "before.txt").read_text()
        told = json.loads((archive / "summary.json").read_text())
        assert told["ended"] == answer["ended"]
        assert told["messages"] == {"failed": 0, "submitted": 0, "unconfirmed": 0}
        assert agent.node.call("agents") == []
        until(lambda: not agent.processes(), 10, f"the end of {agent.processes()}")


@needs(CodexLab)
def test_no_message_meets_the_dialog_for_hooks_that_nobody_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    def untrusted(home: Path, settings: Mapping[str, Any]) -> None:
        (home / ".codex" / "hooks.json").write_text(json.dumps(settings), encoding="utf-8")

    monkeypatch.setattr(CodexLab, "settle", untrusted)
    with stage(CodexLab) as agent:
        with Client.connect(agent.node.socket, 10.0) as client:
            steps = client.stream("spawn", agent.args(), READY_S)
            assert next(steps)["step"] == "started"
            message = agent.send("[[early]] are you there?")  # its first box comes before the dialog
            with pytest.raises(NovaError, match="waits at its dialog 'hooks'"):
                list(steps)
        pane = agent.record()["pane"]
        assert agent.node.wait_state(message, "held")["reason"] == "dialog"
        assert "[[early]]" not in agent.node.tmux.capture(pane)
        agent.node.tmux.press(pane, "3")  # a person goes on without trusting them
        agent.node.wait_state(message, "submitted")
        agent.wait_received("[[early]]")
        assert "trusted_hash" not in (agent.home / ".codex" / "config.toml").read_text()


@pytest.mark.long
@EACH
def test_a_restart_goes_on_with_the_queue_and_the_conversation(lab: type[AgentLab]) -> None:
    with stage(lab) as agent:
        agent.wait_proven(agent.spawn_and_send("[[one]] remember this"))
        agent.wait_received("[[one]]")
        agent.wait_idle()
        resumes = lab.kind.name in CONVERSATIONS
        if resumes:
            agent.wait_kept("[[one]]")
        pane = agent.record()["pane"]
        agent.node.call("pause", {"agent_id": agent.name})
        held = [agent.send(f"[[held-{n}]] over the restart") for n in range(3)]
        agent.node.wait_state(held[0], "held")
        assert agent.steps("restart", agent_id=agent.name)[-1] == "ready"
        assert agent.record()["pane"] == pane
        assert agent.node.receipt(held[0])["reason"] == "paused"
        agent.node.call("resume", {"agent_id": agent.name})
        for message in held:
            agent.wait_proven(message)
        agent.wait_received("[[one]]", *(f"[[held-{n}]]" for n in range(3)))
        if resumes:
            assert "[[one]]" in str(agent.stub.requests[-1].user_texts)


@pytest.mark.long
@EACH
def test_a_killed_agent_comes_back_and_what_waited_for_it_arrives_once(lab: type[AgentLab]) -> None:
    with stage(lab) as agent:
        agent.wait_proven(agent.spawn_and_send("[[one]] remember this", restart="on-failure"))
        agent.wait_received("[[one]]")
        agent.wait_idle()
        resumes = lab.kind.name in CONVERSATIONS
        if resumes:
            agent.wait_kept("[[one]]")
        before = set(agent.processes())
        agent.kill()
        sent = [agent.send(f"[[after-{n}]] a crash") for n in range(3)]
        for message in sent:
            held = agent.node.wait_state(message, "held", "queued", agent.proven)
            assert held["state"] != "held" or held["reason"] in ("no_agent", "starting")
        until(lambda: not before & set(agent.processes()), 10, f"the end of all of {before}")
        for message in sent:
            agent.wait_proven(message)
        agent.wait_received("[[one]]", *(f"[[after-{n}]]" for n in range(3)))
        if resumes:
            assert "[[one]]" in str(agent.stub.requests[-1].user_texts)


@pytest.mark.long
@EACH
def test_an_agent_that_is_killed_at_work_gets_nothing_twice_and_nothing_is_claimed_for_it(
    lab: type[AgentLab],
) -> None:
    with stage(lab, env=PATIENT) as agent:
        sent = [Sent(id=agent.spawn_and_send("[[m-0]] go", restart="always"), agent="", marker="[[m-0]]")]
        ended: list[Ended] = []
        for number in range(1, 7):
            agent.stub.delay_s = 1.5
            for more in "ab":
                marker = f"[[m-{number}{more}]]"
                sent.append(Sent(id=agent.send(f"{marker} go on"), agent="", marker=marker))
            time.sleep(
                0.3 * number
            )  # the moment is what is tested: between the paste and the end of the turn
            now_ms = time.time_ns() // 1_000_000
            agent.kill()
            ended.append(Ended(agent="", how="kill -9", began_ms=now_ms, ended_ms=now_ms + 1000))
            agent.stub.delay_s = 0.0
            for one in sent:
                until(lambda: agent.node.receipt(one.id)["final"], READY_S, f"the end of {one}")  # noqa: B023
            agent.wait_idle()
        traces = {one.id: agent.node.call("trace", {"id": one.id}) for one in sent}

        def wrong() -> list[tuple[str, str, str]]:
            requests = agent.stub.requests
            rows = judged(sent, ended, traces, {"": arrived(requests)}, {"": asked(requests)})
            return [(row.sent.marker, row.wrong, row.told) for row in rows if row.wrong]

        with contextlib.suppress(AssertionError):  # what was typed last may be on its way to the model
            until(lambda: not wrong(), 20)
        time.sleep(1.0)  # what came twice would come now
        assert wrong() == []
