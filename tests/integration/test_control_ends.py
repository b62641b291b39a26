"""The control-mode client when it ends, or its daemon or its server does: against a real tmux."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from nova_torch.errors import Conflict, TmuxNotAnswering, TmuxUnavailable
from noval_d.tmux.control import ControlClient
from noval_d.tmux.watch import PaneWatch
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run, until
from tests.support.tmux import HIDDEN, connected, pid_of, runs, socket_of, stopped


def _kill_client(tmux: PrivateTmux, client: ControlClient) -> None:
    os.kill(client.pid, signal.SIGKILL)


def _kill_server(tmux: PrivateTmux, client: ControlClient) -> None:
    os.kill(client.server.pid, signal.SIGKILL)
    os.kill(client.server.pid, signal.SIGCONT)


def _kill_session(tmux: PrivateTmux, client: ControlClient) -> None:
    os.kill(client.server.pid, signal.SIGCONT)
    tmux.tmux("kill-session", "-t", f"={HIDDEN}")


def _close(tmux: PrivateTmux, client: ControlClient) -> None:
    pass


@pytest.mark.parametrize("end", [_kill_client, _kill_server, _kill_session, _close])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_when_the_client_ends_nobody_waits_for_ever_and_nothing_is_left(
    tmux: PrivateTmux,
    end: Callable[[PrivateTmux, ControlClient], None],
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        client = await ControlClient.connect(socket_of(tmux), session=HIDDEN)
        descriptors = len(os.listdir("/proc/self/fd"))
        # wait-for keeps the queue of the client waiting, so that these are pending at its end
        lines = ("wait-for never", "display-message -p x", "display-message -p y")
        waiting = [asyncio.create_task(client.run(line, timeout_s=20)) for line in lines]
        await until(lambda: client.in_flight == 3)
        end(tmux, client)
        if end is _close:
            await client.close()
        await asyncio.wait_for(client.closed(), 5)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, TmuxUnavailable) for error in ends)
        assert not any(isinstance(error, TmuxNotAnswering) for error in ends)
        with pytest.raises(TmuxUnavailable):
            await client.run("display-message -p gone")
        pid = client.pid
        await client.close()
        await client.close()
        assert str(pid) not in os.listdir("/proc"), "the client is a zombie"
        assert len(os.listdir("/proc/self/fd")) <= descriptors - 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())
    gc.collect()


def test_closing_does_not_wait_for_a_stopped_server(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        client = await ControlClient.connect(socket_of(tmux), session=HIDDEN)
        with stopped(client.server.pid):
            began = time.monotonic()
            await client.close()
            assert time.monotonic() - began < 20.0
            assert not runs(client.pid)

    run(scenario())


def test_the_server_survives_a_client_that_watched_and_is_slow_to_leave(tmux: PrivateTmux) -> None:
    """tmux 3.3a looks at a subscription each second, and dies of news for a client that has lost its session."""
    tmux.open("sh -c 'while :; do date; sleep 0.1; done'")
    server = pid_of(tmux)

    async def scenario() -> None:
        client = await ControlClient.connect(socket_of(tmux), session=HIDDEN)
        noticed = asyncio.Event()
        watch = PaneWatch(client, lambda _changes: noticed.set())
        await watch.start()
        await noticed.wait()
        os.kill(client.pid, signal.SIGSTOP)
        await client.close()
        assert not runs(client.pid)

    for _ in range(3):
        run(scenario())
        assert pid_of(tmux) == server


DAEMON = """
import asyncio, sys
from noval_d.tmux.control import ControlClient, TmuxSocket
async def main():
    client = await ControlClient.connect(TmuxSocket(path=sys.argv[1]), session="_nova-test")
    print(client.pid, flush=True)
    for line in sys.stdin:
        task = asyncio.create_task(client.run(line.strip()))
        await asyncio.sleep(0)
        print("sent", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@contextlib.contextmanager
def daemon(tmux: PrivateTmux) -> Any:
    child = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(tmux.socket_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def test_a_daemon_that_is_killed_takes_its_client_with_it(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    with daemon(tmux) as child:
        pid = int(child.stdout.readline())
        child.kill()
        run(until(lambda: not runs(pid)))


@pytest.mark.parametrize("option", ["on", "off"])
def test_the_server_survives_a_daemon_killed_before_it_read_its_answers(
    tmux: PrivateTmux, option: str
) -> None:
    """tmux 3.3a keeps such a client for ever, and dies of it where destroy-unattached is on for its session."""
    tmux.open("cat")
    server = pid_of(tmux)
    tmux.tmux(
        "set-option", "destroy-unattached", "off", ";", "set-option", "-g", "destroy-unattached", option
    )
    with daemon(tmux) as child:
        child.stdout.readline()
        with stopped(server):
            child.stdin.write("display-message -p unread\n")
            child.stdin.flush()
            child.stdout.readline()
            child.kill()
            child.wait()

    async def scenario() -> None:
        for _ in range(3):
            async with connected(tmux) as client:
                await client.alone()
                assert client.server.pid == server
        tmux.tmux("list-clients")

    run(scenario())
    assert runs(server)


def test_what_a_killed_daemon_had_written_has_run_once_its_client_is_gone(tmux: PrivateTmux) -> None:
    """DELIVERY 2.3: a stopped server still runs what is in the pipe of a daemon that is dead by then."""
    tmux.open("cat")
    server = pid_of(tmux)

    async def scenario(child: Any) -> None:
        old = int(child.stdout.readline())
        with stopped(server):
            child.stdin.write("set-option -g @ran yes\n")
            child.stdin.flush()
            assert child.stdout.readline() == "sent\n"
            child.kill()
            child.wait()
            assert runs(old), "the client of a stopped server outlives its daemon"
            connecting = asyncio.create_task(ControlClient.connect(socket_of(tmux), session=HIDDEN))
            await asyncio.sleep(0)
        client = await connecting
        try:
            await client.alone()
            assert await client.others() == ()
            assert not runs(old)
            assert (await client.run("show-options -gqv @ran")).lines == (b"yes",)
        finally:
            await client.close()

    with daemon(tmux) as child:
        run(scenario(child))


def test_a_living_daemons_client_is_not_ended(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario(child: Any) -> None:
        pid = int(child.stdout.readline())
        async with connected(tmux) as client:
            with pytest.raises(Conflict):
                await client.alone(timeout_s=0.6)
            assert runs(pid)

    with daemon(tmux) as child:
        run(scenario(child))
