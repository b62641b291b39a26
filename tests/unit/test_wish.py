"""What is started, from what was asked for, the templates and the drivers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.templates import Template
from nova_torch.values import AgentSpec
from noval_d.agents.start import Start
from noval_d.life.plan import Plan
from noval_d.life.policy import Restart
from noval_d.life.wish import Wish, only_a_role, own_commands, settled
from tests.support.screens import CLAUDE, DRIVERS

CODEX = replace(CLAUDE, name="kodex", commands=("node",), start=Start(command=("kodex",)))
KNOWN = {"claude": DRIVERS["claude"], "line": DRIVERS["line"], "kodex": CODEX}
REVIEWER = Template(
    skills=("python",),
    driver="claude",
    cwd="~/work",
    command=("claude", "--model", "opus"),
    env={"A": "1", "B": "2"},
    prompt="look",
    restart="on-failure",
    allow=("trust",),
)


def settle(**wish: Any) -> tuple[AgentSpec, Plan]:
    templates = {"reviewer": REVIEWER}
    return settled(Wish(**{"here": "/here", **wish}), templates, KNOWN, mark="0a1b2c3d", home="/home/me")


def test_a_template_says_everything_and_the_name_is_the_role_and_a_mark() -> None:
    spec, plan = settle(name="reviewer")
    assert (spec.agent_id, spec.role, spec.skills, spec.driver) == (
        "reviewer-0a1b2c3d",
        "reviewer",
        ("python",),
        "claude",
    )
    assert (plan.command, plan.cwd, plan.session) == (("claude", "--model", "opus"), "/home/me/work", "nova")
    assert (plan.restart, plan.allow, plan.prompt) == (Restart.ON_FAILURE, ("trust",), "look")


def test_options_go_over_the_template_and_variables_and_allowed_dialogs_are_added() -> None:
    spec, plan = settle(
        name="reviewer",
        agent_id="r-1",
        skills=("sql",),
        command=("claude",),
        cwd="/elsewhere/./x",
        env={"B": "3", "C": "4"},
        prompt="other",
        session="work",
        restart="never",
        allow=("api-key", "trust"),
    )
    assert (spec.agent_id, spec.skills) == ("r-1", ("sql",))
    assert plan.env == {"A": "1", "B": "3", "C": "4"}
    assert (plan.cwd, plan.session, plan.prompt) == ("/elsewhere/x", "work", "other")
    assert (plan.restart, plan.allow, plan.command) == (Restart.NEVER, ("trust", "api-key"), ("claude",))


@pytest.mark.parametrize(
    ("wish", "driver"),
    [
        ({"name": "claude"}, "claude"),
        ({"name": "tester", "driver": "claude"}, "claude"),
        ({"name": "tester", "command": ("/opt/bin/claude", "-v")}, "claude"),
        ({"name": "tester", "command": ("kodex",)}, "kodex"),
        ({"name": "kodex"}, "kodex"),
    ],
)
def test_a_driver_is_found_by_its_name_or_by_the_command(wish: dict[str, Any], driver: str) -> None:
    spec, plan = settle(**wish)
    assert spec.driver == driver
    assert plan.cwd == "/here"


@pytest.mark.parametrize(
    ("wish", "sentence", "cure"),
    [
        ({"name": "reviwer"}, "no template 'reviwer'", "Did you mean reviewer?"),
        ({"name": "cluade"}, "no template 'cluade'", "Did you mean claude?"),
        ({"name": "xyzzy"}, "on the agent's PATH is none of claude, kodex", "Install one"),
        ({"name": "tester", "command": ("node", "x.js")}, "none claims 'node'", "--driver"),
        ({"name": "tester", "driver": "cluade"}, "no driver 'cluade'", "claude"),
        ({"name": "line"}, "names no command", "-- COMMAND"),
        ({"name": "reviewer", "allow": ("trsut",)}, "dialog", "trust"),
        ({"name": "claude", "cwd": "some/where"}, "relative", "/"),
        ({"name": "claude", "session": "a.b"}, "session", "letters"),
        ({"name": "claude", "session": "=x"}, "session", "letters"),
        ({"name": "claude", "prompt": "a\0b"}, "the prompt holds a NUL", "out"),
        ({"name": "claude", "prompt": "a\udc80b"}, "not UTF-8", "UTF-8"),
        ({"name": "claude", "env": {"A=B": "x"}}, "no name of a variable", "letters"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_with_its_cure(
    wish: dict[str, Any], sentence: str, cure: str
) -> None:
    with pytest.raises(NovaError) as caught:
        settle(**wish)
    assert sentence in caught.value.message
    assert cure in caught.value.hint


def test_a_plan_prints_no_value_of_a_variable_and_no_prompt() -> None:
    _, plan = settle(name="reviewer", env={"KEY": "swordfish"}, prompt="private words")
    assert "swordfish" not in repr(plan)
    assert "private" not in repr(plan)


def test_a_role_leaves_open_which_agent_it_means_and_a_mistyped_name_does_not() -> None:
    def bare(name: str, **wish: Any) -> bool:
        return only_a_role(Wish(name=name, **wish), {"reviewer": REVIEWER}, KNOWN)

    assert [name for name in ("developer", "coder", "tester", "qa", "pm") if not bare(name)] == []
    assert not any(map(bare, ("reviewer", "claude", "line", "reviwer", "cluade", "claud", "kodx")))
    assert not bare("developer", driver="kodex")
    assert not bare("developer", command=("kodex",))


def test_the_known_agents_are_looked_for_first_and_in_one_order() -> None:
    assert list(own_commands({**DRIVERS, "aaa": CODEX})) == [
        "claude", "codex", "gemini", "opencode", "aider", "aaa",
    ]  # fmt: skip
    assert "line" not in own_commands(DRIVERS)
