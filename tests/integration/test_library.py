"""The library as a program uses it: a real node, a pane, and a receipt object."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from nova_torch import AsyncNovaOrchestrator, NovaOrchestrator, Receipt
from nova_torch.errors import AgentNotFound, BodyTooLarge, DaemonUnreachable, InvalidRequest, TimedOut
from tests.support.aio import run
from tests.support.node import TestNode, node


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[TestNode, str]]:
    with node() as made:
        log = made.tmux.root / "log"
        pane = made.tmux.open_program("rawlog.py", [str(log)])
        made.tmux.wait_for(pane, "READY")
        made.register("agent_123", pane)
        yield made, str(log)


def test_a_script_sends_and_gets_a_receipt(site: tuple[TestNode, str]) -> None:
    made, log = site
    script = (
        "from nova_torch.communication import NovaOrchestrator\n"
        "receipt = NovaOrchestrator().send_message('agent_123', 'Task assignment: implement auth',"
        " wait='submitted', timeout_s=20)\n"
        "print(receipt.id, receipt.state, receipt.agent, receipt.delivered)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=made.environment,
        cwd=made.state,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    message_id, state, agent, delivered = done.stdout.split()
    assert (state, agent, delivered) == ("submitted", "agent_123", "True")
    with open(log, "rb") as file:
        assert b"Task assignment: implement auth\r" in file.read()
    assert NovaOrchestrator(socket=made.socket).trace(message_id)["hops"][0]["state"] == "accepted"


def test_without_waiting_the_receipt_says_accepted(site: tuple[TestNode, str]) -> None:
    made, _ = site
    receipt = NovaOrchestrator(socket=made.socket).send_message("agent_123", "hello")
    assert isinstance(receipt, Receipt)
    assert receipt.state == "accepted"
    assert not receipt.delivered


def test_the_same_id_is_the_same_message(site: tuple[TestNode, str]) -> None:
    made, log = site
    nova = NovaOrchestrator(socket=made.socket)
    first = nova.send_message("agent_123", "only once, please", wait="submitted", timeout_s=20)
    again = nova.send_message(
        "agent_123", "only once, please", message_id=first.id, wait="submitted", timeout_s=20
    )
    assert again.id == first.id
    with open(log, "rb") as file:
        assert file.read().count(b"only once, please") == 1


def test_several_messages_go_over_one_connection(site: tuple[TestNode, str]) -> None:
    made, _ = site

    async def several() -> list[Receipt]:
        async with AsyncNovaOrchestrator(socket=made.socket) as nova:
            return [await nova.send_message("agent_123", f"number {n}", wait="submitted") for n in range(5)]

    assert [receipt.state for receipt in run(several())] == ["submitted"] * 5


def test_an_unknown_agent_is_an_error_with_the_nearest_name(site: tuple[TestNode, str]) -> None:
    with pytest.raises(AgentNotFound, match="agent_123"):
        NovaOrchestrator(socket=site[0].socket).send_message("agent_124", "hello")


def test_a_body_that_is_too_large_is_refused_before_anything_is_asked(site: tuple[TestNode, str]) -> None:
    with pytest.raises(BodyTooLarge):
        NovaOrchestrator(socket="/nowhere/at/all").send_message("agent_123", "x" * (1 << 21))


def test_a_wait_that_runs_out_says_so_and_the_message_goes_on(site: tuple[TestNode, str]) -> None:
    made, log = site
    made.call("pause", {"agent_id": "agent_123"})
    with pytest.raises(TimedOut, match="goes on"):
        NovaOrchestrator(socket=made.socket).send_message(
            "agent_123", "a patient one", wait="submitted", timeout_s=0.5
        )
    made.call("resume", {"agent_id": "agent_123"})
    made.send_wait("agent_123", "the next")
    with open(log, "rb") as file:
        assert file.read().count(b"a patient one\r") == 1


def test_no_daemon_is_said_with_the_cure() -> None:
    with pytest.raises(DaemonUnreachable, match="novactl up"):
        NovaOrchestrator(socket="/tmp/nova-no-such.sock").agents()


def test_inside_an_event_loop_the_synchronous_face_names_the_other_one(site: tuple[TestNode, str]) -> None:
    async def wrong() -> None:
        NovaOrchestrator(socket=site[0].socket).agents()

    with pytest.raises(InvalidRequest, match="AsyncNovaOrchestrator"):
        run(wrong())
