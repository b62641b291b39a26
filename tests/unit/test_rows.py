"""The row of an agent: the very same one while nothing changed, and another one with whatever does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from nova_torch.performance import NOTHING_YET, Performance
from nova_torch.values import AgentId, AgentRecord, AgentSpec, AgentState, NodeId, PaneId
from noval_d.agents.agent import Agent
from noval_d.agents.attention import Attention
from noval_d.agents.driver import stand_in
from noval_d.agents.rows import Rows
from noval_d.agents.states import Source
from noval_d.tmux.panes import PaneFacts

FACTS = PaneFacts(
    pane_id=PaneId("%1"), pid=os.getpid(), tty="/dev/null", command="cat", dead=False, in_mode=False,
    input_off=False, synchronized=False, title="", session="s", window_index=1, window_name="w", cursor_x=0,
    cursor_y=0, cursor_visible=True, width=80, height=24,
)  # fmt: skip


class Here:
    """An agent, and what the node knows of it elsewhere."""

    def __init__(self) -> None:
        self.agent = Agent(
            spec=AgentSpec(agent_id=AgentId("a")),
            driver=stand_in("line"),
            clock=lambda: 1.0,
            clock_ms=lambda: 1,
        )
        self.agent.facts = FACTS
        self.queued, self.asked = 0, False
        self.task, self.figures = "", NOTHING_YET
        self.tally: Mapping[str, int] = {}
        self.rows = Rows(
            NodeId("n"),
            task_of=lambda _, asked: self.task or ("q" if asked else ""),
            performance_of=lambda _: self.figures,
            tally_of=lambda _: self.tally,
        )

    def row(self) -> AgentRecord:
        return self.rows.of(self.agent, self.queued, asked=self.asked)

    def news(self) -> object:
        return self.rows.news(self.agent, self.queued, asked=self.asked)


def _spec(**changed: object) -> Callable[[Here], None]:
    return lambda here: setattr(here.agent, "spec", replace(here.agent.spec, **changed))  # type: ignore[arg-type]


def _facts(**changed: object) -> Callable[[Here], None]:
    return lambda here: setattr(here.agent, "facts", replace(FACTS, **changed))  # type: ignore[arg-type]


def _standing(**changed: object) -> Callable[[Here], None]:
    return lambda here: setattr(
        here.agent, "standing", replace(here.agent.standing, **changed)  # type: ignore[arg-type]
    )  # fmt: skip


CHANGES: list[tuple[str, Callable[[Here], None], object]] = [
    ("role", _spec(role="tester"), "tester"),
    ("skills", _spec(skills=("sql",)), ("sql",)),
    ("driver", lambda here: setattr(here.agent, "driver", stand_in("other")), "other"),
    ("pane", _facts(pane_id=PaneId("%2")), "%2"),
    ("pane", lambda here: setattr(here.agent, "facts", None), ""),
    ("session", _facts(session="t"), "t"),
    ("window", _facts(window_name="v"), "v"),
    ("state", _standing(state=AgentState.BUSY), AgentState.BUSY),
    ("state_source", _standing(source=Source.HOOK), "hook"),
    ("detail", _standing(detail="why"), "why"),
    ("state_since_ms", lambda here: setattr(here.agent, "state_since_ms", 7), 7),
    ("queued", lambda here: setattr(here, "queued", 3), 3),
    ("last_seen_ms", lambda here: setattr(here.agent, "seen_ms", 9), 9),
    ("current_task", lambda here: setattr(here, "task", "t1"), "t1"),
    ("current_task", lambda here: setattr(here, "asked", True), "q"),
    (
        "attention",
        lambda here: setattr(here.agent, "attention", Attention(reason="dialog", detail="x")),
        "dialog",
    ),
    ("performance", lambda here: setattr(here, "figures", Performance(messages=1)), Performance(messages=1)),
    ("performance", lambda here: setattr(here, "tally", {"failed": 2}), Performance(tasks_failed=2)),
]


@pytest.mark.parametrize(("part", "change", "now"), CHANGES)
def test_whatever_changes_of_an_agent_is_in_its_row(
    part: str, change: Callable[[Here], None], now: object
) -> None:
    here = Here()
    before = here.row()
    assert here.row() is before
    change(here)
    after = here.row()
    assert getattr(after, part) == now != getattr(before, part)
    assert here.row() is after
    fresh = Here()
    change(fresh)
    assert fresh.row() == after


@pytest.mark.parametrize(("part", "change", "now"), CHANGES)
def test_all_that_changes_of_a_row_is_news_but_what_passes(
    part: str, change: Callable[[Here], None], now: object
) -> None:
    here = Here()
    before = here.news()
    assert here.news() == before
    change(here)
    assert (here.news() == before) is (part in ("last_seen_ms", "performance")), now


def test_what_waits_for_an_idle_agent_is_no_news_for_it_is_gone_before_anybody_reads_of_it() -> None:
    here = Here()
    _standing(state=AgentState.IDLE)(here)
    before = here.row(), here.news()
    here.queued = 1
    assert here.row() != before[0]
    assert here.news() == before[1]


def test_nothing_that_a_row_has_is_left_out_above() -> None:
    told = {part for part, _, _ in CHANGES} | {"agent_id", "node"}  # another one of these is another agent
    assert told == AgentRecord.__dataclass_fields__.keys() - {"more"}  # which is what others tell


def test_a_tally_that_is_written_into_is_seen() -> None:
    here = Here()
    tally = {"done": 1, "ms": 2000}
    here.tally = tally
    assert here.row().performance.avg_completion_time == 2.0
    tally["ms"] = 4000
    assert here.row().performance.avg_completion_time == 4.0


def test_the_row_of_who_is_gone_is_not_kept() -> None:
    here = Here()
    here.row()
    assert repr(here.rows) == "<Rows 1 agents>"
    here.rows.forget(AgentId("a"))
    here.rows.forget(AgentId("a"))
    assert repr(here.rows) == "<Rows 0 agents>"
