"""libtmux with a time limit, on a real tmux server."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import psutil
import pytest

from nova_torch.errors import PaneNotFound, TmuxNotAnswering, TmuxUnavailable
from noval_d.tmux.admin import THREADS, places, resolve_target, with_server
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import connected, pid_of, socket_of, stopped


def test_a_target_is_found_by_the_names_a_person_uses(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    tmux.tmux("rename-session", "-t", pane, "work")
    tmux.tmux("rename-window", "-t", pane, "büro 1.5")

    async def scenario() -> None:
        for target in ("work:0", "work:0.0", "wo:büro 1.5", "work:büro 1.5.0", pane):
            assert await resolve_target(socket_of(tmux), target) == pane
        with pytest.raises(PaneNotFound, match="Did you mean work"):
            await resolve_target(socket_of(tmux), "wrok:0")

    run(scenario())


def test_the_places_of_a_server_are_told_without_hidden_sessions(
    tmux: PrivateTmux, monkeypatch: pytest.MonkeyPatch
) -> None:
    pane = tmux.open("cat")
    tmux.tmux("rename-session", "-t", pane, "work")
    tmux.tmux("select-pane", "-t", pane, "-T", "✳ title")
    monkeypatch.delenv("LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C")

    async def scenario() -> None:
        async with connected(tmux):
            (place,) = await places(socket_of(tmux))
        assert (place.session, place.pane_id, place.title, place.command) == ("work", pane, "✳ title", "cat")

    run(scenario())


def test_a_stopped_server_is_told_in_time_and_uses_up_no_thread(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    tmux.tmux("rename-session", "-t", pane, "work")
    pid = pid_of(tmux)

    async def scenario() -> None:
        socket = socket_of(tmux)
        before = threading.active_count()
        with stopped(pid):
            for _ in range(THREADS + 1):
                with pytest.raises(TmuxNotAnswering):
                    await resolve_target(socket, "work:0", timeout_s=0.2)
            many = (resolve_target(socket, "work:0", timeout_s=0.2) for _ in range(10))
            answers = await asyncio.gather(*many, return_exceptions=True)
            assert all(isinstance(answer, TmuxNotAnswering) for answer in answers)
            assert threading.active_count() <= before + THREADS
            async with asyncio.timeout(5):
                while _libtmux_children(str(tmux.socket_path)):  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(0.01)
        assert await resolve_target(socket, "work:0") == pane

    run(scenario())


def _libtmux_children(path: str) -> list[str]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if f"-S{path}" in child.cmdline():
                found.append(child.name())
    return found


def test_no_server_is_started_whatever_is_asked(tmux: PrivateTmux) -> None:
    async def scenario() -> None:
        with pytest.raises(TmuxUnavailable, match="no tmux server at"):
            await places(socket_of(tmux))
        tmux.socket_path.touch()
        with pytest.raises(TmuxUnavailable):
            await with_server(socket_of(tmux), lambda server: server.new_session("x").session_id)

    run(scenario())
    assert not tmux.socket_path.is_socket()


def test_what_libtmux_makes_is_made(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        def made(server: object) -> str | None:
            import libtmux

            assert isinstance(server, libtmux.Server)
            window = server.new_session("fresh", window_command="cat").active_window
            return window.active_pane.pane_id if window.active_pane is not None else None

        pane = await with_server(socket_of(tmux), made)
        assert pane == await resolve_target(socket_of(tmux), "fresh:")

    run(scenario())
