"""Which ids and roles are proposed for panes, by the names of their sessions and windows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.adopt import AdoptRule
from nova_torch.values import AGENT_ID
from noval_d.agents.adoption import Adopt, Candidate, Leave
from noval_d.agents.proposals import is_temporary, propose
from tests.unit.test_adoption import DRIVERS, pane


def window(number: int, session: str, name: str, command: str = "claude", index: int = 1) -> Candidate:
    made = pane(number, command, window=name)
    return replace(made, pane=replace(made.pane, session=session, window_index=index))


def proposed(
    *panes: Candidate, rules: tuple[AdoptRule, ...] = (), agents: dict[str, str] | None = None
) -> list[tuple[str, str] | str]:
    """Return (name, role), or why not, of each pane."""
    return [
        (each.agent_id, each.role) if isinstance(each, Adopt) else each.reason
        for each in propose(panes, rules, DRIVERS, node="here", agents=agents or {})
    ]


@pytest.mark.parametrize(
    ("session", "name", "index", "role"),
    [
        ("shop", "Project-Manager", 1, "project-manager"),
        ("shop", "PM", 1, "project-manager"),
        ("shop", "DevOps", 1, "devops"),
        ("shop", "dev_2", 1, "developer"),
        ("shop", "LeadDeveloper", 1, "developer"),
        ("shop", "QA-Engineer", 1, "qa"),
        ("shop", "TEMP-CodeReview", 1, "reviewer"),
        ("shop", "Orchestrator", 3, "orchestrator"),
        ("tmux-orc", "claude", 0, "orchestrator"),
        ("tmux-orc", "claude", 2, "agent"),
        ("shop", "device", 1, "agent"),
        ("developers", "claude", 1, "agent"),
    ],
)
def test_a_role_is_what_the_window_is_called(session: str, name: str, index: int, role: str) -> None:
    assert proposed(window(1, session, name, index=index)) == [(f"{session}-{name}", role)]


def test_temporary_windows_are_marked() -> None:
    (one,) = propose([window(1, "shop", "TEMP-x")], (), DRIVERS, node="here", agents={})
    assert isinstance(one, Adopt)
    assert one.skills == ("temporary",)
    assert is_temporary("temp-x")
    assert not is_temporary("Template")


def test_shells_unknown_programs_and_agents_are_left_alone_with_the_reason() -> None:
    assert proposed(
        window(1, "s", "Shell", "bash"),
        window(2, "s", "logs", "tail"),
        window(3, "s", "a"),
        window(4, "s", "b", "codex"),
        agents={"a": "%3"},
    ) == [
        "no driver claims bash",
        "no driver claims tail",
        "it is agent a already",
        "the drivers codex and other claim codex",
    ]


def test_names_are_unique_and_those_of_agents_that_have_a_pane_are_not_given_again() -> None:
    panes = [window(number, "s", "w") for number in range(3)]
    assert [each[0] for each in proposed(*panes)] == ["s-w", "s-w-2", "s-w-3"]
    assert [each[0] for each in proposed(*panes, agents={"s-w": "%9", "s-w-2": ""})] == [
        "s-w-2",
        "s-w-3",
        "s-w-4",
    ]


def test_a_second_run_moves_no_name() -> None:
    panes = [window(number, "s", "w") for number in range(4)]
    first = dict(zip(("%0", "%1", "%2", "%3"), proposed(*panes), strict=True))
    registered = {str(first[number][0]): number for number in ("%0", "%2")}
    again = proposed(*panes, agents=registered)
    assert again[0] == "it is agent s-w already"
    assert again[1] == first["%1"]
    assert again[2] == "it is agent s-w-3 already"


def test_a_rule_of_the_configuration_goes_before_the_names() -> None:
    rules = (AdoptRule(window="boss", id="chief", role="boss"),)
    panes = [window(1, "s", "boss"), window(2, "s", "dev")]
    assert proposed(*panes, rules=rules) == [("chief", "boss"), ("s-dev", "developer")]


def test_names_that_no_agent_can_have_still_give_one() -> None:
    assert proposed(window(1, "你好", "世界"), window(2, "{x}", "a b:c")) == [
        ("claude", "agent"),
        ("x-a-b-c", "agent"),
    ]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=80), st.sampled_from(["s", "a" * 70])),
            st.one_of(st.text(max_size=80), st.sampled_from(["w", "w-2"])),
        ),
        max_size=6,
    )
)
def test_every_name_is_valid_and_given_once(names: list[tuple[str, str]]) -> None:
    panes = [window(number, *both) for number, both in enumerate(names)]
    found = propose(panes, (), DRIVERS, node="here", agents={})
    assert not [each for each in found if isinstance(each, Leave)]
    ids = [each.agent_id for each in found if isinstance(each, Adopt)]
    assert all(AGENT_ID.match(each) for each in ids)
    assert len(set(ids)) == len(panes)
