"""What the drop-in scripts decide: which pane is meant, how it is typed into, whether somebody types there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nova_torch.errors import PaneNotFound
from nova_torch.values import PaneId
from noval_d.agents.driver_file import load_drivers
from noval_d.legacy.choose import Way, choose
from noval_d.legacy.look import last
from noval_d.legacy.plain import drivers_of
from noval_d.legacy.target import find
from noval_d.tmux.panes import PaneFacts
from noval_d.tmux.targets import Place

DRIVERS = load_drivers()


def place(number: int, session: str, window: int, name: str, pane: int = 0, *, active: bool = True) -> Place:
    return Place(
        pane_id=PaneId(f"%{number}"), pid=number, pane_index=pane, pane_active=active, dead=False,
        window_index=window, window_active=window == 0, attached=0, session=session, window_name=name, title="",
        command="sh",
    )  # fmt: skip


PLACES = (
    place(1, "work", 0, "main"),
    place(2, "work", 1, "2"),
    place(3, "work", 2, "a.b"),
    place(4, "work", 2, "a.b", 1, active=False),
    place(5, "worker", 0, "main"),
    place(6, "0", 0, "x"),
)


@pytest.mark.parametrize(
    ("target", "pane"),
    [
        ("work", "%1"), ("work:", "%1"), ("work:main", "%1"), ("work:1", "%2"), ("work:2", "%3"),
        ("work:a.b", "%3"), ("work:2.1", "%4"), ("work:a.b.1", "%4"), ("worker", "%5"), ("worke", "%5"),
        ("=work:0", "%1"), ("0", "%6"), ("0:0.0", "%6"), ("%4", "%4"), ("", "%5"), (":main", "%5"), (":", "%5"),
    ],
)  # fmt: skip
def test_a_target_means_one_pane(target: str, pane: str) -> None:
    assert find(PLACES, target, PaneId("%5")) == pane


@pytest.mark.parametrize(
    "target", ["wor", "=wor:0", "=worke", "work:9", "work:mai", "work:2.7", "%9", "x", ":9"]
)
def test_a_target_that_means_no_pane_or_several_is_an_error(target: str) -> None:
    with pytest.raises(PaneNotFound):
        find(PLACES, target, PaneId("%5"))


def test_without_a_current_pane_an_empty_target_means_nothing() -> None:
    for target in ("", ":0"):
        with pytest.raises(PaneNotFound, match="current session"):
            find(PLACES, target, None)


FACTS = PaneFacts(
    pane_id=PaneId("%1"), pid=1, tty="/dev/pts/0", command="bash", dead=False, in_mode=False, input_off=False,
    synchronized=False, title="", session="s", window_index=0, window_name="w", cursor_x=0, cursor_y=0,
    cursor_visible=True, width=80, height=24,
)  # fmt: skip


def spec(driver: str, program: str) -> str:
    return json.dumps({"role": "", "skills": [], "driver": driver, "program": program})


@pytest.mark.parametrize(
    ("command", "argv", "buffered", "way", "driver"),
    [
        ("bash", ("bash",), False, Way.LINE, "line"),
        ("-zsh", ("-zsh",), False, Way.LINE, "line"),
        ("cat", ("cat",), True, Way.LINE, "line"),
        ("ssh", ("ssh", "host"), False, Way.SCREEN, "generic"),
        ("vim", ("vim",), False, Way.SCREEN, "generic"),
        ("claude", ("claude",), False, Way.AGENT, "claude"),
    ],
)
def test_what_runs_in_a_pane_says_how_it_is_typed_into(
    command: str, argv: tuple[str, ...], buffered: bool, way: Way, driver: str
) -> None:
    found = choose(replace(FACTS, command=command), argv, DRIVERS, line_buffered=buffered)
    assert (found.way, found.driver.name, found.absent) == (way, driver, "")


def test_a_registered_agents_pane_is_its_own_and_nobody_elses() -> None:
    pane = replace(FACTS, nova_agent="a", nova_spec=spec("claude", "claude"))
    there = choose(replace(pane, command="claude"), ("claude",), DRIVERS, line_buffered=False)
    assert (there.way, there.absent) == (Way.AGENT, "")
    assert "which is not in front: bash is" in choose(pane, ("bash",), DRIVERS, line_buffered=False).absent
    as_line = replace(FACTS, nova_agent="a", nova_spec=spec("line", "bash"))
    assert choose(as_line, ("bash",), DRIVERS, line_buffered=False).absent == ""
    for written in ("", spec("mine", "x")):
        unknown = replace(FACTS, nova_agent="a", nova_spec=written)
        assert choose(unknown, ("bash",), DRIVERS, line_buffered=False).absent


def test_a_program_that_edits_a_line_gets_text_and_enter_at_once_and_an_agent_does_not() -> None:
    def way(command: str, *, edits: bool) -> Way:
        pane = replace(FACTS, command=command)
        return choose(pane, (command,), DRIVERS, line_buffered=False, edits_line=edits).way

    assert (way("psql", edits=True), way("psql", edits=False)) == (Way.LINE, Way.SCREEN)
    assert way("claude", edits=True) is Way.AGENT


def test_drivers_of_ones_own_are_used_without_a_daemon_too(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[driver]\nname = "mine"\nkind = "line"\n')
    (tmp_path / "line.toml").write_text("broken")
    nowhere = {"NOVA_TORCH_CONFIG": str(tmp_path / "none.toml")}
    assert set(drivers_of(nowhere)) == set(DRIVERS)
    config = tmp_path / "config.toml"
    config.write_text(f'[delivery]\ndrivers_dir = "{tmp_path}"\n')
    assert set(drivers_of({"NOVA_TORCH_CONFIG": str(config)})) == {*DRIVERS, "mine"}
    config.write_text("[nonsense]\n")
    assert set(drivers_of({"NOVA_TORCH_CONFIG": str(config)})) == set(DRIVERS)


def test_of_what_is_shown_the_last_lines_that_say_something_are_taken() -> None:
    assert last("a\nb  \n\nc\n\n\n", 3) == "b\n\nc"
    assert last("\n\n", 5) == ""
