"""The library on a machine without a daemon: straight at the broker, exactly once, and honest about it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch import AgentRegistry, AsyncNovaOrchestrator, NovaOrchestrator, SystemMonitor
from nova_torch.errors import (
    AgentNotFound,
    BodyEmpty,
    DaemonUnreachable,
    InvalidRequest,
    InvalidText,
    MailboxFull,
    MessageNotFound,
    TimedOut,
)
from nova_torch.ulid import new_ulid
from nova_torch.values import Receipt
from tests.support.aio import run
from tests.support.node import ROOT, until
from tests.support.office import ANSWER, NOWHERE, Office, at_home, direct, office


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("direct")) as made:
        yield made


@pytest.fixture(autouse=True)
def clean(site: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(site, monkeypatch)


def test_a_message_is_queued_in_the_broker_and_its_receipts_come_back(site: Office) -> None:
    assert direct(site).send_message("agent_123", "first of all").state == "queued"
    receipt = direct(site).send_message("agent_123", "straight to you", wait="submitted", timeout_s=20)
    assert (receipt.state, receipt.agent, receipt.node) == ("submitted", "agent_123", "test-node")
    assert receipt.final
    assert receipt.delivered
    assert set(receipt.timings_ms) >= {"queued", "submitted"}
    assert site.typed("straight to you\r") == 1
    hops = [hop["state"] for hop in direct(site).trace(receipt.id)["hops"]]
    assert hops[-1] == "submitted"
    assert direct(site).receipt(receipt.id).state == "submitted"  # another process may ask too


def test_sent_again_with_its_id_it_is_typed_once_on_whichever_way(site: Office) -> None:
    message = new_ulid()
    for nova in (direct(site), direct(site), NovaOrchestrator(socket=site.node.socket), direct(site)):
        receipt = nova.send_message(
            "agent_123", "once on every way", message_id=message, wait="submitted", timeout_s=20
        )
        assert receipt.state == "submitted"
    assert site.typed("once on every way\r") == 1


def test_an_unknown_agent_is_an_error_with_the_nearest_name(site: Office) -> None:
    with pytest.raises(AgentNotFound, match="Did you mean agent_123"):
        direct(site).send_message("agent_132", "hello")


@pytest.mark.parametrize(
    ("target", "body", "error"),
    [
        ("agent_123", "", BodyEmpty),
        ("agent_123", b"\xff\xfe", InvalidText),
        ("agent_123", "\ud800", InvalidText),
        ("agent_123", 7, InvalidRequest),
        (None, "hello", InvalidRequest),
        ("work:0.1", "hello", InvalidRequest),
        ("no such name!", "hello", InvalidRequest),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    site: Office, target: str, body: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        direct(site).send_message(target, body)
    assert str(refused.value).count("\n") == 0


def test_a_request_gets_the_answer_and_its_sender_knows_that_it_was_taken(site: Office) -> None:
    reply = direct(site).ask("reviewer", "is it safe without a daemon?", timeout_s=40)
    assert (reply.body, reply.sender) == (ANSWER, "reviewer")
    assert site.asked("is it safe without a daemon?") == 1
    taken = site.node.wait_state(reply.id, "acknowledged")
    assert taken["reason"] == "taken by the program that asked"
    assert direct(site).answer(reply.question).body == ANSWER  # kept for whoever knows the id
    again = direct(site).request(
        "reviewer", "is it safe without a daemon?", message_id=reply.question, timeout_s=40
    )
    assert again == ANSWER
    assert site.asked("is it safe without a daemon?") == 1


def test_a_request_that_runs_out_is_answered_later_to_who_knows_its_id(site: Office) -> None:
    site.node.call("pause", {"agent_id": "reviewer"})
    try:
        with pytest.raises(TimedOut, match="goes on") as ran_out:
            direct(site).request("reviewer", "a patient question", timeout_s=0.8)
        question = ran_out.value.message_id
        with pytest.raises(MessageNotFound, match="still come"):
            direct(site).answer(question)
    finally:
        site.node.call("resume", {"agent_id": "reviewer"})
    assert direct(site).task_result(question, timeout_s=40).body == ANSWER


def test_a_broadcast_is_one_message_an_agent_and_once_each(site: Office) -> None:
    group = new_ulid()
    for _ in range(2):
        receipts = direct(site).broadcast("stand-up at ten", wait="submitted", timeout_s=30, message_id=group)
        assert [(r.agent, r.delivered) for r in receipts] == [("agent_123", True), ("reviewer", True)]
        assert len({r.id for r in receipts}) == 2
    assert site.typed("stand-up at ten\r") == 1
    assert site.asked("stand-up at ten") == 1
    with pytest.raises(AgentNotFound, match="Did you mean developer"):
        direct(site).broadcast("hello", role="developr")


def test_many_wait_at_once(site: Office) -> None:
    async def all_of_them() -> list[Receipt]:
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:
            sends = (
                nova.send_message("agent_123", f"many {n:02}", wait="submitted", timeout_s=30)
                for n in range(30)
            )
            return await asyncio.gather(*sends)

    assert all(receipt.delivered for receipt in run(all_of_them(), 45))
    assert [site.typed(f"many {n:02}\r") for n in range(30)] == [1] * 30


def test_sent_on_both_ways_at_the_same_moment_it_is_typed_once_and_both_know(site: Office) -> None:
    async def both_ways() -> None:
        async with (
            AsyncNovaOrchestrator(socket=site.node.socket) as through,
            AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as past,
        ):
            await asyncio.gather(through.agents(), past.agents())  # connected, so that the moments are near
            for n in range(30):
                message, body = new_ulid(), f"both ways {n:02}"
                options: dict[str, Any] = {"message_id": message, "wait": "submitted", "timeout_s": 20}

                async def later(
                    body: str = body, pause_s: float = n * 0.0004, options: Any = options
                ) -> Receipt:
                    await asyncio.sleep(pause_s)  # not for something to happen: the moments are to differ
                    return await through.send_message("agent_123", body, **options)

                receipts = await asyncio.gather(later(), past.send_message("agent_123", body, **options))
                assert all(receipt.delivered for receipt in receipts)
                assert site.typed(f"{body}\r") == 1

    run(both_ways(), 60)


def test_sent_without_the_daemon_behind_the_same_with_it_is_told_of_too(site: Office) -> None:
    async def both_ways() -> None:
        async with (
            AsyncNovaOrchestrator(socket=site.node.socket) as through,
            AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as past,
        ):
            message = new_ulid()
            site.node.call("pause", {"agent_id": "agent_123"})
            await through.send_message("agent_123", "first with it", message_id=message)
            await asyncio.to_thread(site.node.wait_state, message, "held")
            await past.send_message("agent_123", "first with it", message_id=message)
            told = past.follow(message, "submitted")
            assert (await anext(told)).state == "queued"
            site.node.call("resume", {"agent_id": "agent_123"})
            assert [receipt.delivered async for receipt in told][-1]
            assert site.typed("first with it\r") == 1

    run(both_ways(), 60)


def test_agents_are_found_in_the_registry_of_the_broker(site: Office) -> None:
    registry = AgentRegistry(socket=NOWHERE, broker=site.broker)
    until(
        lambda: registry.find_available_agents(role="developer", skills=["python"]), what="an idle developer"
    )
    (found,) = registry.find_available_agents(role="developer", skills=["sql", "python"])
    with_daemon = AgentRegistry(socket=site.node.socket).get_agent("agent_123")
    assert (found.agent_id, found.role, found.skills, found.node) == (
        with_daemon.agent_id, with_daemon.role, with_daemon.skills, with_daemon.node,
    )  # fmt: skip
    assert registry.find_available_agents(role="developer", skills=["cobol"]) == []
    presence = registry.ping("agent_123")
    assert (presence.kind, presence.node, presence.alive) == ("agent", "test-node", True)
    assert registry.ping("node:test-node").state == "up"
    with pytest.raises(AgentNotFound, match="reviewer"):
        registry.ping("reviewr")


def test_health_without_a_daemon_says_so_and_looks_at_the_broker(site: Office) -> None:
    health = SystemMonitor(socket=NOWHERE, broker=site.broker).get_system_health()
    assert health.status == "fail"
    assert {check.name: check.status.value for check in health.checks} == {
        "daemon": "fail",
        "broker": "ok",
        "registry": "ok",
    }


def test_what_only_a_daemon_can_do_is_said_so(site: Office) -> None:
    with pytest.raises(DaemonUnreachable, match="schedules are kept by daemons"):
        direct(site).schedule("agent_123", "later", in_s=60)


def test_a_full_mailbox_is_an_error_and_nothing_is_dropped(
    site: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVA_BROKER_MAILBOX_LIMIT", "1")
    assert site.node.process is not None
    os.kill(site.node.process.pid, signal.SIGSTOP)  # nobody reads the mailbox meanwhile
    try:
        direct(site).send_message("agent_123", "the one that fits")
        with pytest.raises(MailboxFull, match="is full") as full:
            direct(site).send_message("agent_123", "the one too many")
    finally:
        os.kill(site.node.process.pid, signal.SIGCONT)
    monkeypatch.delenv("NOVA_BROKER_MAILBOX_LIMIT")
    again = direct(site).send_message(
        "agent_123", "the one too many", message_id=full.value.message_id, wait="submitted", timeout_s=20
    )
    assert again.delivered
    assert (site.typed("the one that fits\r"), site.typed("the one too many\r")) == (1, 1)


def test_neither_daemon_nor_broker_is_one_error_with_the_id_for_another_try(site: Office) -> None:
    with pytest.raises(DaemonUnreachable) as nobody:
        NovaOrchestrator(socket=NOWHERE, broker="unix:///tmp/nova-no-such-broker").send_message(
            "agent_123", "not lost"
        )
    sentence = str(nobody.value)
    assert NOWHERE in sentence
    assert "nova-no-such-broker" in sentence
    assert "Nothing was sent or asked" in sentence
    receipt = direct(site).send_message(
        "agent_123", "not lost", message_id=nobody.value.message_id, wait="submitted", timeout_s=20
    )
    assert receipt.delivered
    assert site.typed("not lost\r") == 1


def test_a_broker_that_stops_for_a_while_loses_no_receipt(site: Office) -> None:
    pid = int((site.node.state / "broker" / "broker.pid").read_text())

    async def through() -> Receipt:
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:
            message = nova.compose("agent_123", "through a pause")
            found: Receipt | None = None
            async for found in nova.updates(message, "submitted"):
                if found.state == "queued":
                    os.kill(pid, signal.SIGSTOP)
                    asyncio.get_running_loop().call_later(1.0, os.kill, pid, signal.SIGCONT)
            assert found is not None
            return found

    try:
        assert run(through(), 60).delivered
    finally:
        os.kill(pid, signal.SIGCONT)
    assert site.typed("through a pause\r") == 1


def test_a_program_finds_the_broker_by_the_environment(site: Office) -> None:
    env = {
        **site.node.environment,
        "NOVA_SOCKET": NOWHERE,
        "NOVA_BROKER_URL": site.broker,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "nova_torch.communication.send_message", "agent_123", "by the way",
         "--wait", "submitted"],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "submitted"
    assert site.typed("by the way\r") == 1


# the last: it kills the daemon


def test_a_killed_daemon_leaves_its_broker_and_what_is_sent_then_is_typed_once_by_the_next(
    site: Office, tmp_path: Path
) -> None:
    site.node.kill()
    nova = NovaOrchestrator()  # as a program that knows nothing of this
    receipt = nova.send_message("agent_123", "while you were away")
    assert receipt.state == "queued"
    assert nova.ping("agent_123").node == "test-node"
    site.node.start()
    site.node.wait_up()
    nova.send_message("agent_123", "while you were away", message_id=receipt.id)
    site.node.wait_state(receipt.id, "submitted")
    assert site.typed("while you were away\r") == 1
