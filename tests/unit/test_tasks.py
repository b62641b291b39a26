"""What a task may become, who gets it, and what waits for what: pure decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import Conflict, InvalidRequest
from nova_torch.ulid import new_ulid
from nova_torch.values import NodeId, Priority
from noval_d.tasks.assign import Candidate, by_worth, choose, judge, ranked, stand_back_s, unfit, worth
from noval_d.tasks.graph import refuse_cycle, standing
from noval_d.tasks.task import Status, Task, TaskId, carried, new_task, pack, recalled, taken_back, unpack

SKILLS = ("python", "rust", "sql")


def task(number: int = 1, **more: Any) -> Task:
    made = Task(
        id=TaskId(new_ulid(number)), title=f"task {number}", creator="user:x", origin=NodeId("n"), answers="@n",
        created_ms=number, since_ms=number,
    )  # fmt: skip
    return replace(made, **more)


def agent(name: str, **more: Any) -> Candidate:
    return Candidate(agent=name, **more)


names = st.sampled_from(["a", "b", "c", "d", "e"])
skill_sets = st.frozensets(st.sampled_from(SKILLS))
candidates = st.lists(
    st.builds(
        Candidate,
        agent=names,
        role=st.sampled_from(["", "worker", "boss"]),
        skills=skill_sets,
        why_not=st.sampled_from(["", "it is busy"]),
        load=st.floats(0, 1),
        done=st.integers(0, 20),
        failed=st.integers(0, 20),
        idle_s=st.floats(0, 500),
    ),
    unique_by=lambda each: each.agent,
)
tasks = st.lists(
    st.builds(
        task,
        st.integers(1, 10_000),
        role=st.sampled_from(["", "worker", "boss"]),
        skills=skill_sets.map(lambda found: tuple(sorted(found))),
        priority=st.sampled_from(list(Priority)),
        wanted=st.sampled_from(["", "", "", "a"]),
    ),
    unique_by=lambda each: each.id,
)


def test_a_reminder_is_one_for_each_time_that_a_task_was_given() -> None:
    given_out = task().assigned("a", "n", "life", now_ms=5)
    reminded = given_out.reminded("idle for 60 s, and not ended", now_ms=9)
    assert (reminded.status, reminded.agent, reminded.attempt) == (Status.ASSIGNED, "a", 1)
    assert reminded.steps[-1].what == "reminded"
    assert reminded.reminder_id() == given_out.reminder_id() != given_out.message_id()
    assert reminded.message_id() == given_out.message_id()  # it is not told anew
    again = reminded.released("it died", now_ms=10).assigned("a", "n", "life", now_ms=11)
    assert again.reminder_id() != given_out.reminder_id()
    told = recalled(given_out)
    assert f"novactl task done {given_out.id}" in told
    assert f"novactl task fail {given_out.id}" in told
    with pytest.raises(Conflict):
        task().reminded("nobody has it", now_ms=1)


@given(tasks, candidates)
def test_each_agent_gets_one_task_that_fits_and_the_first_task_the_best_agent(
    ready: list[Task], there: list[Candidate]
) -> None:
    chosen = choose(ready, there)
    assert len({verdict.candidate.agent for _, verdict in chosen}) == len(chosen)
    assert len({each.id for each, _ in chosen}) == len(chosen)
    left = {each.agent: each for each in there}
    given_out = {each.id: verdict for each, verdict in chosen}
    for each in sorted(ready, key=lambda one: one.place):
        best = next((v for v in ranked(each, left.values()) if not v.why_not), None)
        mine = given_out.get(each.id)
        assert (best is None) == (mine is None)
        if best is not None and mine is not None:
            assert mine.score == pytest.approx(best.score)
            assert not unfit(each, mine.candidate)
            del left[mine.candidate.agent]


@given(tasks, candidates)
def test_a_node_stands_back_for_as_many_as_are_better(ready: list[Task], there: list[Candidate]) -> None:
    idle = [each for each in there if not each.why_not]
    for each in ready:
        for mine in (v for v in ranked(each, idle) if not v.why_not):
            better = sum(not v.why_not and v.score > mine.score + 1e-9 for v in ranked(each, idle))
            assert stand_back_s(each, mine, by_worth(idle)) == pytest.approx(0.5 * min(better, 6), abs=0.5)
            assert worth(mine.candidate) >= mine.score - 1e-9


def test_who_gave_it_back_comes_last_until_it_is_given_anew_by_order() -> None:
    back = task().assigned("had", "n", "life", now_ms=5).released("cannot", now_ms=6)
    assert [
        v.candidate.agent for v in ranked(back, [agent("had", done=99), agent("x", failed=99, load=1)])
    ] == ["x", "had"]
    assert back.tried == {"had"}
    assert back.reassigned("", now_ms=7, by="user:me").tried == frozenset()


def test_history_load_spare_skills_and_rest_decide() -> None:
    good, bad = agent("good", done=9), agent("bad", failed=9)
    assert [v.candidate.agent for v in ranked(task(), [bad, good])] == ["good", "bad"]
    assert judge(task(), agent("x", load=0.9)).score < judge(task(), agent("x", load=0.1)).score
    specialist = agent("s", skills=frozenset(SKILLS))
    assert judge(task(), specialist).score < judge(task(), agent("x")).score
    assert "history +5.00" in judge(task(), agent("x")).told


def test_who_can_never_have_it_comes_last_and_is_told_why() -> None:
    asked = task(role="worker", skills=("python",))
    found = ranked(
        asked, [agent("a"), agent("b", role="worker", skills=frozenset(["python"]), why_not="it is busy")]
    )
    assert [(v.candidate.agent, v.why_not) for v in found] == [
        ("b", "it is busy"),
        ("a", "its role is none, not worker"),
    ]


def test_a_task_goes_its_way_and_every_other_move_is_refused() -> None:
    new = new_task(task())
    held = new.assigned("a", "n", "%1.7", now_ms=5)
    done = held.done("fine", ("x",), now_ms=9, by="a")
    assert [step.what for step in done.steps] == ["added", "assigned", "done"]
    assert new.rank < held.rank < done.rank
    moves: list[Callable[[], Task]] = [
        lambda: held.assigned("b", "n", "", now_ms=6),
        lambda: new.done("", (), now_ms=6, by="a"),
        lambda: new.released("x", now_ms=6),
        lambda: done.done("", (), now_ms=10, by="a"),
        lambda: done.cancelled(now_ms=10, by="x"),
        lambda: done.reassigned("", now_ms=10, by="x"),
        lambda: done.edited(now_ms=10, by="x", title="y"),
    ]
    for wrong in moves:
        with pytest.raises(Conflict):
            wrong()


def test_what_failed_is_opened_again_with_all_its_retries_and_is_later_than_its_end() -> None:
    held = task(retries=0).assigned("a", "n", "", now_ms=2)
    failed = held.released("it died", now_ms=3)
    assert (failed.status, failed.result) == (Status.FAILED, "it died")
    again = failed.reassigned("b", now_ms=4, by="user:x")
    assert (again.status, again.attempt, again.wanted, again.agent) == (Status.QUEUED, 0, "b", "")
    assert again.rank > failed.rank
    assert again.assigned("b", "n", "", now_ms=5).message_id() != held.message_id()


def test_each_attempt_has_its_own_message_and_tells_of_those_before() -> None:
    first = task(deadline_s=60).assigned("a", "n", "1", now_ms=2)
    second = first.released("x", now_ms=3).assigned("a", "n", "1", now_ms=4)
    assert first.message_id() != second.message_id()
    assert first.due_ms == 60_002
    assert "You have 60s" in carried(first)
    assert "given once before" in carried(second)
    cancelled = second.cancelled(now_ms=5, by="user:x", reason="enough")
    assert "it was cancelled: enough" in taken_back(cancelled, "cancelled")


def test_who_lost_a_task_is_told_so_whatever_came_since() -> None:
    first = task().assigned("a", "n", "1", now_ms=2)
    taken = first.reassigned("b", now_ms=3, by="user:x")
    done = taken.assigned("b", "n", "1", now_ms=4).done("well", (), now_ms=5, by="b")
    again = taken.assigned("a", "n", "1", now_ms=4)
    assert taken.lost("a", taken.rank)
    assert done.lost("a", taken.rank)
    assert not again.lost("a", taken.rank)
    assert not first.lost("a", taken.rank), "a broker that came back from an old snapshot"
    assert taken_back(done, "reassigned") == taken_back(taken, "reassigned")
    assert "it is given anew: for b" in taken_back(done, "reassigned")


@given(st.binary(max_size=60))
def test_what_is_no_task_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        unpack(raw)


@given(tasks)
def test_a_record_is_read_as_it_was_written(several: list[Task]) -> None:
    for each in several:
        held = new_task(each).assigned("a", "n", "%1.2", now_ms=7, why="score 3")
        assert unpack(pack(held, "k1:ab")) == (held, "k1:ab")


def test_a_task_says_what_it_waits_for() -> None:
    first, second = task(1), task(2, depends_on=(task(1).id,))
    second = replace(second, depends_on=(first.id,))
    assert standing(second, {first.id: first}.get)[0] == "waiting"
    failed = replace(first, status=Status.FAILED)
    assert standing(second, {first.id: failed}.get)[0] == "blocked"
    assert standing(second, {first.id: replace(first, status=Status.DONE)}.get)[0] == "ready"


def test_what_is_over_is_told_of_by_its_end_and_not_by_how_far_it_was_once() -> None:
    def find(_name: TaskId) -> None: ...

    half = task().assigned("a", "n", "1", now_ms=2).edited(now_ms=3, by="a", note="half of it")
    assert standing(half, find) == ("assigned", "half of it")
    assert standing(half.done("", (), now_ms=4, by="a"), find) == ("done", "")
    assert standing(half.released("no disk", now_ms=4, final=True), find) == ("failed", "no disk")
    assert standing(half.cancelled(now_ms=4, by="x", reason="enough"), find) == ("cancelled", "enough")


def test_a_circle_is_found_and_a_diamond_is_none() -> None:
    a, b, c, d = (TaskId(name) for name in "abcd")
    refuse_cycle({a: [b, c], b: [d], c: [d]})
    with pytest.raises(InvalidRequest, match=r"a -> b -> d -> a|b -> d -> a -> b|d -> a -> b -> d"):
        refuse_cycle({a: [b], b: [d], d: [a]})
