"""Somebody else's `send-keys` that nothing shows: tmux has counted it, and nothing of ours is pressed behind it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from nova_torch.values import PaneId
from noval_d.agents.driver_file import load_drivers
from noval_d.delivery.injector import Injector
from noval_d.delivery.lines import COUNT_NO_MORE
from noval_d.tmux.control import HIDDEN, ControlClient
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.panes import PaneFacts, observe, set_pane_options
from tests.lab.tmux import PrivateTmux
from tests.support.agents import tui
from tests.support.aio import run
from tests.support.node import node, until
from tests.support.tmux import connected, pid_of, socket_of

CLAUDE = load_drivers()["claude"]


async def facts(client: ControlClient, pane: PaneId) -> PaneFacts:
    seen = await observe(client, pane, capture=False)
    assert seen is not None
    return seen.facts


def blind(tmux: PrivateTmux, tmp_path: Path) -> tuple[PaneId, Path]:
    """Open a program that draws nothing of what it gets, beside the active pane of its window."""
    log = tmp_path / "log"
    pane = PaneId(tmux.open_program("rawlog.py", [str(log)]))
    tmux.wait_for(pane, "READY")
    tmux.tmux("split-window", "-t", pane, "cat")
    return pane, log


def injector_on(client: ControlClient, tmp_path: Path) -> Injector:
    link = cast("TmuxLink", SimpleNamespace(client=client, answered=lambda *, well: None))
    return Injector(link, str(tmp_path / "messages"))


def logged(log: Path, data: bytes) -> None:
    until(lambda: log.exists() and log.read_bytes() == data, 45, f"{data!r} in the log")


def test_nothing_is_pressed_behind_keys_that_came_since_the_look(tmux: PrivateTmux, tmp_path: Path) -> None:
    pane, log = blind(tmux, tmp_path)

    async def scenario() -> None:
        async with connected(tmux) as client:
            await Injector.prepare(client)
            await set_pane_options(client, pane, {"@nova_agent": "a", "@nova_node": "n"})
            injector = injector_on(client, tmp_path)
            look = await facts(client, pane)
            tmux.press(pane, "-l", "theirs")
            assert not await injector.paste(look, "ours", "t")
            assert not await injector.enter(look, CLAUDE, "t", None, ())
            assert not await injector.keys(look, "Space", ())
            assert not await injector.press(look, ["Enter"], ())
            logged(log, b"theirs")
            look = await facts(client, pane)
            assert await injector.paste(look, "ours", "t")
            assert await injector.keys(look, "Space", ())  # our own are not counted
            assert await injector.press(look, ["x", "y"], ())
            assert await injector.enter(look, CLAUDE, "t", None, ())
            assert (await facts(client, pane)).nova_keys == look.nova_keys
            logged(log, b"theirsours xy\r")

    run(scenario())


@pytest.mark.parametrize("marked", [True, False], ids=["a hook of the user's session", "no agent's pane"])
def test_where_nothing_is_counted_nothing_is_demanded(
    tmux: PrivateTmux, tmp_path: Path, marked: bool
) -> None:
    pane, log = blind(tmux, tmp_path)

    async def scenario() -> None:
        async with connected(tmux) as client:
            await Injector.prepare(client)
            if marked:
                await set_pane_options(client, pane, {"@nova_agent": "a"})
                tmux.tmux("set-hook", "-t", pane, "after-send-keys", "set-option -g @users own")
            look = await facts(client, pane)
            tmux.press(pane, "-l", "theirs")
            assert (await facts(client, pane)).nova_keys == ""
            assert await injector_on(client, tmp_path).enter(look, CLAUDE, "t", None, ())
            logged(log, b"theirs\r")

    run(scenario())


def test_the_users_own_hooks_stay_and_run(tmux: PrivateTmux, tmp_path: Path) -> None:
    pane, log = blind(tmux, tmp_path)
    tmux.tmux("set-hook", "-g", "after-send-keys", "set-option -g @users own")

    async def scenario() -> None:
        async with connected(tmux) as client:
            await Injector.prepare(client)
            await Injector.prepare(client)  # another daemon: no second count
            await set_pane_options(client, pane, {"@nova_agent": "a"})
            tmux.press(pane, "-l", "theirs")
            assert (await facts(client, pane)).nova_keys == "1"
            assert tmux.tmux("show-options", "-gv", "@users").strip() == "own"

    run(scenario())
    logged(log, b"theirs")


def hooks(tmux: PrivateTmux) -> list[str]:
    return [row for row in tmux.tmux("show-hooks", "-g").splitlines() if row.startswith("after-send-keys[")]


def test_an_orderly_stop_takes_the_hook_away_and_leaves_the_users() -> None:
    with node() as running:
        running.tmux.tmux("set-hook", "-g", "after-send-keys[3]", "set-option -g @users own")
        (own,) = [row for row in hooks(running.tmux) if "7713" not in row]
        assert len(hooks(running.tmux)) == 2
        assert running.stop() == 0
        assert hooks(running.tmux) == [own]


def test_the_hook_stays_while_another_daemon_is_there(tmux: PrivateTmux) -> None:
    tmux.open("sh -c 'while :; do date; sleep 0.05; done'")
    server = pid_of(tmux)
    tmux.tmux("new-session", "-d", "-s", f"{HIDDEN}dead", "cat")  # what a daemon that was killed leaves

    async def connect(session: str) -> ControlClient:
        client = await ControlClient.connect(socket_of(tmux), session=session)
        await Injector.prepare(client)
        return client

    async def scenario() -> None:
        first, second = await connect("_nova-a"), await connect("_nova-b")
        assert len(hooks(tmux)) == 1
        await first.close(COUNT_NO_MORE)
        assert len(hooks(tmux)) == 1
        await second.close(COUNT_NO_MORE)
        assert hooks(tmux) == []

    for _ in range(5):
        run(scenario())
    assert pid_of(tmux) == server


def test_keys_that_are_drawn_late_are_waited_for(tmp_path: Path) -> None:
    with node() as running:
        options = {"program": "faulty_tui.py", "arguments": ("--fault", "slow")}
        agent = tui(running, tmp_path, "slow", hooks=True, **options)  # type: ignore[arg-type]
        agent.draft("theirs")
        message = running.send(agent.name, "ours, a moment later")["id"]
        agent.wait_for("theirs")
        running.wait_state(message, "held")
        agent.press("Enter")
        running.wait_state(message, "acknowledged")
        hops = running.call("trace", {"id": message})["hops"]
        assert sum(hop["state"] == "typed" for hop in hops) == 1  # it was not beside theirs
        assert agent.prompts() == ["theirs", "ours, a moment later"]


def test_keys_without_end_that_draw_nothing_keep_no_message(tmp_path: Path) -> None:
    with node() as running:
        agent = tui(running, tmp_path, "redrawn", hooks=True)
        message = running.send(agent.name, "ours, however often the screen is redrawn")["id"]

        def pressed() -> bool:
            agent.press("C-l")
            return bool(running.receipt(message)["state"] == "acknowledged")

        until(pressed, 60, "the verdict")
        assert agent.prompts() == ["ours, however often the screen is redrawn"]
