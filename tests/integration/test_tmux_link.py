"""The node's way to a tmux server that is silent: one client waits for it, however long that takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from noval_d.tmux import link as module
from noval_d.tmux.control import ControlClient
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.process import ClientProcess
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import HIDDEN, pid_of, runs, socket_of, stopped


@contextlib.asynccontextmanager
async def linked(tmux: PrivateTmux) -> AsyncIterator[TmuxLink]:
    made = TmuxLink(socket_of(tmux), HIDDEN)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def state(link: TmuxLink, wanted: str, limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while link.state != wanted:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.01)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ClientProcess]:
    """Every control client that was started."""
    found: list[ClientProcess] = []
    start = ClientProcess.start

    async def noted(*args: Any, **more: Any) -> ClientProcess:
        process = await start(*args, **more)
        if "-C" in args[0]:
            found.append(process)
        return process

    monkeypatch.setattr(ClientProcess, "start", noted)
    monkeypatch.setattr(module, "SILENT_S", 0.2)
    return found


def test_a_stopped_server_gets_a_control_client_when_it_goes_on(
    tmux: PrivateTmux, started: list[ClientProcess]
) -> None:
    """One that comes while others do, or go, can be the end of a tmux 3.3a, with every pane that it has."""
    tmux.open("cat")
    server = pid_of(tmux)

    async def scenario() -> None:
        with stopped(server):
            async with linked(tmux) as link:
                await state(link, "not_answering")
                await asyncio.sleep(5 * module.SILENT_S + module.PROBE_S)
                assert started == []
                os.kill(server, signal.SIGCONT)
                await state(link, "up")
                assert link.client.server.pid == server
        assert len(started) == 1
        assert started[0].ended

    run(scenario())
    assert runs(server)


def test_a_stopped_server_that_is_killed_or_left_for_another_is_let_go(
    tmux: PrivateTmux, started: list[ClientProcess]
) -> None:
    tmux.open("cat")
    first = pid_of(tmux)

    async def scenario() -> None:
        with stopped(first):
            async with linked(tmux) as link:
                await state(link, "not_answering")
                tmux.socket_path.unlink()
                tmux.open("cat")  # a server of its own at the same place
                await state(link, "up")
                assert link.client.server.pid != first
                second = link.client.server.pid
                os.kill(second, signal.SIGSTOP)
                await state(link, "not_answering")
                os.kill(second, signal.SIGKILL)
                await state(link, "absent")

    try:
        run(scenario())
    finally:
        os.kill(first, signal.SIGKILL)


def test_stopping_does_not_wait_for_a_silent_server(tmux: PrivateTmux, started: list[ClientProcess]) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        with stopped(pid_of(tmux)):
            async with linked(tmux) as link:
                await state(link, "not_answering")
            assert started == []

    run(scenario())


def test_a_stop_while_the_panes_are_looked_at_leaves_no_client(
    tmux: PrivateTmux, started: list[ClientProcess]
) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        looking = asyncio.Event()

        async def look(_client: ControlClient) -> None:
            looking.set()
            await asyncio.Event().wait()

        async with linked(tmux) as link:
            link.on_up(look)
            await looking.wait()
        assert started[0].ended

    run(scenario())
    assert HIDDEN not in tmux.tmux("list-sessions", "-F", "#{session_name}")


def test_a_client_whose_closing_is_cancelled_is_gone_when_that_ends() -> None:
    """Of one that was left the loop's end made a warning, in whatever came later."""

    async def scenario() -> None:
        process = await ClientProcess.start(
            ["sleep", "100"], os.environ, on_output=lambda _data: None, on_end=lambda: None
        )
        pid = process.pid
        closing = asyncio.create_task(process.close())
        await asyncio.sleep(0)  # it has closed the input, and waits
        closing.cancel()
        await asyncio.wait((closing,))
        assert closing.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(scenario())


def test_a_connection_whose_closing_is_cancelled_leaves_no_client(
    tmux: PrivateTmux, started: list[ClientProcess]
) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        client = await ControlClient.connect(socket_of(tmux), session=HIDDEN)
        with stopped(pid_of(tmux)):  # so that it waits for the session's end
            closing = asyncio.create_task(client.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait((closing,))
        with pytest.raises(ProcessLookupError):
            os.kill(client.pid, 0)

    run(scenario())


def test_a_server_that_was_started_since_the_last_look_is_found_by_who_asks(
    tmux: PrivateTmux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_S", 60.0)

    async def scenario() -> None:
        async with linked(tmux) as link:
            assert await link.settled()
            assert link.problem == "There is no socket."
            await asyncio.to_thread(tmux.open, "cat")
            assert await link.settled()
            assert link.state == "up"

    run(scenario())


def test_a_socket_that_a_server_left_behind_is_looked_at_once(
    tmux: PrivateTmux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_S", 60.0)

    async def scenario() -> None:
        async with linked(tmux) as link:
            assert await link.settled()
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(tmux.socket_path))
            for _ in range(2):
                async with asyncio.timeout(2.0):
                    assert await link.settled()
                assert link.state == "absent"

    run(scenario())
