"""Which panes become agents by which rules, and why the others do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.adopt import EVERY_CLAIMED, AdoptRule, read_rules
from nova_torch.config import changes, load
from nova_torch.errors import ConfigInvalid
from nova_torch.values import AGENT_ID, PaneId
from noval_d.agents.adoption import Adopt, Candidate, Leave, plan
from noval_d.agents.driver import Driver
from noval_d.tmux.panes import PaneFacts

DRIVERS = {
    driver.name: driver
    for driver in (
        Driver(name="claude", commands=("claude",)),
        Driver(name="codex", commands=("codex", "node"), processes=(re.compile(r"/codex( |$)"),)),
        Driver(name="other", commands=("codex",)),
        Driver(name="generic", strategy="cursor_line"),
        Driver(name="line", kind="line"),
    )
}


def pane(
    number: int, command: str, argv: str = "", *, window: str = "w", agent: str = "", node: str = ""
) -> Candidate:
    facts = PaneFacts(
        pane_id=PaneId(f"%{number}"), pid=number, tty="", command=command, dead=False, in_mode=False,
        input_off=False, synchronized=False, title="", session="work", window_index=number, window_name=window,
        cursor_x=0, cursor_y=0, cursor_visible=True, width=80, height=24, nova_agent=agent, nova_node=node,
    )  # fmt: skip
    return Candidate(pane=facts, argv=tuple(argv.split()) or (command,))


def decided(*panes: Candidate, rules: tuple[AdoptRule, ...] = (EVERY_CLAIMED,), **agents: str) -> list[str]:
    """Return `name by driver`, or why not, of each pane."""
    return [
        f"{each.agent_id} by {each.driver}" if isinstance(each, Adopt) else each.reason
        for each in plan(panes, rules, DRIVERS, node="here", agents=agents)
    ]


def test_without_rules_every_program_that_one_driver_claims_is_adopted() -> None:
    panes = [
        pane(1, "claude"),
        pane(2, "bash", "-bash"),
        pane(3, "node", "node /opt/codex resume"),
        pane(4, "node", "node server.js --token secret"),
        pane(5, "codex"),
        pane(6, "claude"),
    ]
    assert decided(*panes) == [
        "claude-1 by claude",
        "no driver claims bash",
        "codex-1 by codex",
        "no driver claims node server.js",
        "the drivers codex and other claim codex",
        "claude-2 by claude",
    ]


def test_agents_and_panes_of_other_nodes_are_left_alone() -> None:
    panes = [pane(1, "claude", agent="a", node="here"), pane(2, "claude", agent="b", node="there")]
    assert decided(*panes, a="%1") == ["it is agent a already", "it belongs to agent b of node there"]


def test_the_first_rule_that_fits_decides_and_no_other() -> None:
    rules = (
        AdoptRule(window="review-*", id="{window}", role="reviewer", skills=("python",)),
        AdoptRule(window="log", command="tail*", driver="line", id="log"),
        AdoptRule(command="node codex", id="{session}-{n}"),
    )
    panes = [
        pane(1, "claude", window="review-1"),
        pane(2, "tail", window="log"),
        pane(3, "node", "node /x/codex"),
        pane(4, "claude", window="free"),
        pane(5, "bash", window="review-2"),
    ]
    assert decided(*panes, rules=rules) == [
        "review-1 by claude",
        "log by line",
        "work-1 by codex",
        "no rule matches",
        "no driver claims bash",
    ]
    (first, *_) = plan(panes, rules, DRIVERS, node="here", agents={})
    assert isinstance(first, Adopt)
    assert (first.role, first.skills) == ("reviewer", ("python",))


def test_a_named_driver_takes_only_what_it_knows_and_generic_no_shell() -> None:
    rules = (AdoptRule(window="c", driver="claude"), AdoptRule(window="g", driver="generic"),
             AdoptRule(window="x", driver="nosuch"))  # fmt: skip
    panes = [pane(1, "vim", window="c"), pane(2, "zsh", window="g"), pane(3, "vim", window="g"),
             pane(4, "vim", window="x")]  # fmt: skip
    assert decided(*panes, rules=rules) == [
        "it runs vim, not claude",
        "it runs zsh, and generic never types into a shell",
        "generic-1 by generic",
        "its rule names the driver nosuch, and there is none",
    ]


def test_a_name_is_given_to_one_pane_and_a_lost_agent_gets_its_name_back() -> None:
    rules = (AdoptRule(id="{window}"),)
    twice = [pane(1, "claude", window="rev"), pane(2, "claude", window="rev")]
    assert decided(*twice, rules=rules) == ["rev by claude", "the name rev is taken"]
    assert decided(twice[0], rules=rules, rev="%9") == ["the name rev is taken"]
    assert decided(twice[0], rules=rules, rev="") == ["rev by claude"]
    (numbered,) = plan([pane(1, "claude")], [EVERY_CLAIMED], DRIVERS, node="here", agents={"claude-1": ""})
    assert numbered.agent_id == "claude-2"


def test_an_agent_of_another_node_keeps_its_name() -> None:
    found = plan(
        [pane(1, "claude")],
        [EVERY_CLAIMED],
        DRIVERS,
        node="here",
        agents={},
        elsewhere=frozenset({"claude-1"}),
    )
    assert [each.agent_id for each in found] == ["claude-2"]


@given(
    windows=st.lists(st.text(max_size=12), max_size=6),
    template=st.sampled_from(["{window}", "{window}-{n}", "{driver}-{n}", "x"]),
    known=st.dictionaries(st.sampled_from(["claude-1", "x", "a", "claude-2"]), st.sampled_from(["", "%90"])),
)
def test_names_are_valid_and_nobody_gets_the_name_of_an_agent_that_has_a_pane(
    windows: list[str], template: str, known: dict[str, str]
) -> None:
    panes = [pane(n, "claude", window=window) for n, window in enumerate(windows)]
    found = plan(panes, [AdoptRule(id=template)], DRIVERS, node="here", agents=known)
    names = [each.agent_id for each in found if isinstance(each, Adopt)]
    assert len(found) == len(panes)
    assert all(AGENT_ID.match(name) for name in names)
    assert len(set(names)) == len(names)
    assert not {name for name, held in known.items() if held} & set(names)
    assert all(each.reason for each in found if isinstance(each, Leave))


# -- the configuration --


@pytest.mark.parametrize(
    ("rule", "wrong", "cure"),
    [
        ({"windw": "x"}, "windw", "window"),
        ({"id": "{windw}"}, "{windw}", "window"),
        ({"id": "{window"}, "id in", "brace"),
        ({"id": "{n:3}"}, "{n}", ""),
        ({"id": ""}, "empty", "id"),
        ({"skills": "python"}, "skills", "list of texts"),
        ({"role": 1}, "role", "a text"),
        ({"driver": "line"}, "names a driver", "session, window or command"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_cure(
    rule: dict[str, object], wrong: str, cure: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_rules([{"window": "a"}, rule], "c.toml")
    assert "[[adopt]] number 2" in caught.value.message
    assert wrong in caught.value.message
    assert cure in caught.value.hint


def test_rules_are_read_from_the_file_and_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[adopt]]\nwindow = "rev*"\nid = "{window}"\n[[adopt]]\nrole = "any"\n')
    config = load(str(file), {"HOME": str(tmp_path)})
    assert [rule.window for rule in config.adopt] == ["rev*", ""]
    assert config.shown()["adopt"][1]["role"] == "any"
    assert "adopt" in changes(load(None, {"HOME": str(tmp_path)}), config)
    file.write_text('[adopt]\nwindow = "rev*"\n')
    with pytest.raises(ConfigInvalid, match="no list of rules"):
        load(str(file), {"HOME": str(tmp_path)})
