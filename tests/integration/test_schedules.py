"""Schedules on a real node: what people and agents say, what arrives in the pane, what list and trace tell."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch import NovaOrchestrator
from nova_torch.errors import AgentNotFound, BodyTooLarge, Busy, Conflict, InvalidRequest, ScheduleNotFound
from nova_torch.protocol.client import Client
from nova_torch.ulid import new_ulid
from tests.support.agents import raw, tui
from tests.support.node import TestNode, node, until

LIMITS = {"NOVA_SCHEDULE_MAX_PER_SENDER": "7", "NOVA_SCHEDULE_MAX_PER_AGENT": "9"}


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node(env=LIMITS) as made:
        yield made


def add(on: TestNode, target: str = "raw", body: str = "later", **more: Any) -> dict[str, Any]:
    return dict(on.call("schedule_add", {"target": target, "body": body, **more}))


def shown(on: TestNode, schedule: str) -> dict[str, Any]:
    return dict(on.call("schedule_show", {"id": schedule}))


def over(on: TestNode, schedule: str, state: str, timeout_s: float = 15.0) -> dict[str, Any]:
    """Wait until a schedule is over in this way."""
    until(lambda: shown(on, schedule)["state"] == state, timeout_s, f"{state}: {on.log()[-2000:]}")
    return shown(on, schedule)


def clear(on: TestNode) -> None:
    for each in on.call("schedule_list"):
        on.call("schedule_cancel", {"id": each["id"]})


def test_a_message_for_later_is_typed_then_and_its_trace_says_where_it_came_from(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    waits = running.novactl("send", "raw", "much later", "--in", "1h").stdout.strip()
    early = running.novactl("trace", waits)
    assert early.returncode == 5
    assert "is not sent yet: it is due" in early.stderr
    assert running.call("status")["schedules"]["next_id"] == waits
    assert agent.bytes() == b""
    running.call("schedule_cancel", {"id": waits})
    done = running.novactl("send", "raw", "hello later", "--in", "1200ms")
    assert (done.returncode, len(done.stdout.strip())) == (0, 26)
    sent = done.stdout.strip()
    until(lambda: agent.bytes() == b"hello later\r", 45, "the message")
    trace = running.call("trace", {"id": sent})
    assert trace["schedule"] == sent
    assert trace["hops"][0]["reason"].startswith(f"schedule {sent}, due ")
    found = over(running, sent, "finished")
    assert (found["fired"], found["last_id"], found["next_ms"], found["body"]) == (
        1,
        sent,
        None,
        "hello later",
    )
    early_ms = running.call("trace", {"id": sent})["hops"][0]["at_ms"] - found["created_ms"]
    assert 1200 <= early_ms < 11_200


def test_what_send_prints_for_later_has_the_fields_of_a_receipt(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    done = running.novactl("send", "raw", "later", "--at", "23:59", "--tz", "UTC", "--json")
    found = json.loads(done.stdout) if not done.returncode else {"error": done.stderr}
    wanted = {"id", "target", "state", "reason", "agent", "node", "final", "timings_ms", "next_ms"}
    assert wanted <= found.keys()
    refused = running.novactl("send", "raw", "later", "--in", "1s", "--wait")
    assert (refused.returncode, "--wait does not go with" in refused.stderr) == (2, True)
    running.call("schedule_cancel", {"id": found["id"]})


def test_what_repeats_comes_again_until_it_is_cancelled(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    events: list[dict[str, Any]] = []
    made = running.novactl("schedule", "add", "--every", "1s", "raw", "tick", "--json")
    schedule = json.loads(made.stdout)["id"]
    with Client.connect(running.socket, 10.0) as client:
        for event in client.stream("watch", {"agent": "raw"}, 45.0):
            events += [event] if event.get("event") == "schedule.fired" else []
            if len(events) == 2:
                break
    until(lambda: agent.bytes().startswith(b"tick\rtick\r"), 45, "two ticks")
    assert [event["schedule"] for event in events] == [schedule] * 2
    # more than one second where the machine was slower than that: the one before was not typed yet
    apart_ms = events[1]["due_ms"] - events[0]["due_ms"]
    assert (apart_ms > 0, apart_ms % 1000) == (True, 0)
    assert running.call("trace", {"id": events[0]["id"]})["schedule"] == schedule
    listed = running.novactl("schedule", "list").stdout
    assert schedule in listed
    assert running.novactl("schedule", "cancel", schedule).stdout == f"{schedule} cancelled\n"
    assert running.novactl("schedule", "cancel", schedule.lower()).returncode == 0
    until(lambda: running.call("status")["outbox"] == 0, 45, "the last one typed")
    count = len(agent.bytes())
    time.sleep(1.3)
    assert len(agent.bytes()) == count
    assert schedule not in running.novactl("schedule", "list").stdout
    assert "cancelled" in running.novactl("schedule", "list", "--all").stdout


def test_an_agent_writes_to_itself_from_its_pane(running: TestNode, tmp_path: Path) -> None:
    agent = tui(running, tmp_path, "self-1")
    running.env |= {"TMUX_PANE": agent.pane, "TMUX": f"{running.tmux.socket_path},1,0"}
    try:
        made = running.novactl("schedule", "add", "--here", "--in", "500ms", "Look at the build.")
        twice = running.novactl("schedule", "add", "--here", "--in", "1s", "alice", "Look at the build.")
    finally:
        running.env = dict(LIMITS)
    assert made.returncode == 0, made.stderr
    assert twice.returncode == 2
    schedule = made.stdout.strip()
    assert shown(running, schedule)["sender"] == "self-1"
    (prompt,) = agent.wait_prompts(1)
    assert prompt == f"[nova {schedule} from self-1]\nLook at the build."


def test_a_pane_of_an_agent_is_a_target(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    window = running.tmux.tmux(
        "display-message", "-p", "-t", agent.pane, "#{session_name}:#{window_index}"
    ).strip()
    found = add(running, window, "by its window", in_s=0.3)
    assert (found["agent"], found["target"]) == ("raw", window)
    until(lambda: agent.bytes() == b"by its window\r", 45, "the message")


def test_a_pane_that_is_no_agent_is_refused_with_the_command_that_makes_it_one(running: TestNode) -> None:
    pane = running.tmux.open("cat")
    running.tmux.tmux("rename-window", "-t", pane, "a cat; x")
    where = running.tmux.value(pane, "session_name") + ":0"
    for target in (where, pane):
        done = running.novactl("schedule", "add", "--in", "1s", target, "hello")
        assert done.returncode == 5
        assert f"pane {target} is no registered agent. First: novactl register " in done.stderr
        command = done.stderr.rstrip().rpartition("First: ")[2]
    assert command.endswith(f"a-cat-x --pane {pane} --driver line")
    assert running.novactl(*command.split()[1:]).returncode == 0
    assert running.novactl("schedule", "add", "--in", "1ms", pane, "for the cat").returncode == 0
    running.tmux.wait_for(pane, "for the cat\nfor the cat")


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (["--cron", "@daily", "--tz", "Europe/Berlin", "--missed", "skip"], "it's $HOME; `x`"),
        (["--every", "90m", "--priority", "high", "--raw"], "plain"),
        (["--at", "2026-12-24T18:00:00+01:00", "--ttl", "5m"], "-not an option"),
    ],
)
def test_what_show_says_adds_the_same_again(
    running: TestNode, tmp_path: Path, given: list[str], body: str
) -> None:
    if "raw" not in {record["agent_id"] for record in running.call("agents")}:
        raw(running, tmp_path)
    clear(running)
    first = running.novactl("schedule", "add", *given, "--", "raw", body).stdout.strip()
    row = running.novactl("schedule", "show", first).stdout
    again = next(line for line in row.splitlines() if line.startswith("again\t")).partition("\t")[2]
    second = running.novactl(*shlex.split(again)[1:]).stdout.strip()
    assert second != first
    differs = {"id", "created_ms", "next_ms", "next"} | ({"at_ms"} if "--at" not in given else set())
    assert [(k, v) for k, v in shown(running, first).items() if k not in differs] == [
        (k, v) for k, v in shown(running, second).items() if k not in differs
    ]


def test_while_the_message_before_waits_the_next_one_is_left_out(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    running.call("pause", {"agent_id": "raw"})
    schedule = add(running, every_s=1)["id"]
    until(lambda: "still waits" in shown(running, schedule)["reason"], 45, "a time that is left out")
    assert shown(running, schedule)["fired"] == 1
    running.call("schedule_cancel", {"id": schedule})
    running.call("resume", {"agent_id": "raw"})
    until(lambda: agent.bytes() == b"later\r", 45, "the one message")


def test_a_program_schedules_by_the_library(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    nova = NovaOrchestrator(socket=running.socket)
    found = nova.schedule("raw", "from a program", in_s=0.3)
    until(lambda: agent.bytes() == b"from a program\r", 45, "the message")
    until(lambda: nova.receipt(found["id"]).delivered, 45, "its proof")
    with pytest.raises(InvalidRequest, match="no time is given"):
        nova.schedule("raw", "never")


def test_one_id_is_one_schedule(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    mine = new_ulid()
    first = add(running, in_s=500, id=mine)
    assert add(running, in_s=900, id=mine) == first
    with pytest.raises(Conflict, match="belongs to another schedule"):
        add(running, body="something else", in_s=5, id=mine)
    sent = running.send("raw", "a message")["id"]
    with pytest.raises(Conflict, match="belongs to a message"):
        add(running, in_s=5, id=sent)
    running.call("schedule_cancel", {"id": mine})
    assert add(running, in_s=900, id=mine)["state"] == "cancelled"
    assert shown(running, mine)["body"] == "later"


def test_what_cannot_be_scheduled_is_said_in_a_sentence_and_nothing_is_kept(
    running: TestNode, tmp_path: Path
) -> None:
    raw(running, tmp_path)
    clear(running)
    before = running.call("schedule_list", {"all": True})
    for refused, words, args in (
        (AgentNotFound, "Did you mean raw", {"target": "rawr", "in_s": 1}),
        (InvalidRequest, "no time is given", {}),
        (InvalidRequest, "in_s and cron are given", {"in_s": 1, "cron": "* * * * *"}),
        (InvalidRequest, "is not later", {"in_s": -300}),
        (InvalidRequest, "too often", {"every_s": 0.5}),
        (InvalidRequest, "too far ahead", {"in_s": 400 * 86400}),
        (InvalidRequest, "is past", {"at": "2020-02-02 10:00"}),
        (InvalidRequest, "Did you mean Europe/Berlin", {"at": "10:00", "tz": "Europe/Berlim"}),
        (InvalidRequest, "bad hour", {"cron": "0 24 * * *"}),
        (InvalidRequest, "the body is empty", {"body": " \x1b", "in_s": 1}),
        (BodyTooLarge, "the limit is 65536", {"body": "x" * 70_000, "in_s": 1}),
        (InvalidRequest, "missed is 'fre'", {"missed": "fre", "in_s": 1}),
        (InvalidRequest, "not a ULID", {"id": "x", "in_s": 1}),
        (InvalidRequest, "is not a form", {"form": "odd", "in_s": 1}),
        (InvalidRequest, "at must be a text", {"at": 5}),
        (InvalidRequest, "no agent's", {"here": True, "in_s": 1}),
    ):
        with pytest.raises(refused, match=words):
            running.call("schedule_add", {"target": "raw", "body": "later", **args})
    with pytest.raises(ScheduleNotFound):
        shown(running, "01JD3ZK8Q5W9X2Y4V6B8N0M1P3")
    assert running.call("schedule_list", {"all": True}) == before
    done = running.novactl("schedule", "add", "--in", "-5m", "raw", "x")
    assert (done.returncode, done.stderr) == (
        2,
        "novactl: --in -5m is not later. Give a positive duration such as 30s or 2h.\n",
    )


def test_a_sender_and_an_agent_have_so_many_schedules_and_no_more(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    clear(running)
    for _ in range(7):
        add(running, in_s=500)
    with pytest.raises(Busy, match=r"has 7 schedules \(schedule.max_per_sender\)"):
        add(running, in_s=500)
    for _ in range(2):
        add(running, in_s=500, sender="user:another")
    with pytest.raises(Busy, match=r"raw has 9 schedules \(schedule.max_per_agent\)"):
        add(running, in_s=500, sender="user:third")
    clear(running)
    add(running, in_s=500)
    clear(running)


def test_an_unregistered_agents_schedule_is_kept_for_it(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path, "leaver")
    schedule = add(running, "leaver", "welcome back", in_s=4)["id"]
    running.call("unregister", {"agent_id": "leaver"})
    (row,) = [row for row in running.call("schedule_list") if row["id"] == schedule]
    assert (row["state"], row["reason"]) == ("no_agent", "no node has leaver; it is kept for it")
    time.sleep(4.2)
    assert shown(running, schedule)["state"] == "no_agent"
    (tmp_path / "again").mkdir()
    back = raw(running, tmp_path / "again", "leaver")
    until(lambda: back.bytes() == b"welcome back\r", 45, "the message, late")
    over(running, schedule, "finished")


def test_readers_see_no_body(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    schedule = add(running, in_s=500, body="secret")["id"]
    (row,) = [row for row in running.call("schedule_list") if row["id"] == schedule]
    assert "body" not in row
    running.call("schedule_cancel", {"id": schedule})
