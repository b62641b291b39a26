"""A deadline that tmux itself judges, on a real tmux server."""

from __future__ import annotations

import asyncio
import time

from noval_d.tmux.clock import SET_CLOCK, WINDOW_S, in_time
from noval_d.tmux.control import ControlClient, quote
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import connected, stopped


def guarded(pane: str, deadline_s: int, then: str) -> str:
    return f"if-shell -F -t {pane} {quote(in_time(deadline_s))} {quote(then)} 'display-message -p NO'"


async def ask(client: ControlClient, pane: str, deadline_s: int) -> bytes:
    (line,) = (await client.run(guarded(pane, deadline_s, "display-message -p OK"))).lines
    return line


def test_a_deadline_holds_until_its_second_is_over(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert (await client.run(SET_CLOCK)).error is None
            assert await ask(client, pane, int(time.time()) - 1) == b"NO"
            assert await ask(client, pane, int(time.time()) + 2) == b"OK"
            assert await ask(client, pane, int(time.time()) - 3600) == b"NO"
            assert await ask(client, pane, int(time.time()) + WINDOW_S + 10) == b"NO"

    run(scenario())


def test_without_the_clock_nothing_is_in_time(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert await ask(client, pane, int(time.time()) + 2) == b"NO"

    run(scenario())


def test_an_enter_that_sat_in_the_pipe_of_a_stopped_server_is_refused(tmux: PrivateTmux) -> None:
    pane = tmux.open("sh -c 'stty -icanon -echo; exec cat'")

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert (await client.run(SET_CLOCK)).error is None
            press = f"send-keys -t {pane} -l pressed ; display-message -p OK"
            with stopped(client.server.pid):
                deadline_s = int(time.time()) + 1
                late = asyncio.create_task(client.run(guarded(pane, deadline_s, press), timeout_s=20))
                fresh = asyncio.create_task(client.run(guarded(pane, deadline_s + 50, press), timeout_s=20))
                await asyncio.sleep(deadline_s + 1.1 - time.time())
            assert (await late).lines == (b"NO",)
            assert (await fresh).lines == (b"OK",)

    run(scenario())
    tmux.wait_for(pane, "pressed")
    assert "pressedpressed" not in tmux.capture(pane)
