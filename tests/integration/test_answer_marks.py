"""Dialogs whose options have no keys of their own, and questions that stay on the screen once answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nova_torch.errors import Conflict
from nova_torch.values import PaneId
from noval_d.agents.driver_file import BUILT_IN
from noval_d.delivery.injector import Injector
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.panes import observe
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.node import TestNode, node, until
from tests.support.tmux import connected


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """A node for which a program of the tests counts as opencode."""
    drivers = tmp_path_factory.mktemp("drivers")
    text = (BUILT_IN / "opencode.toml").read_text()
    text = text.replace('commands = ["opencode"]', 'commands = ["python3", "python"]')
    text = text.replace("processes = ['", "processes = ['buttons', '")
    (drivers / "opencode.toml").write_text(text)
    with node(env={"NOVA_DELIVERY_DRIVERS_DIR": str(drivers)}) as made:
        yield made


def asking(running: TestNode, log: Path, name: str, *options: str) -> str:
    """Open a program that asks, register it; return the fingerprint of its dialog."""
    pane = running.tmux.open_program("buttons.py", [str(log), *options])
    running.tmux.wait_for(pane, "Permission required")
    running.register(name, pane, "opencode")
    until(lambda: running.call("dialog_answer", {"agent_id": name})["dialog"], 45, "the dialog")
    return str(running.call("dialog_answer", {"agent_id": name})["dialog"]["fingerprint"])


def answer(running: TestNode, name: str, choice: str, fingerprint: str) -> dict[str, Any]:
    args = {"agent_id": name, "choice": choice, "fingerprint": fingerprint}
    return dict(running.call("dialog_answer", args, timeout_s=30))


@pytest.mark.parametrize("delay", ["0", "0.3"])
@pytest.mark.parametrize("choice", ["Allow once", "Allow always", "Reject"])
def test_the_option_that_was_meant_is_chosen_once_however_late_the_mark_moves(
    running: TestNode, tmp_path: Path, choice: str, delay: str
) -> None:
    log, name = tmp_path / "log", f"{choice.lower().replace(' ', '-')}-{len(delay)}"
    shown = asking(running, log, name, "--delay", delay)
    assert answer(running, name, choice, shown)["outcome"] == "gone"
    assert log.read_text() == f"{choice}: touch toolran\n"


def test_nothing_is_chosen_when_the_mark_does_not_move(running: TestNode, tmp_path: Path) -> None:
    shown = asking(running, tmp_path / "log", "stuck", "--stuck")
    with pytest.raises(Conflict, match="does not move"):
        answer(running, "stuck", "reject", shown)
    assert not (tmp_path / "log").exists()


def test_nothing_is_chosen_when_another_dialog_comes_as_the_mark_moves(
    running: TestNode, tmp_path: Path
) -> None:
    shown = asking(running, tmp_path / "log", "again", "--again")
    with pytest.raises(Conflict, match="changed in the moment"):
        answer(running, "again", "reject", shown)
    assert not (tmp_path / "log").exists()


QUESTION = "Go on? (Y)es/(N)o [Yes]:"


@pytest.mark.parametrize("rows_above", [0, 60])
def test_an_answer_does_not_reach_the_next_question_that_looks_the_same(
    tmux: PrivateTmux, tmp_path: Path, rows_above: int
) -> None:
    """On a full screen the cursor stays in its row while the answered question scrolls up."""
    log = tmp_path / "log"
    ask = f"seq {rows_above}; while :; do printf '{QUESTION} '; read a; echo $a >> {log}; done"
    (tmp_path / "ask.sh").write_text(ask)
    pane = PaneId(tmux.open(f"bash {tmp_path / 'ask.sh'}"))
    tmux.wait_for(pane, QUESTION)

    async def scenario() -> None:
        async with connected(tmux) as client:
            await Injector.prepare(client)
            link = cast("TmuxLink", SimpleNamespace(client=client, answered=lambda *, well: None))
            injector = Injector(link, str(tmp_path))
            seen = await observe(client, pane, capture=False)
            assert seen is not None
            tmux.press(pane, "n", "Enter")  # a person is faster
            tmux.wait_for(pane, lambda screen: screen.count(QUESTION) == 2)
            keys, pieces = ["Y", "Enter"], ("Go on",)
            assert not await injector.press(seen.facts, keys, pieces, at_cursor=True)
            assert await injector.press(seen.facts, keys, pieces)  # what that guards against
            tmux.wait_for(pane, lambda screen: screen.count(QUESTION) == 3)
            seen = await observe(client, pane, capture=False)
            assert seen is not None
            assert await injector.press(seen.facts, keys, pieces, at_cursor=True)

    run(scenario())
    until(lambda: log.read_text() == "n\nY\nY\n", 45, f"the answers: {log.read_text()}")
