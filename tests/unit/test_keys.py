"""The key space."""

from __future__ import annotations

import re
from dataclasses import astuple

import pytest

from nova_torch import keys
from nova_torch.broker import scripts
from nova_torch.errors import InvalidRequest


def tags(names: tuple[str, ...]) -> set[str]:
    return {tag for name in names for tag in re.findall(r"\{([^}]*)\}", name)}


def test_all_keys_of_an_agent_share_one_hash_tag() -> None:
    assert tags(astuple(keys.Keys("nova").mailbox("claude-1"))) == {"a:claude-1"}


def test_all_keys_of_a_node_share_one_hash_tag() -> None:
    assert tags(astuple(keys.Keys("nova").node("box"))) == {"n:box"}


def test_keys_that_were_made_are_not_made_again_and_only_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "KEPT", 3)
    space, other = keys.Keys("nova"), keys.Keys("other")
    assert space.mailbox("a") is space.mailbox("a")
    assert space.node("a") is space.node("a")
    for name in "abcdefg" * 2:
        assert space.mailbox(name) == keys.Keys("nova").mailbox(name) != other.mailbox(name)
        assert space.node(name) == keys.Keys("nova").node(name) != other.node(name)
        assert max(len(space._mailboxes), len(space._nodes)) <= 3
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            space.mailbox("no name")


def test_all_keys_of_the_registry_share_one_hash_tag() -> None:
    space = keys.Keys("nova")
    assert tags((*astuple(space.registry("box")), space.generation, space.drains)) == {"reg"}


def test_the_keys_are_those_of_the_documentation() -> None:
    space = keys.Keys("nova")
    made = {*astuple(space.mailbox("<agent>".strip("<>"))), *astuple(space.node("node"))}
    made |= {*astuple(space.registry("node")), space.generation, space.bridges_dead}
    made |= {space.bridged_task("<task>"), space.generation_of("s<n>"), space.drains}
    made |= {*astuple(space.tasks), space.scale_lead, space.scale_epoch, space.scale_acts}
    documented = set(re.findall(r"^\| `(\{prefix\}\S+)` \|", keys.__doc__ or "", re.MULTILINE))
    shown = {
        key.replace("{prefix}", "nova").replace("<agent>", "agent").replace("<node>", "node")
        for key in documented
    }
    assert made == shown


@pytest.mark.parametrize("name", ["", "a b", "a}", "{a", "-a", "a|b", "x" * 65, "ä", "a\n"])
def test_a_name_that_would_break_a_key_is_refused(name: str) -> None:
    space = keys.Keys("nova")
    for make in (space.mailbox, space.node, space.registry):
        with pytest.raises(InvalidRequest):
            make(name)


@pytest.mark.parametrize("prefix", ["", "{x}", "a b", "x}y"])
def test_a_prefix_that_would_move_the_hash_tag_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidRequest):
        keys.Keys(prefix)


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda s: s.name)
def test_a_script_names_its_keys_and_runs_on_every_lua(script: scripts.Script) -> None:
    assert "KEYS[" not in script.body
    assert not re.search(r"[^.\w]unpack\(|//|tostring\(", script.body)
