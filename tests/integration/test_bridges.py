"""Foreign programs write to the broker by hand: it reaches a pane once, and what becomes of it goes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack
import pytest

from tests.support.agents import Raw, Tui, raw
from tests.support.foreign import Cli, Listener, bridge_row, bridging, cli_of
from tests.support.node import TestNode, until
from tests.support.talkers import talker

CONFIG = """
[bridges]
dialects = ["torch", "dot", "wake", "colon", "boomerang", "monitoring"]

[[bridges.stream]]
name = "ops"
key = "ops:in"
dialect = "torch"
replies = "ops:out"
receipts = "all"
targets = ["raw"]

[bridges.registry]
beat_s = 1
"""


@dataclass(frozen=True)
class Site:
    node: TestNode
    cli: Cli
    bob: Tui
    raw: Raw


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bridged")
    with bridging(CONFIG) as made:
        bob = talker(made, folder, "bob", answer="bob says yes")
        program = raw(made, folder, "raw")
        cli = cli_of(made)
        until(lambda: cli("EXISTS", "nova.torch.agents.direct.raw") == 1, 45, "the streams of the agents")
        yield Site(made, cli, bob, program)


def prompt_with(agent: Tui, text: str) -> str:
    """Wait for the one prompt with this text."""
    until(lambda: any(text in prompt for prompt in agent.prompts()), 45, f"a prompt with {text}")
    (found,) = (prompt for prompt in agent.prompts() if text in prompt)
    return found


def test_nova_torch_by_hand_reaches_the_pane_once_and_is_answered_in_kind(site: Site) -> None:
    site.cli(
        "XADD", "nova.torch.agents.direct.bob", "*", "id", "m-1", "sender", "planner", "type", "task",
        "payload", '{"text": "is it torch?", "unknown": 5}', "correlation_id", "c-1", "priority", "high",
    )  # fmt: skip
    prompt = prompt_with(site.bob, "is it torch?")
    assert prompt.startswith("[nova ")
    assert "from bridge:torch:planner]" in prompt.splitlines()[0]
    (answer,) = site.cli.wait_entries("nova.torch.agents.direct.planner", 1, type="response")
    payload = json.loads(answer["payload"])
    assert (answer["sender"], answer["target"], answer["correlation_id"]) == ("bob", "planner", "c-1")
    assert (payload["text"], payload["in_reply_to"], payload["state"]) == ("bob says yes", "m-1", "replied")
    assert answer["priority"] == "high"
    trace = site.node.call("trace", {"id": payload["message_id"]})
    assert trace["hops"][0]["reason"] == "bridged from nova.torch.agents.direct.bob"


def test_a_line_by_hand_without_any_other_field_is_enough(site: Site) -> None:
    site.cli("XADD", "nova.torch.agents.direct.raw", "*", "payload", "just words")
    until(lambda: b"just words\r" in site.raw.bytes(), what="the words")
    (receipt,) = site.cli.wait_entries("nova.torch.agents.direct.unknown", 1, type="receipt")
    assert json.loads(receipt["payload"])["state"] == "submitted"


def test_the_dot_dialect_is_answered_in_a_stream_and_rings(site: Site) -> None:
    bell = Listener(site.cli.path, "nova.echo.notify")
    site.cli.add("nova.bob.direct", sender_id="echo", content='{"text": "is it dotted?"}', timestamp="1")
    prompt_with(site.bob, "is it dotted?")
    (answer,) = site.cli.wait_entries("nova.echo.direct", 1, message_type="response")
    assert (answer["sender_id"], json.loads(answer["content"])["text"]) == ("bob", "bob says yes")
    notices = [json.loads(bell.next())]
    while not notices[-1]["id"].endswith(".replied"):
        notices.append(json.loads(bell.next()))
    assert notices[-1]["stream"] == "nova.echo.direct"
    bell.close()


def test_a_wake_signal_is_a_task(site: Site) -> None:
    site.cli.add(
        "nova.wake.bob", **{"type": "WAKE_SIGNAL", "from": "clock", "task": "wake up", "context": '{"n": 1}'}
    )
    assert '"n": 1' in prompt_with(site.bob, "wake up")
    (answer,) = site.cli.wait_entries("nova.wake.clock", 1, type="WAKE_REPLY")
    assert (answer["from"], answer["task"]) == ("bob", "bob says yes")


def test_the_colon_style_keeps_its_trace(site: Site) -> None:
    site.cli.add("nova:agent:direct:bob", _source="mind", _trace_id="t-9", content="is it a colon?")
    prompt_with(site.bob, "is it a colon?")
    (answer,) = site.cli.wait_entries("nova:agent:direct:mind", 1, type="reply")
    assert (answer["_source"], answer["_trace_id"]) == ("bob", "t-9")


@pytest.mark.parametrize("written", ["json", "msgpack", "text"])
def test_what_is_published_reaches_the_pane_once(site: Site, written: str) -> None:
    words = {"sender": "radio", "payload": {"text": f"on the air in {written}"}, "id": f"air-{written}"}
    data: str | bytes = json.dumps(words)
    if written == "msgpack":
        data = msgpack.packb(words)
    if written == "text":
        data = "on the air in text"
    listener = Listener(site.cli.path, "nova.torch.agents.direct.radio")
    until(lambda: not bridge_row(site.node, "nova.torch.agents.direct.{agent}", "channel")["problem"])
    assert site.cli("PUBLISH", "nova.torch.agents.direct.raw", data) == 2  # by two patterns, typed once
    if written != "text":
        site.cli("PUBLISH", "nova.torch.agents.direct.raw", data)  # the same id again
        told = json.loads(listener.next())
        assert (told["type"], json.loads(told["payload"])["in_reply_to"]) == ("receipt", f"air-{written}")
    words_seen = f"on the air in {written}".encode()
    until(lambda: words_seen in site.raw.bytes(), what="the words")
    marker = f"after {written}"
    site.node.send_wait("raw", marker)
    assert site.raw.bytes().count(words_seen) == 1
    listener.close()


def test_a_broadcast_and_a_role_reach_every_agent_of_it(site: Site) -> None:
    site.cli.add("nova.torch.orchestrator", sender="boss", type="broadcast", payload="to all of you")
    assert "Answer with" not in prompt_with(site.bob, "to all of you").splitlines()[0]
    until(lambda: b"to all of you\r" in site.raw.bytes(), what="the broadcast")


def test_what_is_no_message_is_kept_with_the_reason_and_blocks_nothing(site: Site) -> None:
    site.cli.add("ops:in", sender="x", target="nobody", payload="for nobody")
    site.cli.add("ops:in", sender="x", target="bob", payload="not allowed")
    site.cli.add("ops:in", sender="x", payload="no target")
    site.cli.add("ops:in", sender="x", target="raw", payload='{"text": ')
    site.cli.add("ops:in", sender="x", target="raw", payload=b"\xff\xfe")
    site.cli.add("ops:in", sender="x", target="raw", payload="x" * 70_000)
    site.cli.add("ops:in", sender="x", target="raw", payload="\x1b\x01")
    site.cli("PUBLISH", "nova.bob.direct", b"\xc1\xff")
    site.cli.add("ops:in", sender="x", target="raw", payload="behind them all")
    until(lambda: b"behind them all\r" in site.raw.bytes(), what="the good one")
    until(lambda: len(site.cli.entries("nova:{br}:dead")) >= 8, what="the dead letters")
    dead = {row["reason"] for row in site.cli.entries("nova:{br}:dead")}
    for part in ("'nobody' is registered", "not among the targets", "names no target", "begins like JSON",
                 "neither UTF-8 nor msgpack", "bytes, the limit", "the body is empty"):  # fmt: skip
        assert any(part in reason for reason in dead), (part, dead)
    row = bridge_row(site.node, "ops:in")
    assert (row["dropped"], row["taken"]) == (7, 1)
    states = [json.loads(e["payload"])["state"] for e in site.cli.wait_entries("ops:out", 3, type="receipt")]
    assert states == ["accepted", "queued", "submitted"]
    codes = {check["code"] for check in site.node.call("doctor")}
    assert "bridge_dropped" in codes
    shown = site.node.novactl("status").stdout
    assert "ops:in" in shown


def test_the_whole_road_of_a_task(site: Site) -> None:
    site.cli.add(
        "nova:task:boomerang:tasks", operation="create_task", title="mow the lawn", task_id="T1",
        description="all of it", assignee="bob", priority="critical", tags='["garden"]',
    )  # fmt: skip
    site.cli.add("nova:task:boomerang:tasks", operation="create_task", title="for a stranger", assignee="zoe")
    prompt = prompt_with(site.bob, "mow the lawn")
    assert "all of it" in prompt
    (done,) = site.cli.wait_entries("nova:task:boomerang:tasks", 1, operation="complete_task")
    assert (done["task_id"], done["result"], done["artifacts"]) == ("T1", "bob says yes", "[]")
    (event,) = site.cli.wait_entries("nova:task:boomerang:events", 1, type="task_completed")
    assert json.loads(event["details"])["status"] == "completed"
    updates = [
        e for e in site.cli.entries("nova:task:boomerang:tasks") if e.get("operation") == "update_task"
    ]
    assert [u["status"] for u in updates] in ([], ["in_progress"])
    row = bridge_row(site.node, "nova:task:boomerang:tasks")
    assert (row["taken"], row["dropped"]) == (1, 0)


TASKS, EVENTS = "nova:task:boomerang:tasks", "nova:task:boomerang:events"


def test_a_task_that_is_given_to_another_goes_there_and_is_told_of_by_nobody_else(site: Site) -> None:
    site.cli.add(TASKS, operation="create_task", title="dig the pond", task_id="T2", assignee="raw")
    until(lambda: b"dig the pond\r" in site.raw.bytes(), what="the task")
    (update,) = site.cli.wait_entries(TASKS, 1, operation="update_task", task_id="T2")
    event = next(e for e in site.cli.wait_entries(EVENTS, 1, task_id="T2"))
    first = json.loads(event["details"])["message_id"]
    site.cli.add(TASKS, operation="update_task", task_id="T2", assignee="bob", _source="boss")
    assert "Until now it was raw's." in prompt_with(site.bob, "dig the pond")
    (done,) = site.cli.wait_entries(TASKS, 1, operation="complete_task", task_id="T2")
    assert (update["_source"], done["_source"], done["result"]) == ("raw", "bob", "bob says yes")
    notice = b"The task T2 (dig the pond) was given to bob: do no more for it."
    until(lambda: notice in site.raw.bytes(), what="the notice")
    assert site.node.call("inbox", {"agent": "raw"})[-1]["sender"] == "bridge:boomerang:boss"
    site.node.call("reply", {"question": first, "body": "too late", "sender": "raw"})
    site.cli.add(TASKS, operation="create_task", title="behind it", task_id="T3", assignee="raw")
    site.cli.wait_entries(TASKS, 1, operation="update_task", task_id="T3")
    assert [e["task_id"] for e in site.cli.entries(TASKS) if e.get("operation") == "complete_task"].count(
        "T2"
    ) == 1
    assert site.raw.bytes().count(notice) == 1


def test_questions_about_tasks_are_answered_where_their_events_are(site: Site) -> None:
    site.cli.add(TASKS, operation="create_task", title="paint", task_id="T4", assignee="raw", tags='["wall"]')
    site.cli.wait_entries(TASKS, 1, operation="update_task", task_id="T4")
    asked = site.cli.add(TASKS, operation="get_task", task_id="T4", _trace_id="q-1")
    (found,) = site.cli.wait_entries(EVENTS, 1, type="task_details", in_reply_to=asked)
    task = json.loads(found["details"])["task"]
    assert (task["title"], task["status"], task["assignee"]) == ("paint", "in_progress", "raw")
    assert found["_trace_id"] == "q-1"
    site.cli.add(TASKS, operation="get_task", task_id="of a stranger")
    asked = site.cli.add(TASKS, operation="list_tasks", params='{"tags": ["wall"], "limit": 5}')
    (found,) = site.cli.wait_entries(EVENTS, 1, type="task_list", in_reply_to=asked)
    details = json.loads(found["details"])
    assert ([task["task_id"] for task in details["tasks"]], details["total"]) == (["T4"], 1)
    assert len(site.cli.entries(EVENTS)) == len({e["nova_event"] for e in site.cli.entries(EVENTS)})


def test_a_task_of_an_unknown_agent_and_a_list_that_cannot_be_meant_hold_nothing_up(site: Site) -> None:
    dead = len(site.cli.entries("nova:{br}:dead"))
    site.cli.add(TASKS, operation="update_task", task_id="never created", assignee="bob")
    site.cli.add(TASKS, operation="list_tasks", limit="many")
    site.cli.add(TASKS, operation="create_task", title="for nobody here", assignee="zoe")
    site.cli.add(TASKS, operation="create_task", title="weed", task_id="T5", assignee="raw")
    until(lambda: b"weed\r" in site.raw.bytes(), what="the good one")
    reasons = [row["reason"] for row in site.cli.entries("nova:{br}:dead")[dead:]]
    assert [reason[:9] for reason in reasons] == ["no create", "limit and"], reasons


def test_what_happens_is_written_to_the_stream_of_events(site: Site) -> None:
    sent = site.node.send_wait("raw", "only for raw's eyes")
    (event,) = site.cli.wait_entries(
        "nova.torch.monitoring", 1, type="message.submitted", correlation_id=sent["id"]
    )
    assert (event["sender"], event["target"], event["priority"]) == ("raw", "", "normal")
    assert float(event["timestamp"]) == pytest.approx(time.time(), abs=60)
    assert json.loads(event["payload"])["node"] == "test-node"
    entries = site.cli.entries("nova.torch.monitoring")
    assert len({entry["nova_event"] for entry in entries}) == len(entries)
    assert not any("eyes" in value for entry in entries for value in entry.values())
    assert any(entry["type"] == "agent.state" for entry in entries)
    assert bridge_row(site.node, "nova.torch.monitoring")["problem"] == ""


def test_what_bridges_write_is_never_bridged_back(site: Site) -> None:
    """`bob` writes to `raw` under his own name: the answers lie in bob's own stream, which the bridge reads."""
    before = bridge_row(site.node, "nova.torch.agents.direct.{agent}")
    site.cli.add("nova.torch.agents.direct.raw", sender="bob", payload="an echo?")
    site.cli.wait_entries("nova.torch.agents.direct.bob", 1, type="receipt")
    until(
        lambda: bridge_row(site.node, "nova.torch.agents.direct.{agent}")["ignored"] > before["ignored"],
        what="the echo that is ignored",
    )
    time.sleep(0.5)
    after = bridge_row(site.node, "nova.torch.agents.direct.{agent}")
    assert after["taken"] == before["taken"] + 1
    assert not any("receipt" in prompt for prompt in site.bob.prompts())


def test_a_key_of_another_type_and_a_deleted_stream_stop_nothing(site: Site) -> None:
    site.cli("DEL", "nova.raw.direct")
    site.cli("SET", "nova.raw.direct", "not a stream")
    until(lambda: bridge_row(site.node, "nova.{agent}.direct")["problem"], what="the problem")
    site.cli.add("nova.torch.agents.direct.raw", payload="all others go on")
    until(lambda: b"all others go on\r" in site.raw.bytes(), what="the others")


def test_the_registry_follows_the_agents(site: Site, tmp_path: Path) -> None:
    entry = site.cli.hash("nova:registry:bob")
    assert (entry["nova_id"], entry["status"]) == ("bob", "idle")
    raw(site.node, tmp_path, "guest")
    until(lambda: site.cli("SISMEMBER", "nova:registry:active", "guest"), what="the guest")
    first = site.cli.hash("nova:registry:guest")
    beat = "last_heartbeat"
    until(lambda: site.cli.hash("nova:registry:guest")[beat] > first[beat], what="a heartbeat")
    assert site.cli.hash("nova:registry:guest")["registered_at"] == first["registered_at"]
    assert 0 < site.cli("TTL", "nova:registry:guest") <= 300
    site.node.call("unregister", {"agent_id": "guest"})
    until(lambda: site.cli("EXISTS", "nova:registry:guest") == 0, what="the end of the guest")
    assert site.cli("SISMEMBER", "nova:registry:active", "guest") == 0


def test_old_readers_see_that_an_agent_compacts(site: Site) -> None:
    site.node.call("hook", {"pane": site.bob.pane, "event": "PreCompact", "payload": b"{}"})
    until(lambda: site.cli("GET", "nova.status.bob") == b"COMPACTING", what="the status")
    assert 0 < site.cli("TTL", "nova.status.bob") <= 120


def test_an_acknowledgement_is_never_acknowledged(site: Site) -> None:
    site.cli.add("nova.torch.agents.direct.raw", sender="machine", type="receipt", payload="got it")
    site.cli.add("nova.torch.agents.direct.raw", sender="machine", type="request", payload="do it")
    answers = "nova.torch.agents.direct.machine"
    (receipt,) = site.cli.wait_entries(answers, 1)
    until(lambda: b"do it\r" in site.raw.bytes(), what="both")
    time.sleep(0.5)
    assert site.raw.bytes().count(b"got it\r") == 1
    assert site.cli.entries(answers) == [receipt]


def test_an_entry_that_is_read_again_is_known(site: Site) -> None:
    """What a crash between the outbox and the acknowledgement leaves behind: the group stands before the entry."""
    site.cli.add("nova.torch.agents.direct.raw", payload="only once")
    until(lambda: b"only once\r" in site.raw.bytes(), what="the words")
    before = bridge_row(site.node, "nova.torch.agents.direct.{agent}")
    site.cli("XGROUP", "SETID", "nova.torch.agents.direct.raw", "nova-bridge", "0")
    until(lambda: bridge_row(site.node, "nova.torch.agents.direct.{agent}")["known"] > before["known"])
    site.node.send_wait("raw", "after the repeat")
    assert site.raw.bytes().count(b"only once") == 1


def test_what_a_node_that_is_gone_has_read_is_taken_over(site: Site, tmp_path: Path) -> None:
    stream = "nova.torch.agents.direct.late"
    site.cli("XGROUP", "CREATE", stream, "nova-bridge", "0", "MKSTREAM")
    entry = site.cli.add(stream, payload="left behind")
    assert site.cli("XREADGROUP", "GROUP", "nova-bridge", "gone", "STREAMS", stream, ">")
    site.cli("XCLAIM", stream, "nova-bridge", "gone", "0", entry, "IDLE", "60000")
    late = raw(site.node, tmp_path, "late")
    until(lambda: late.bytes() == b"left behind\r", 45, "what was left behind")
    assert site.cli("XPENDING", stream, "nova-bridge")[0] == 0


def test_entries_older_than_the_backlog_are_left_where_they_are(site: Site, tmp_path: Path) -> None:
    stream = "nova.torch.agents.direct.new"
    old_ms = int(time.time() * 1000) - 400_000
    site.cli("XADD", stream, str(old_ms), "payload", "long ago")
    site.cli.add(stream, payload="a moment ago")
    new = raw(site.node, tmp_path, "new")
    until(lambda: new.bytes() == b"a moment ago\r", what="the young one")
    assert len(site.cli.entries(stream)) >= 2
