"""The library with a daemon: groups, requests, tasks, handlers, pings, histories; and a daemon that dies."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nova_torch import (
    AgentRegistry,
    AsyncAgentRegistry,
    AsyncNovaOrchestrator,
    AsyncSystemMonitor,
    NovaOrchestrator,
    Reply,
    SystemMonitor,
)
from nova_torch.errors import (
    AgentNotFound,
    DaemonUnreachable,
    InvalidRequest,
    NotDelivered,
    NotFound,
    TimedOut,
)
from nova_torch.events import Event
from nova_torch.ulid import new_ulid
from tests.support.aio import run
from tests.support.node import ROOT, until
from tests.support.office import ANSWER, Office, at_home, office


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("office")) as made:
        yield made


@pytest.fixture(autouse=True)
def clean(site: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(site, monkeypatch)


def program(site: Office, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**site.node.environment, "PYTHONPATH": str(ROOT)},
        cwd=site.node.state,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_broadcast_has_a_receipt_for_each_agent(site: Office) -> None:
    group = new_ulid()
    nova = NovaOrchestrator()
    for _ in range(2):
        receipts = nova.broadcast("all hands at noon", wait="submitted", timeout_s=30, message_id=group)
        assert [(r.agent, r.delivered) for r in receipts] == [("agent_123", True), ("reviewer", True)]
    assert (site.typed("all hands at noon\r"), site.asked("all hands at noon")) == (1, 1)
    (one,) = nova.broadcast("python only", skills=["python", "sql"])
    assert one.agent == "agent_123"
    assert [r.agent for r in nova.broadcast("only here", node="test-node", sender="reviewer")] == [
        "agent_123"
    ]


def test_a_broadcast_says_of_each_how_far_it_came_in_time(site: Office) -> None:
    site.node.call("pause", {"agent_id": "reviewer"})
    try:
        receipts = NovaOrchestrator().broadcast("some are paused", wait="submitted", timeout_s=3)
    finally:
        site.node.call("resume", {"agent_id": "reviewer"})
    assert [(r.agent, r.state.value) for r in receipts] == [("agent_123", "submitted"), ("reviewer", "held")]


def test_a_request_returns_the_body_of_the_answer(site: Office) -> None:
    assert NovaOrchestrator().request("reviewer", "shall I merge?", timeout_s=40) == ANSWER


def test_a_task_has_an_id_and_its_answer_is_the_result(site: Office) -> None:
    nova, task = NovaOrchestrator(), new_ulid()
    assert nova.assign_task("reviewer", "review the lexer", task_id=task).id == task
    assert nova.assign_task("reviewer", "review the lexer", task_id=task).id == task
    assert nova.task_result(task, timeout_s=40).body == ANSWER
    assert site.asked("review the lexer") == 1
    quiet = nova.assign_task("agent_123", "no answer comes of this")
    until(lambda: AgentRegistry().get_agent("agent_123").current_task == quiet.id, what="its current task")
    assert AgentRegistry().get_agent("reviewer").current_task == ""
    with pytest.raises(TimedOut, match="has no result"):
        nova.task_result(quiet.id, timeout_s=0.5)
    late = nova.assign_task("agent_123", "too late anyway", ttl_s=0.001)
    with pytest.raises(NotDelivered, match="expired"):
        nova.task_result(late.id, timeout_s=20)


def test_handlers_hear_of_messages_and_get_the_answers(site: Office) -> None:
    async def listening() -> tuple[list[Event], list[Reply]]:
        events: list[Event] = []
        replies: list[Reply] = []
        async with AsyncNovaOrchestrator() as nova:
            nova.on_message(events.append, agent="reviewer", state="replied")
            done = asyncio.Event()

            async def keep(reply: Reply) -> None:
                replies.append(reply)
                done.set()

            nova.on_reply(keep)
            before = await nova.assign_task("reviewer", "asked before it listens")
            await nova.task_result(before.id, timeout_s=40)
            listener = asyncio.create_task(nova.listen())
            await done.wait()
            done.clear()
            await nova.assign_task("reviewer", "asked while it listens")
            await done.wait()
            listener.cancel()
            await asyncio.wait([listener])
        return events, replies

    events, replies = run(listening(), 60)
    assert [reply.body for reply in replies] == [ANSWER, ANSWER]
    assert [(event.event, event.agent, event.priority) for event in events] == [
        ("message.replied", "reviewer", "normal")
    ]
    assert events[0].sender.startswith("user:")


def test_what_a_handler_raises_ends_the_listening(site: Office) -> None:
    async def wrong() -> None:
        async with AsyncNovaOrchestrator() as nova:

            def handler(_: Event) -> None:
                raise ValueError("of the handler")

            nova.on_message(handler)
            listener = asyncio.create_task(nova.listen())
            while not listener.done():
                await nova.send_message("agent_123", "for the handler")
                await asyncio.wait([listener], timeout=0.2)
            await listener

    with pytest.raises(ValueError, match="of the handler"):
        run(wrong())


def test_listening_ends_with_its_time(site: Office) -> None:
    NovaOrchestrator().listen(timeout_s=0.2)


def test_a_ping_is_the_word_of_the_daemon(site: Office) -> None:
    nova = NovaOrchestrator()
    presence = nova.ping("agent_123")
    assert (presence.kind, presence.node, presence.alive) == ("agent", "test-node", True)
    assert presence.last_seen_ms > 0
    assert nova.ping("node:test-node").state == "up"
    with pytest.raises(AgentNotFound, match="Did you mean agent_123"):
        nova.ping("agent_12")
    with pytest.raises(NotFound, match="Did you mean test-node"):
        nova.ping("node:test-nod")


def test_a_history_has_each_message_once(site: Office) -> None:
    nova = NovaOrchestrator()
    sent = nova.send_message(
        "agent_123", "for the record", sender="user:historian", wait="submitted", timeout_s=20
    )
    (row,) = nova.history(sender="user:historian")
    assert (row.id, row.agent, row.state, row.body) == (sent.id, "agent_123", "submitted", "for the record")
    assert sent.id in [row.id for row in nova.history(agent="agent_123", limit=5)]
    assert nova.history(agent="reviewer", sender="user:historian") == []


def test_available_are_those_that_are_idle_and_not_paused(site: Office) -> None:
    registry = AgentRegistry()
    until(
        lambda: registry.find_available_agents(role="developer", skills=["python"]), what="an idle developer"
    )
    site.node.call("pause", {"agent_id": "agent_123"})
    try:
        assert registry.find_available_agents(role="developer", skills=["python"]) == []
        assert registry.get_agent("agent_123").state == "paused"
    finally:
        site.node.call("resume", {"agent_id": "agent_123"})
    assert registry.find_available_agents(skills=["python", "cobol"]) == []


def test_the_asynchronous_twins_return_the_same_values(site: Office) -> None:
    async def twins() -> tuple[str, ...]:
        async with AsyncAgentRegistry() as registry, AsyncSystemMonitor() as monitor:
            record = await registry.get_agent("reviewer")
            health = await monitor.get_system_health()
            return record.agent_id, health.node, *(check.name for check in health.checks)

    health = SystemMonitor().get_system_health()
    assert run(twins()) == ("reviewer", "test-node", *(check.name for check in health.checks))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda nova: nova.broadcast("hello", role=3),
        lambda nova: nova.broadcast("hello", skills=[1]),
        lambda nova: nova.broadcast("", wait="submitted"),
        lambda nova: nova.broadcast("hello", wait="read"),
        lambda nova: nova.send_message("agent_123", "hello", timeout_s="soon"),
        lambda nova: nova.send_message("agent_123", "hello", ttl_s=float("nan")),
        lambda nova: nova.send_message("agent_123", "hello", message_id="mine"),
        lambda nova: nova.history(limit=0),
        lambda nova: nova.ping(None),
        lambda nova: nova.task_result("no id", timeout_s=1),
    ],
)
def test_wrong_arguments_are_named(site: Office, wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises((InvalidRequest, NotFound)):
        wrong(NovaOrchestrator())


# -- the programs --


def test_the_program_that_sends(site: Office) -> None:
    done = program(
        site, "nova_torch.communication.send_message", "agent_123", "from a program", "--wait", "submitted"
    )
    assert (done.returncode, done.stdout.split()[1]) == (0, "submitted"), done
    done = program(
        site, "nova_torch.communication.send_message", "reviewer", "well?", "--wait", "replied", "--json"
    )
    assert json.loads(done.stdout)["reply"]["body"] == ANSWER
    done = program(site, "nova_torch.communication.send_message", "agent_132", "hello")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "nova_torch: no agent 'agent_132' is registered. Did you mean agent_123?\n"


def test_the_program_that_lists_agents(site: Office) -> None:
    done = program(site, "nova_torch.orchestration.agent_registry", "--list")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["agent_123", "reviewer"]
    done = program(site, "nova_torch.orchestration.agent_registry", "--list", "--skill", "sql", "--json")
    assert [row["agent_id"] for row in json.loads(done.stdout)] == ["agent_123"]
    done = program(site, "nova_torch.orchestration.agent_registry", "--list", "--state", "idel")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nova_torch: 'idel' is not a state. Did you mean idle?\n"
    done = program(site, "nova_torch.orchestration.agent_registry", "--status", "--json")
    assert json.loads(done.stdout)["nodes"] == {"test-node": 2}


def test_the_program_that_starts_an_agent(site: Office) -> None:
    words = ("--driver", "line", "--id", "spawned-1", "--command", "python3 -i", "--skill", "roots")
    done = program(
        site, "nova_torch.orchestration.agent_registry", "--spawn", "calculator", "sums,products", *words
    )
    assert done.returncode == 0, done.stderr
    try:
        record = AgentRegistry().get_agent("spawned-1")
        assert (record.role, record.skills) == ("calculator", ("sums", "products", "roots"))
    finally:
        site.node.call("stop_agent", {"agent_id": "spawned-1", "force": True}, timeout_s=30)


def test_the_program_that_shows_the_flow(site: Office) -> None:
    words = [
        "--json",
        "--agent",
        "agent_123",
        "--priority",
        "urgent",
        "--sender",
        "user:fire",
        "--state",
        "submitted",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "nova_torch.communication.debug_monitor", *words, "--for", "30s"],
        env={**site.node.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as monitor:
        try:
            assert monitor.stdout is not None
            nova = NovaOrchestrator()
            line = asyncio.run(_first_line(monitor.stdout.readline, nova))
        finally:
            monitor.kill()
    event = json.loads(line)
    assert (event["agent"], event["sender"], event["priority"], event["state"]) == (
        "agent_123", "user:fire", "urgent", "submitted",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--state", "sumbitted"), "'sumbitted' is not a state. Did you mean submitted?"),
        (("--priority", "urgnt"), "'urgnt' is not a priority. Did you mean urgent?"),
    ],
)
def test_the_program_that_shows_the_flow_waits_for_nothing_that_never_comes(
    site: Office, option: tuple[str, ...], sentence: str
) -> None:
    done = program(site, "nova_torch.communication.debug_monitor", *option, "--for", "30s")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"nova_torch: {sentence}\n")


async def _first_line(read: object, nova: NovaOrchestrator) -> str:
    """Send until the monitor, which takes its time to start, has shown something."""
    assert callable(read)
    line = asyncio.create_task(asyncio.to_thread(read))
    while not line.done():
        await asyncio.to_thread(nova.send_message, "agent_123", "calm", sender="user:fire")
        await asyncio.to_thread(nova.send_message, "agent_123", "fire", sender="user:fire", priority="urgent")
        await asyncio.wait([line], timeout=0.3)
    return str(line.result())


# -- the daemon dies meanwhile; the last tests, they end it --


def test_a_daemon_killed_during_a_request_delivers_once_and_the_answer_arrives(site: Office) -> None:
    async def asked() -> str:
        async with AsyncNovaOrchestrator() as nova:
            await asyncio.to_thread(site.node.call, "pause", {"agent_id": "reviewer"})
            question = asyncio.create_task(nova.request("reviewer", "while it dies", timeout_s=80))
            while not any(row.body == "while it dies" for row in await nova.history(agent="reviewer")):  # noqa: ASYNC110 - its queue is what the test waits for
                await asyncio.sleep(0.05)
            site.node.kill()
            await asyncio.to_thread(site.node.start)
            await asyncio.to_thread(site.node.call, "resume", {"agent_id": "reviewer"})
            return await question

    assert run(asked(), 100) == ANSWER
    assert site.asked("while it dies") == 1


def test_an_answer_reaches_its_handler_although_the_daemon_died(site: Office) -> None:
    async def heard() -> Reply:
        answers: asyncio.Queue[Reply] = asyncio.Queue()
        async with AsyncNovaOrchestrator() as nova:
            nova.on_reply(answers.put)
            listener = asyncio.create_task(nova.listen())
            await asyncio.to_thread(site.node.call, "pause", {"agent_id": "reviewer"})
            await nova.assign_task("reviewer", "heard of after all")
            site.node.kill()
            await asyncio.to_thread(site.node.start)
            await asyncio.to_thread(site.node.call, "resume", {"agent_id": "reviewer"})
            taken = asyncio.create_task(answers.get())
            await asyncio.wait([taken, listener], return_when=asyncio.FIRST_COMPLETED)
            if listener.done():
                await listener  # what ended it
            listener.cancel()
            await asyncio.wait([listener])
            return taken.result()

    assert run(heard(), 80).body == ANSWER
    assert site.asked("heard of after all") == 1


def test_a_daemon_that_stays_away_is_an_error_that_names_the_message(site: Office) -> None:
    async def asked() -> DaemonUnreachable:
        async with AsyncNovaOrchestrator(gone_s=0.5) as nova:
            await asyncio.to_thread(site.node.call, "pause", {"agent_id": "reviewer"})
            question = asyncio.create_task(nova.request("reviewer", "left alone", timeout_s=60))
            while not any(row.body == "left alone" for row in await nova.history(agent="reviewer")):  # noqa: ASYNC110 - its queue is what the test waits for
                await asyncio.sleep(0.05)
            site.node.kill()
            with pytest.raises(DaemonUnreachable, match="goes on when the daemon runs again") as gone:
                await question
            return gone.value

    error = run(asked(), 60)
    site.node.start()
    site.node.wait_up()
    site.node.call("resume", {"agent_id": "reviewer"})
    assert NovaOrchestrator().task_result(error.message_id, timeout_s=40).body == ANSWER
    assert site.asked("left alone") == 1
