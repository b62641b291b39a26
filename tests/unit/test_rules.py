"""Policies: which rule decides, what a pattern means, what a file may say."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import ConfigInvalid
from nova_torch.policy import (
    ACTIONS,
    CLASSES,
    KINDS,
    Party,
    Policy,
    Request,
    Rule,
    matches,
    read_policy,
    rules_of,
)
from novactl.table import guard as table

names = st.sampled_from(
    ["ann", "worker-1", "worker-2", "user:ann", "user:root", "bridge:ops:x", "", "Worker"]
)
parties = st.builds(
    Party,
    name=names,
    role=st.sampled_from(["", "worker", "lead"]),
    node=st.sampled_from(["", "build-1", "far"]),
)
patterns = st.sampled_from(
    [
        "*",
        "ann",
        "worker-*",
        "user:*",
        "agent:*",
        "bridge:ops:*",
        "role:lead",
        "role:*",
        "node:build-?",
        "user:ann",
    ]
)
listed = st.lists(patterns, max_size=3).map(tuple)
requests = st.builds(
    Request,
    action=st.sampled_from(ACTIONS),
    by=parties,
    to=parties,
    kind=st.sampled_from(KINDS),
    command=st.booleans(),
)
rules = st.builds(
    Rule,
    allow=st.booleans(),
    actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3).map(tuple),
    by=listed,
    to=listed,
    kinds=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
    command=st.sampled_from([None, True, False]),
    number=st.integers(1, 99),
)
policies = st.builds(Policy, rules=st.lists(rules, max_size=6).map(tuple), may_answer=st.frozensets(names))


@given(policies, requests)
def test_the_first_rule_that_fits_decides(policy: Policy, request: Request) -> None:
    ruling = policy.decide(request)
    fitting = [rule for rule in policy.rules if rule.fits(request)]
    if fitting:
        assert (ruling.allow, ruling.rule) == (fitting[0].allow, fitting[0].number)
        assert policy.about(request.action)
    else:
        assert ruling.rule == 0
        assert ruling == Policy(may_answer=policy.may_answer).decide(request)


@given(policies, rules, requests)
def test_a_rule_behind_others_changes_nothing_that_they_decide(
    policy: Policy, rule: Rule, request: Request
) -> None:
    before = policy.decide(request)
    if before.rule:
        assert replace(policy, rules=(*policy.rules, rule)).decide(request) == before


@given(policies, requests)
def test_a_last_rule_that_denies_all_leaves_only_what_others_allow(policy: Policy, request: Request) -> None:
    closed = replace(policy, rules=(*policy.rules, Rule(allow=False, actions=ACTIONS, number=100)))
    assert (
        closed.decide(request).allow
        == any(
            rule.fits(request) and rule.allow
            for rule in policy.rules
            if rule is next(r for r in policy.rules if r.fits(request))
        )
        if any(rule.fits(request) for rule in policy.rules)
        else not closed.decide(request).allow
    )


@given(requests, st.frozensets(names))
def test_without_rules_all_is_as_ever(request: Request, may_answer: frozenset[str]) -> None:
    allowed = Policy(may_answer=may_answer).decide(request).allow
    agent = request.by.name and ":" not in request.by.name
    assert allowed == (request.action != "answer" or not agent or request.by.name in may_answer)


@given(rules, requests, patterns)
def test_more_patterns_never_fit_less(rule: Rule, request: Request, pattern: str) -> None:
    if rule.by and rule.fits(request):
        assert replace(rule, by=(*rule.by, pattern)).fits(request)


@pytest.mark.parametrize(
    ("pattern", "party", "fits"),
    [
        ("worker-*", Party(name="worker-1"), True),
        ("worker-*", Party(name="user:worker-1"), False),
        ("*", Party(name="user:ann"), True),
        ("agent:*", Party(name="worker-1"), True),
        ("agent:*", Party(name="user:ann"), False),
        ("agent:*", Party(name="bridge:ops:ann"), False),
        ("agent:*", Party(name=""), False),
        ("user:*", Party(name="user:ann"), True),
        ("user:*", Party(name="user"), False),
        ("bridge:ops:*", Party(name="bridge:ops:user:ann"), True),
        ("bridge:*", Party(name="bridgehead"), False),
        ("role:lead", Party(name="x", role="lead"), True),
        ("role:*", Party(name="x"), False),
        ("node:build-*", Party(name="x", node="build-1"), True),
        ("node:*", Party(name="x"), False),
        ("role:lead", Party(name="role:lead"), False),
        ("Worker", Party(name="worker"), False),
    ],
)
def test_what_a_pattern_means(pattern: str, party: Party, fits: bool) -> None:
    assert matches(pattern, party) is fits


@given(names)
def test_a_bridge_is_never_taken_for_an_agent_or_a_person(name: str) -> None:
    bridge = Party(name=f"bridge:ops:{name}")
    assert not matches("agent:*", bridge)
    assert not matches("user:*", bridge)


GOOD = """
[[rule]]
allow = "answer"
from = "role:lead"

[[rule]]
deny = ["send", "speak"]
from = ["bridge:*", "node:far"]
to = "worker-*"
reason = "the workers hear no strangers"

[[rule]]
deny = ["send"]
command = true
kind = ["task", "message"]
"""


def written(path: Path, text: str, mode: int = 0o644) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path / "p", GOOD), ["helper"])
    assert [(rule.number, rule.allow, rule.actions) for rule in policy.rules] == [
        (1, True, ("answer",)),
        (2, False, ("send", "speak")),
        (3, False, ("send",)),
    ]
    worker = Party(name="worker-1")
    said = policy.decide(Request(action="send", by=Party(name="bridge:ops:x"), to=worker))
    assert said.why == "rule 2 of the policy denies it: the workers hear no strangers"
    assert policy.decide(
        Request(action="send", by=Party(name="a"), to=worker, kind="reply", command=True)
    ).allow
    assert policy.decide(Request(action="answer", by=Party(name="x", role="lead"), to=worker)).allow
    assert policy.decide(Request(action="answer", by=Party(name="helper"), to=worker)).allow
    assert read_policy("") == Policy()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[rule]]\nallow = ['sned']", r"allow in rule 1 of .* has 'sned'\. Did you mean send\?"),
        ("[[rule]]\nalow = ['send']", r"rule 1 .* has an unknown key: alow\. Did you mean allow\?"),
        ("[[rules]]\nallow = ['send']", r"unknown table: rules\. Did you mean rule\?"),
        ("[rule]\nallow = ['send']", r"is no list of rules.*\[\[rule\]\]"),
        ("[[rule]]\nto = 'x'", "says neither allow nor deny"),
        ("[[rule]]\nallow = 'send'\ndeny = 'send'", "says both allow and deny"),
        (
            "[[rule]]\nallow = 'send'\nfrom = 'usr:ann'",
            r"from in rule 1 .* has 'usr:ann'\. Did you mean user\?",
        ),
        ("[[rule]]\nallow = 'send'\nto = []", "a list of them that is not empty"),
        ("[[rule]]\nallow = 'send'\nkind = 'tsk'", "Did you mean task"),
        ("[[rule]]\nallow = 'send'\ncommand = 'yes'", "It is true or false"),
        ("[[rule]]\nallow = 'send'\nreason = 1", "is no text"),
        ("[[rule]]\nallow = ['send', 'stop']\ncommand = true", "go with send alone"),
        ("[[rule]\n", "is no TOML"),
    ],
)
def test_a_typo_is_named_with_what_was_meant(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        read_policy(written(tmp_path / "p", text))


def test_a_policy_that_others_may_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can be written by others"):
        read_policy(written(tmp_path / "p", GOOD, 0o666))
    with pytest.raises(ConfigInvalid, match="No such file"):
        read_policy(str(tmp_path / "none"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["rule", "allow", "deny", "from", "to", "kind", "command", "x"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_whatever_a_file_holds_it_is_rules_or_one_sentence(data: Any) -> None:
    with contextlib.suppress(ConfigInvalid):
        rules_of(data if isinstance(data, dict) else {"rule": data}, "p")


def test_the_table_of_commands_knows_the_same_words() -> None:
    assert table.ACTIONS == ACTIONS
    assert table.KINDS == KINDS
    assert len(CLASSES) == 5
