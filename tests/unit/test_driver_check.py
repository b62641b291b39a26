"""A driver is run against recorded screens, and what it gets wrong is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import DriverInvalid, InvalidRequest, NotFound
from noval_d.agents.driver import stand_in
from noval_d.agents.driver_check import check, differences, screens_of
from noval_d.agents.driver_file import BUILT_IN, driver_files, load_drivers, read_drivers
from noval_d.agents.recognition import is_present
from noval_d.delivery.gate import Hold, decide
from noval_d.delivery.view import AgentView
from tests.unit.test_gate import FACTS, message
from tests.unit.test_recognition import spec

CLAUDE = (BUILT_IN / "claude.toml").read_text()


UNSEEN = frozenset({"generic", "line"})  # of no one agent: there is no screen to record


def own(folder: Path, text: str, *, name: str = "claude", screens: tuple[str, ...] = ()) -> Path:
    """Write a driver of the user's with some of Claude's screens beside it."""
    file = folder / f"{name}.toml"
    file.write_text(text)
    (folder / name).mkdir(exist_ok=True)
    for screen in screens:
        shutil.copy(BUILT_IN / "claude" / screen, folder / name / screen)
    return file


def test_every_driver_that_comes_along_sees_its_screens_as_expected() -> None:
    for name, file in driver_files().items():
        results = list(check(file, driver_files()))
        assert results or name in UNSEEN, name
        assert [result for result in results if result.differences] == [], name


def test_a_driver_of_the_users_is_run_on_its_own_screens_and_those_it_replaces(tmp_path: Path) -> None:
    file = own(tmp_path, CLAUDE.replace('["❯"]', '["»"]'), screens=("idle.screen",))
    results = {Path(result.screen).name: result for result in check(file, driver_files(tmp_path))}
    assert len(results) == len(screens_of(BUILT_IN / "claude.toml"))
    assert results["idle.screen"].screen == str(tmp_path / "claude" / "idle.screen")
    assert results["idle.screen"].differences[0] == "composer: expected '', seen nothing"
    assert results["trust_dialog.screen"].differences == ()


def test_a_screen_is_run_with_the_driver_beside_it_or_the_named_one(tmp_path: Path) -> None:
    own(tmp_path, CLAUDE.replace('"claude"', '"mine"', 1), name="mine", screens=("idle.screen",))
    screen = tmp_path / "mine" / "idle.screen"
    assert [(r.driver, r.differences) for r in check(screen, driver_files())] == [("mine", ())]
    (line,) = check(screen, driver_files(), "line")
    assert line.differences[0] == "composer: expected '', seen nothing"
    with pytest.raises(NotFound, match="no driver 'mien'"):
        check(screen, driver_files(), "mien")


def test_files_that_cannot_be_used_are_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        check(tmp_path / "none.toml", {})
    with pytest.raises(DriverInvalid, match=r"claude\.toml: composer\.promts is unknown") as caught:
        check(own(tmp_path, CLAUDE.replace("prompts", "promts")), {})
    assert "prompts" in caught.value.hint
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "x.screen").write_text("no json\n")
    with pytest.raises(InvalidRequest, match=r"x\.screen: this is no recorded screen"):
        check(tmp_path / "line" / "x.screen", driver_files())
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(InvalidRequest, match="neither a driver"):
        check(tmp_path / "x.txt", {})


@pytest.mark.parametrize(
    ("expected", "seen", "told"),
    [
        ({"composer": ""}, {"composer": ""}, ()),
        ({"composer": ""}, {"composer": None}, ("composer: expected '', seen nothing",)),
        ({"busy": True}, {}, ("busy: expected True, seen nothing",)),
        ({"dialog": None, "busy": False}, {"composer": None}, ()),
        ({"dialgo": "x"}, {}, ("dialgo: nothing of that name is seen. Did you mean dialog?",)),
    ],
)
def test_differences_are_named(
    expected: dict[str, object], seen: dict[str, object], told: tuple[str, ...]
) -> None:
    assert differences(expected, seen) == told


@given(st.dictionaries(st.sampled_from(["composer", "dialog", "reason"]), st.none() | st.text(max_size=5)))
def test_what_is_expected_and_seen_alike_differs_in_nothing(sight: dict[str, object]) -> None:
    assert differences(sight, dict(sight)) == ()


# A file that cannot be used -------------------------------------------------------------------------------


def test_a_broken_file_takes_its_own_driver_away_and_no_other(tmp_path: Path) -> None:
    own(tmp_path, CLAUDE.replace("prompts", "promts"))
    (tmp_path / "small.toml").write_text("[driver]\nname = 'small'\nkind = 'line'\n")
    drivers, broken = read_drivers(tmp_path)
    assert set(broken) == {"claude"}
    assert {"generic", "line", "small"} <= set(drivers)
    assert "claude" not in drivers
    with pytest.raises(DriverInvalid):
        load_drivers(tmp_path)


def test_an_agent_without_its_driver_is_never_present_and_held() -> None:
    driver = stand_in("claude")
    for command in ("claude", "bash", "", "node"):
        assert not is_present(driver, spec(command, ""), command, (command,))
    decision = decide(message(), AgentView(driver=driver, facts=FACTS, present=False), 0)
    assert isinstance(decision, Hold)
    assert decision.detail == "its driver claude cannot be used: novactl doctor"
