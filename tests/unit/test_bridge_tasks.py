"""Tasks of foreign streams: read, written, folded, listed, moved. No I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nova_torch.bridging import Boomerang
from nova_torch.broker import ForeignEntry
from nova_torch.values import Kind, MessageId, State
from noval_d.bridges.boomerang import decode_task, encode_task
from noval_d.bridges.draft import Change, Draft, Ignored, Origin, Query, Refusal, Task
from noval_d.bridges.encode import Telling
from noval_d.bridges.tasks import answer, fold, latest
from tests.support.drafts import MOST, draft, fields


def test_a_task_is_read_flat_or_out_of_json() -> None:
    flat = decode_task(
        fields(operation="create_task", title="mow", description="all", assignee="bob", priority="medium"),
        "5-1",
        most_bytes=MOST,
    )
    inner = json.dumps({"title": "mow", "description": "all", "assignee": "bob", "priority": "medium"})
    for decoded in (flat, decode_task(fields(operation="create_task", params=inner), "5-1", most_bytes=MOST)):
        assert draft(decoded) == Draft(body="mow\n\nall", target="bob", kind=Kind.TASK, id="5-1", task="5-1")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"operation": "create_task", "assignee": "bob"}, Refusal),
        ({"operation": "create_tusk", "title": "x"}, Refusal),
        ({"operation": "create_task", "params": "{"}, Refusal),
        ({"title": "x"}, Refusal),
        ({"operation": "create_task", "title": "x"}, Ignored),
        ({"operation": "update_task", "task_id": "1"}, Ignored),
        ({"operation": "create_task", "title": "x", "assignee": "bob", "nova_event": "e"}, Ignored),
    ],
)
def test_what_is_no_task_for_us_is_refused_or_left_alone(given: dict[str, str], kind: type) -> None:
    assert isinstance(decode_task(fields(**given), "5-1", most_bytes=MOST), kind)


def test_what_we_write_of_a_task_is_never_read_as_one() -> None:
    origin = Origin(
        dialect="boomerang",
        via="stream",
        bridge="k",
        source="s",
        entry="T",
        sender="x",
        correlation="",
        replies="",
    )
    for state, body in ((State.REPLIED, "done"), (State.SUBMITTED, None), (State.FAILED, None)):
        telling = Telling(message=MessageId("m"), key="k", agent="bob", state=state, body=body, at_ms=1)
        operation, event = encode_task(Boomerang(), origin, telling)
        assert operation.fields["task_id"] == event.fields["task_id"] == "T"
        for out in (operation, event):
            pairs = [(k.encode(), v.encode()) for k, v in out.fields.items()]
            assert isinstance(decode_task(pairs, "1-1", most_bytes=MOST), Ignored)


STREAM = [
    (
        "1-0",
        {"operation": "create_task", "task_id": "T", "title": "mow", "assignee": "bob", "tags": '["a", "b"]'},
    ),
    ("2-0", {"operation": "create_task", "task": '{"title": "rake", "assignee": "eve", "parent_id": "T"}'}),
    (
        "3-0",
        {"operation": "update_task", "task_id": "T", "status": "in_progress", "nova_event": "m.in_progress"},
    ),
    ("4-0", {"operation": "update_task", "task_id": "T", "assignee": "eve"}),
    ("5-0", {"operation": "update_task", "task_id": "nobody knows it", "assignee": "eve"}),
    ("6-0", {"operation": "create_task", "task_id": "T", "title": "the same id again", "assignee": "zoe"}),
    ("7-0", {"operation": "create_task", "task": '{"title": '}),
    ("8-0", {"operation": "complete_task", "task_id": "2-0", "result": "raked", "nova_event": "n.completed"}),
]


def stream(upto: int = 99) -> list[ForeignEntry]:
    rows = [row for row in STREAM if int(row[0][:-2]) <= upto]
    return [ForeignEntry(stream="s", id=entry, fields=tuple(fields(**given))) for entry, given in rows]


def test_the_stream_itself_tells_what_became_of_its_tasks() -> None:
    known = fold(stream(), most_bytes=MOST)
    assert {task: (k.title, k.status, k.assignee) for task, k in known.items()} == {
        "T": ("mow", "in_progress", "eve"),
        "2-0": ("rake", "completed", "eve"),
    }
    assert fold(stream(3), most_bytes=MOST)["T"].assignee == "bob"
    assert known["2-0"].result == "raked"
    assert (known["T"].shown()["created_at"], known["T"].shown()["updated_at"]) == (1, 4)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["T", "2-0"]),
        ({"status": "completed"}, ["2-0"]),
        ({"assignee": "eve", "tags": '["b"]'}, ["T"]),
        ({"assignee": "eve", "tags": "b,c"}, []),
        ({"parent_id": "T"}, ["2-0"]),
        ({"limit": "1", "offset": "1"}, ["2-0"]),
        ({"offset": 7}, []),
    ],
)
def test_tasks_are_listed_as_they_are_asked_for(asked: dict[str, Any], found: list[str]) -> None:
    details = answer(
        Query(operation="list_tasks", asked=asked), list(fold(stream(), most_bytes=MOST).values())
    )
    assert isinstance(details, dict)
    assert [task["task_id"] for task in details["tasks"]] == found


@pytest.mark.parametrize(
    "asked", [{"limit": "-1"}, {"offset": "many"}, {"status": "lost"}, {"limit": "9" * 5000}]
)
def test_a_list_that_cannot_be_meant_is_refused_with_what_is_wrong(asked: dict[str, str]) -> None:
    assert isinstance(answer(Query(operation="list_tasks", asked=asked), []), Refusal)
    assert isinstance(answer(Query(operation="get_task", asked={}), []), Refusal)


@pytest.mark.parametrize(
    ("given", "change"),
    [
        (
            {"task_id": "T", "assignee": "eve", "sender": "boss"},
            Change(task="T", assignee="eve", sender="boss"),
        ),
        ({"task_id": "T", "assignee": ""}, Change(task="T")),
        ({"params": '{"task_id": "T", "status": "cancelled"}'}, Change(task="T", cancelled=True)),
        ({"task_id": "T", "status": "blocked"}, Ignored(reason="update_task of another")),
        ({"assignee": "eve"}, Refusal(reason="the operation names no task_id")),
        ({"task_id": "T", "assignee": "eve", "nova_event": "e"}, Ignored(reason="written by a bridge")),
    ],
)
def test_a_changed_assignee_is_told_from_other_updates(given: dict[str, str], change: Task) -> None:
    assert decode_task(fields(operation="update_task", **given), "5-1", most_bytes=MOST) == change


def test_of_two_moves_the_later_entry_counts_whoever_noted_it_first() -> None:
    assert latest({}) is None
    assert latest({"10-2": "b", "9-11": "a", "10-10": ""}) == ""
    assert latest({"2-0": "b", "10-0": "a"}) == "a"
