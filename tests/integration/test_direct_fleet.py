"""Without a daemon on this machine: what the nodes of the fleet answer through the broker, and what without any."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from nova_torch import (
    AgentRegistry,
    AsyncAgentRegistry,
    AsyncNovaOrchestrator,
    Event,
    NovaOrchestrator,
    Reply,
)
from nova_torch.broker import Broker
from nova_torch.communication.direct import Endpoint
from nova_torch.errors import (
    Conflict,
    DaemonUnreachable,
    InvalidRequest,
    MessageNotFound,
    NotAllowed,
    NotFound,
    NovaError,
)
from nova_torch.history import MessageRecord
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentState
from tests.support.aio import run
from tests.support.node import until
from tests.support.office import ANSWER, NOWHERE, Office, at_home, direct, office
from tests.support.servers import PASSWORD, own_server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(autouse=True)
def clean(site: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(site, monkeypatch)


def registry(site: Office) -> AgentRegistry:
    return AgentRegistry(socket=NOWHERE, broker=site.broker)


@pytest.fixture
def places(site: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The places in the broker that programs take from here on; in the end nothing is left in them."""
    taken: list[str] = []

    def noted(clock_ms: int | None = None) -> str:
        made = new_ulid() if clock_ms is None else new_ulid(clock_ms)
        taken.append(Endpoint.of(made).node)
        return made

    for module in ("asker", "fleet_watch"):
        monkeypatch.setattr(f"nova_torch.communication.{module}.new_ulid", noted)
    yield taken

    async def left() -> list[str]:
        async with await Broker.connect(site.broker) as broker:
            return [
                place
                for place in taken
                if await broker.bells(place, block_s=0.01) or await broker.mail(place, block_s=0.001)
            ]

    assert taken
    assert run(left(), 20) == []


def test_a_history_is_that_of_every_node_and_of_what_waits(site: Office) -> None:
    through = site.node.send("agent_123", "told to the node")
    site.node.wait_state(through["id"], "submitted")
    straight = direct(site).send_message("agent_123", "told to the broker", wait="submitted", timeout_s=20)
    rows = {row.id: row for row in direct(site).history(agent="agent_123", limit=1000)}
    assert (rows[through["id"]].state, rows[through["id"]].body) == ("submitted", "told to the node")
    assert (rows[straight.id].state, rows[straight.id].sender) == ("submitted", rows[through["id"]].sender)
    assert [row.id for row in direct(site).history(limit=1)] == [max(rows)]
    assert direct(site).history(sender="nobody-at-all") == []
    with pytest.raises(InvalidRequest, match="from 1 to 1000"):
        direct(site).history(limit=0)


@pytest.mark.usefixtures("places")
def test_a_message_without_a_daemon_is_answered_without_one_and_the_answer_is_taken(site: Office) -> None:
    task = direct(site).send_message(
        "agent_123", "count the files", kind="task", wait="submitted", timeout_s=20
    )
    with pytest.raises(NotAllowed, match="was sent to agent_123, not to user:"):
        direct(site).reply(task.id, "not mine to give")
    reply = new_ulid()
    for _ in range(2):  # the same id is the same answer
        receipt = direct(site).reply(task.id, "there are 7", sender="agent_123", message_id=reply)
        assert (receipt.id, receipt.state) == (reply, receipt.state)
    assert direct(site).task_result(task.id, timeout_s=20).body == "there are 7"
    with pytest.raises(Conflict, match="answered already"):
        direct(site).reply(task.id, "there are 8", sender="agent_123")
    with pytest.raises(MessageNotFound, match="no node that lives has received"):
        direct(site).reply(new_ulid(), "to nobody", sender="agent_123")


def test_a_question_asked_through_the_daemon_is_answered_without_one(site: Office) -> None:
    question = site.node.send("agent_123", "which branch?", answer="wanted")["id"]
    site.node.wait_state(question, "submitted")
    direct(site).reply(question, "main", sender="agent_123")
    site.node.wait_state(question, "replied")
    assert NovaOrchestrator(socket=site.node.socket).answer(question).body == "main"


@pytest.mark.usefixtures("places")
def test_events_come_through_the_broker_each_once_and_without_what_panes_show(site: Office) -> None:
    async def watching() -> list[Event]:
        seen: list[Event] = []
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:
            started = asyncio.Event()
            nova.on_event(seen.append)
            listener = asyncio.create_task(nova.listen())
            nova.on_event(lambda _: started.set())
            while not started.is_set():  # whatever it does: the first event says that it is listened to
                await asyncio.to_thread(site.node.call, "pause", {"agent_id": "agent_123"})
                await asyncio.to_thread(site.node.call, "resume", {"agent_id": "agent_123"})
                await asyncio.sleep(0.05)
            for n in range(20):
                await nova.send_message("agent_123", f"watched {n}", wait="submitted", timeout_s=20)
            last, heard = new_ulid(), asyncio.Event()
            nova.on_message(lambda event: heard.set() if event.id == last else None, state="submitted")
            await nova.send_message("agent_123", "the last one", message_id=last)
            await asyncio.wait_for(heard.wait(), 20)
            listener.cancel()
            await asyncio.wait([listener])
        return seen

    seen = run(watching(), 90)
    done = [event.id for event in seen if event.event == "message.submitted"]
    assert len(done) == len(set(done)) >= 21
    states = [event for event in seen if event.event == "agent.state"]
    assert {event.agent for event in states} == {"agent_123"}
    assert all("shown" not in event.fields for event in seen)


def test_events_are_chosen_and_a_node_that_starts_anew_goes_on_telling(site: Office) -> None:
    async def watching() -> list[str]:
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:

            async def first_of(flow: AsyncGenerator[Event, None]) -> str:
                return (await anext(flow)).id

            flow = nova.events(agent="agent_123", state="submitted")
            async with aclosing(flow):
                found = asyncio.create_task(first_of(flow))
                sent: list[str] = []
                while not found.done():
                    sent.append(
                        (await nova.send_message("agent_123", "chosen", wait="submitted", timeout_s=20)).id
                    )
                    await asyncio.sleep(0.1)
                assert found.result() in sent
            return sent

    run(watching(), 40)
    site.node.stop()
    site.node.start()
    site.node.wait_up()
    run(watching(), 40)


def test_an_answer_comes_to_its_handler_without_a_daemon(site: Office) -> None:
    async def listening() -> list[Reply]:
        replies: list[Reply] = []
        two = asyncio.Event()
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:

            def keep(reply: Reply) -> None:
                replies.append(reply)
                if len(replies) == 2:
                    two.set()

            nova.on_reply(keep)
            before = await nova.assign_task("reviewer", "asked before it listens, no daemon")
            await nova.task_result(before.id, timeout_s=40)
            listener = asyncio.create_task(nova.listen())
            await nova.assign_task("reviewer", "asked while it listens, no daemon")
            await two.wait()
            listener.cancel()
            await asyncio.wait([listener])
        return replies

    assert [reply.body for reply in run(listening(), 60)] == [ANSWER, ANSWER]


def test_listening_goes_on_when_the_broker_was_killed(site: Office) -> None:
    async def listening() -> list[Reply]:
        replies: list[Reply] = []
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:
            heard, done = asyncio.Event(), asyncio.Event()
            nova.on_message(
                lambda event: heard.set() if event.agent == "agent_123" else None, state="submitted"
            )

            def keep(reply: Reply) -> None:
                replies.append(reply)
                done.set()

            nova.on_reply(keep)

            async def listened_to() -> None:
                heard.clear()
                while not heard.is_set():
                    await nova.send_message("agent_123", "is it heard?", wait="submitted", timeout_s=20)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(heard.wait(), 1)

            listener = asyncio.create_task(nova.listen())
            await listened_to()
            os.kill(int((site.node.state / "broker" / "broker.pid").read_text()), signal.SIGKILL)
            task, until_s = new_ulid(), asyncio.get_running_loop().time() + 30
            while True:  # the same id is the same task, however often it is tried
                try:
                    await nova.assign_task("reviewer", "asked after the broker was killed", task_id=task)
                    break
                except NovaError:
                    assert asyncio.get_running_loop().time() < until_s
                    await asyncio.sleep(0.1)
            await asyncio.wait_for(done.wait(), 40)
            await listened_to()
            assert not listener.done()
            listener.cancel()
            await asyncio.wait([listener])
        return replies

    assert [reply.body for reply in run(listening(), 90)] == [ANSWER]


def test_the_plain_face_listens_too(site: Office) -> None:
    nova = direct(site)
    replies: list[Reply] = []
    nova.on_reply(replies.append)
    nova.assign_task("reviewer", "by the plain face")

    def listened() -> bool:
        nova.listen(timeout_s=2.0)
        return bool(replies)

    until(listened, 45, "the answer")
    assert [reply.body for reply in replies] == [ANSWER]


def test_an_agent_is_started_on_the_node_that_fits_or_is_named(site: Office, tmp_path: Path) -> None:
    record = registry(site).spawn(
        "calculator",
        ["sums"],
        driver="line",
        command=[sys.executable, "-i"],
        cwd=str(tmp_path),
        agent_id="calc-1",
    )
    try:
        assert (record.agent_id, record.node, record.skills) == ("calc-1", "test-node", ("sums",))
        assert direct(site).send_message("calc-1", "1 + 1", wait="submitted", timeout_s=30).delivered
        with pytest.raises(Conflict, match="an agent calc-1 already"):
            registry(site).spawn("calculator", driver="line", command=["python3", "-i"], agent_id="calc-1")
    finally:
        site.node.call("stop_agent", {"agent_id": "calc-1", "force": True}, timeout_s=30)
    with pytest.raises(NotFound, match="no node 'tset-node'") as unknown:
        registry(site).spawn("calculator", driver="line", command=["python3", "-i"], node="tset-node")
    assert unknown.value.hint == "Did you mean test-node?"
    with pytest.raises(NovaError, match="lime") as refused:
        registry(site).spawn("calculator", driver="lime")
    assert refused.value.hint == "Did you mean line?"
    with pytest.raises(NovaError, match="nothing-of-the-kind"):
        registry(site).spawn("calculator", driver="line", command=["nothing-of-the-kind"])


def test_the_registry_is_watched_in_the_broker(site: Office) -> None:
    async def watching() -> list[tuple[str, str, str]]:
        seen: list[tuple[str, str, str]] = []
        async with AsyncAgentRegistry(socket=NOWHERE, broker=site.broker) as agents:
            flow = agents.watch(role="developer")
            async with aclosing(flow):
                async for event, record in flow:
                    seen.append((event, record.agent_id, record.state))
                    if event == "here":
                        await asyncio.to_thread(site.node.call, "pause", {"agent_id": "agent_123"})
                    elif record.state is AgentState.PAUSED:
                        break
        return seen

    try:
        seen = run(watching(), 30)
    finally:
        site.node.call("resume", {"agent_id": "agent_123"})
    assert [(event, name) for event, name, _ in seen[:2]] == [("here", "agent_123"), ("changed", "agent_123")]


def test_a_node_that_does_not_answer_is_an_error_and_no_half_history(
    site: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = direct(site).send_message("agent_123", "it is in the history")
    until(lambda: direct(site).receipt(sent.id).delivered, 45, "its delivery")
    monkeypatch.setattr("nova_torch.communication.asker.UNHEARD_S", 1.0)
    assert site.node.process is not None
    os.kill(site.node.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(NovaError, match="node test-node has not answered within 1 s") as silent:
            direct(site).history()
        assert silent.value.code == "timed_out"
    finally:
        os.kill(site.node.process.pid, signal.SIGCONT)
    assert [one.id for one in direct(site).history(limit=1)] == [sent.id]


def test_another_process_knows_at_once_what_was_queued(site: Office) -> None:
    assert site.node.process is not None
    os.kill(site.node.process.pid, signal.SIGSTOP)  # nobody else has told anything of it yet
    try:
        sent = direct(site).send_message("agent_123", "known at once")
        assert direct(site).receipt(sent.id).state == "queued"
        assert [hop["state"] for hop in direct(site).trace(sent.id)["hops"]] == ["queued"]
        with pytest.raises(MessageNotFound):
            direct(site).receipt(new_ulid())
    finally:
        os.kill(site.node.process.pid, signal.SIGCONT)
    until(lambda: direct(site).receipt(sent.id).delivered, 45, "its delivery")


def test_a_server_without_any_node_has_nothing_to_tell_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    monkeypatch.setenv("NOVA_BROKER_PASSWORD_FILE", str(password))
    with own_server() as server:
        url = server.url_of("default")
        nova = NovaOrchestrator(socket=NOWHERE, broker=url)
        assert nova.history() == []
        assert nova.history(agent="agent_123") == []
        nova.listen(timeout_s=1.5)  # nothing comes
        with pytest.raises(DaemonUnreachable, match="no node of the fleet lives"):
            nova.reply(new_ulid(), "yes")
        with pytest.raises(DaemonUnreachable, match="no node of the fleet lives"):
            AgentRegistry(socket=NOWHERE, broker=url).spawn("claude")


def test_a_message_that_waits_for_a_dead_node_is_in_the_history(site: Office) -> None:
    site.node.kill()
    try:
        sent = direct(site).send_message("agent_123", "while nobody reads")
        with contextlib.suppress(NovaError):  # its lease may hold for some seconds, and then it is asked
            direct(site).history(limit=1)
        rows = until(lambda: _history(site), 45, "the end of the lease")
        assert (rows[-1].id, rows[-1].state, rows[-1].body) == (sent.id, "queued", "while nobody reads")
    finally:
        site.node.start()
        site.node.wait_up()
    until(lambda: direct(site).receipt(sent.id).delivered, 45, "its delivery")
    assert site.typed("while nobody reads\r") == 1


def _history(site: Office) -> list[MessageRecord]:
    try:
        return direct(site).history(agent="agent_123")
    except NovaError:
        return []


def test_a_fleet_that_signs_answers_who_has_its_key_and_its_policy_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, policy = tmp_path / "key", tmp_path / "policy.toml"
    key.touch(mode=0o600)
    key.write_text(f"one {'ab' * 32}\n")
    policy.write_text('[[rule]]\ndeny = ["speak"]\nto = ["agent_123"]\nreason = "it speaks for itself"\n')
    env = {"NOVA_SIGNING_MODE": "require", "NOVA_SIGNING_KEY_FILE": str(key), "NOVA_POLICY_FILE": str(policy)}
    with office(tmp_path, env) as signing:
        at_home(signing, monkeypatch)
        nova = direct(signing)
        sent = nova.send_message("agent_123", "a signed task", kind="task", wait="submitted", timeout_s=20)
        assert [row.body for row in nova.history(agent="agent_123")] == ["a signed task"]
        with pytest.raises(NotAllowed, match="it speaks for itself"):
            nova.reply(sent.id, "in its name", sender="agent_123")
        monkeypatch.setenv("NOVA_SIGNING_MODE", "off")
        monkeypatch.delenv("NOVA_SIGNING_KEY_FILE")
        with pytest.raises(NotAllowed, match="signed"):
            direct(signing).history()
        with pytest.raises(NotAllowed, match="signed"):
            direct(signing).listen(timeout_s=5)
