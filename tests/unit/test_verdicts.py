"""The judge of the mixed run finds every kind of lie."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.verdicts import Ended, Row, Sent, judged
from noval_d.canary.model.conversation import Request
from tests.lab.arrived import arrived

ONE = Sent(id="1", agent="a", marker="[[x-1]]")
PROVEN = ("accepted", "queued", "typed", "acknowledged")


def trace(*states: str, final: bool = True, reason: str = "why", step_ms: int = 10) -> dict[str, Any]:
    hops = [{"at_ms": n * step_ms, "state": state, "reason": reason} for n, state in enumerate(states)]
    return {"state": states[-1], "reason": reason, "final": final, "hops": hops}


def judge(told: dict[str, Any], count: int, *ended: Ended, asked_ms: tuple[int, ...] = ()) -> Row:
    (row,) = judged([ONE], ended, {"1": told}, {"a": {"[[x-1]]": count}}, {"a": asked_ms})
    return row


@pytest.mark.parametrize(
    ("states", "count"),
    [
        (PROVEN, 1),
        (("accepted", "queued", "held", "typed", "submitted"), 1),
        (("accepted", "queued", "typed", "submitted", "submitted"), 1),
        (("accepted", "queued", "typed", "unconfirmed"), 0),
        (("accepted", "queued", "typed", "unconfirmed"), 1),
        (("accepted", "queued", "held", "expired"), 0),
        (("accepted", "failed"), 0),
    ],
)
def test_what_is_true_is_right(states: tuple[str, ...], count: int) -> None:
    assert judge(trace(*states), count).wrong == ""


@pytest.mark.parametrize(
    ("told", "count", "wrong"),
    [
        (trace(*PROVEN), 0, "never got it"),
        (trace(*PROVEN), 2, "2 times"),
        (trace("accepted", "queued", "typed", "unconfirmed"), 2, "2 times"),
        (trace("accepted", "queued", "held", "expired"), 1, "expired, and the model got it"),
        (trace("accepted", "queued", "held", final=False), 0, "still held"),
        (trace("accepted", "queued", "held", final=False), 1, "held, and the model got it"),
        (trace("queued", "typed", "acknowledged"), 1, "begins with"),
        (trace("accepted", "queued", "acknowledged"), 1, "acknowledged follows queued"),
        (trace("accepted", "queued", "typed", "failed"), 0, "failed follows typed"),
        (trace(*PROVEN, step_ms=-1), 1, "is dated before"),
        (trace("accepted", "queued", "typed", "unconfirmed", reason=""), 0, "no reason"),
        ({**trace(*PROVEN), "state": "submitted"}, 1, "its receipt says submitted"),
    ],
)
def test_what_is_not_true_is_found(told: dict[str, Any], count: int, wrong: str) -> None:
    assert wrong in judge(told, count).wrong


@pytest.mark.parametrize(
    ("agent", "began_ms", "along"), [("a", 25, True), ("a", 60_000, False), ("b", 25, False)]
)
def test_only_an_agent_that_was_ended_just_then_may_take_a_text_along(
    agent: str, began_ms: int, along: bool
) -> None:
    row = judge(trace(*PROVEN), 0, Ended(agent=agent, how="kill -9", began_ms=began_ms, ended_ms=began_ms))
    assert row.taken_along is along
    assert bool(row.wrong) is not along


@pytest.mark.parametrize(
    ("asked_ms", "along"),
    [
        ((20, 2_000), True),  # it was about to ask already
        ((9_000,), False),  # and without the text, before its end
        ((11_000,), True),  # the next one did
    ],
)
def test_an_agent_that_has_asked_its_model_without_a_text_did_not_take_it_along(
    asked_ms: tuple[int, ...], along: bool
) -> None:
    end = Ended(agent="a", how="kill -9", began_ms=10_000, ended_ms=10_500)
    row = judge(trace(*PROVEN), 0, end, asked_ms=asked_ms)
    assert row.taken_along is along
    assert bool(row.wrong) is not along


def asked(name: str, *prompts: str) -> Request:
    return Request(path="/", conversation=name, main=True, user_texts=tuple((text,) for text in prompts))


@pytest.mark.parametrize(
    ("requests", "counts"),
    [
        ([asked("c", "[[a]]"), asked("c", "[[a]]", "[[b]]")], {"[[a]]": 1, "[[b]]": 1}),
        ([asked("c", "[[a]]"), asked("resumed", "[[a]]", "[[b]]")], {"[[a]]": 1, "[[b]]": 1}),
        # the last prompt was lost with the agent that was killed
        ([asked("c", "[[a]]", "[[b]]"), asked("c", "[[a]]", "[[d]]")], {"[[a]]": 1, "[[b]]": 1, "[[d]]": 1}),
        ([asked("c", "[[a]]", "[[b]]", "[[b]]")], {"[[a]]": 1, "[[b]]": 2}),
        ([asked("c", "[[a]]", "[[b]]"), asked("new", "[[b]]")], {"[[a]]": 1, "[[b]]": 2}),
    ],
)
def test_prompts_are_counted_over_restarts(requests: list[Request], counts: dict[str, int]) -> None:
    assert dict(arrived(requests)) == counts
