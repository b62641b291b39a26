"""The control-mode client against a real tmux server."""

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
from noval_d.tmux.control import MAX_IN_FLIGHT, ControlClient, Notification, TmuxSocket, quote
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import HIDDEN, connected, pid_of, runs, socket_of, stopped


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)


def test_no_server_is_started_where_there_is_none(tmux: PrivateTmux) -> None:
    async def connect() -> None:
        with pytest.raises(TmuxUnavailable, match="no tmux server at"):
            await ControlClient.connect(socket_of(tmux), session=HIDDEN)

    run(connect())
    assert not tmux.socket_path.exists()


def test_a_socket_left_by_a_dead_server_is_no_server(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    os.kill(pid_of(tmux), signal.SIGKILL)

    async def connect() -> None:
        with pytest.raises(TmuxUnavailable, match="no tmux server at"):
            await ControlClient.connect(socket_of(tmux), session=HIDDEN)

    run(connect())
    assert tmux.socket_path.exists()


def test_the_hidden_session_is_made_and_taken_away_again(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux, session="_nova-a.b") as client:
            assert client.server.pid == pid_of(tmux)
            assert client.session == "_nova-a_b"
            seen = await client.run("list-sessions -F '#{session_name} #{window_width}x#{window_height}'")
            assert b"_nova-a_b 80x24" in seen.lines
        assert "_nova" not in tmux.tmux("list-sessions")

    run(scenario())


def test_the_hidden_session_stays_while_another_client_is_there(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as first:
            async with connected(tmux):
                pass
            assert (await first.run("display-message -p still")).lines == (b"still",)

    run(scenario())


def test_lines_wait_until_the_client_is_attached(tmux: PrivateTmux) -> None:
    """tmux reads a client's lines before it has run the command that attaches the client, 1 time in 20."""
    tmux.open("cat")

    async def scenario() -> None:
        for _ in range(60):
            async with connected(tmux) as client:
                answer = await client.run("display-message -p '#{session_name}'")
                assert answer.lines == (HIDDEN.encode(),)

    run(scenario())


def test_options_of_the_user_do_not_take_the_hidden_session_away(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    tmux.tmux(
        "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "default-command", "exit 1"
    )

    async def scenario() -> None:
        async with connected(tmux) as client:
            tmux.tmux(
                "set-option",
                "-g",
                "destroy-unattached",
                "on",
                ";",
                "set-option",
                "-g",
                "exit-unattached",
                "on",
            )
            async with connected(tmux, session="_nova-other") as other:
                assert (await other.run("display-message -p here")).lines == (b"here",)
            assert (await client.run("display-message -p here")).lines == (b"here",)

    run(scenario())


def test_a_session_of_the_user_with_the_same_name_is_left_alone(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    tmux.tmux("rename-session", "mine")

    async def scenario() -> None:
        with pytest.raises(TmuxUnavailable, match="is not Nova-Torch's own"):
            await ControlClient.connect(socket_of(tmux), session="mine")

    run(scenario())
    assert tmux.tmux("list-sessions", "-F", "#{session_name}").split() == ["mine"]


def test_every_caller_gets_its_own_answer(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def ask(client: ControlClient, number: int) -> bool:
        if number % 5 == 0:
            return (await client.run(f"no-such-command-{number}")).error is not None
        if number % 5 == 1:
            answer = await client.run(
                f"display-message -p a{number} ; select-pane -t %999 ; display-message -p no"
            )
            return answer.lines == (b"a%d" % number,) and answer.error == "can't find pane: %999"
        return (await client.run(f"display-message -p {number}")).lines == (b"%d" % number,)

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert all(await asyncio.gather(*(ask(client, number) for number in range(1000))))
            assert client.in_flight == 0

    run(scenario())


@pytest.mark.parametrize("line", ["", "  ", "a\nb", "a\0b", "x" * (8 << 20) + "x"])
def test_a_line_that_would_break_the_protocol_is_refused(tmux: PrivateTmux, line: str) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            with pytest.raises(ValueError, match="line"):
                await client.run(line)
            assert (await client.run("display-message -p fine")).lines == (b"fine",)

    run(scenario())


@pytest.mark.parametrize("line", ["'unclosed", '"unclosed', "x {", "}", "a \\", "%if", "#", "; ;"])
def test_a_line_that_tmux_cannot_parse_harms_no_other(tmux: PrivateTmux, line: str) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            broken, fine = await asyncio.gather(client.run(line), client.run("display-message -p fine"))
            assert broken.lines == ()
            assert fine.lines == (b"fine",)

    run(scenario())


def test_a_megabyte_goes_both_ways(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    text = "0123456789abcdé\\" * 65536

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert (await client.run(f"set-option -g @big {quote(text)}")).error is None
            assert (await client.run("show-options -gv @big")).lines == (text.encode(),)

    run(scenario())


def test_a_screen_full_of_guards_confuses_nobody(tmux: PrivateTmux) -> None:
    text = "%begin 1 2 1\n%end 1 2 1\n%error 1 2 1\n%exit\n%output %0 x\n"
    (tmux.home / "text").write_text(text)
    pane = tmux.open("sh -c 'cat text; exec sleep 1000'")
    tmux.wait_for(pane, "%output")

    async def scenario() -> None:
        async with connected(tmux) as client:
            answer = await client.run(f"capture-pane -p -t {pane}")
            assert b"\n".join(answer.lines).decode().rstrip() == text.rstrip()
            assert answer.error is None

    run(scenario())


def test_a_late_answer_reaches_nobody_and_shifts_nothing(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            with stopped(client.server.pid):
                began = time.monotonic()
                with pytest.raises(TmuxNotAnswering):
                    await client.run("display-message -p late", timeout_s=0.2)
                assert time.monotonic() - began < 1.0
                given_up = asyncio.create_task(client.run("display-message -p cancelled"))
                await until(lambda: client.in_flight == 2)
                given_up.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await given_up
                waiting = asyncio.create_task(client.run("display-message -p waiting"))
                await until(lambda: client.in_flight == 3)
            assert (await waiting).lines == (b"waiting",)
            assert (await client.run("display-message -p next")).lines == (b"next",)
            assert client.in_flight == 0

    run(scenario())


def test_a_stopped_server_holds_a_bounded_number_of_lines(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    body = "x" * 100_000

    async def scenario() -> None:
        async with connected(tmux) as client:
            with stopped(client.server.pid):
                began = time.monotonic()
                lines = (
                    client.run(f"display-message -p {body}", timeout_s=0.5) for _ in range(3 * MAX_IN_FLIGHT)
                )
                answers = await asyncio.gather(*lines, return_exceptions=True)
                assert all(isinstance(answer, TmuxNotAnswering) for answer in answers)
                assert time.monotonic() - began < 5.0
                assert client.in_flight <= MAX_IN_FLIGHT
            assert (await client.run("display-message -p again")).lines == (b"again",)
            assert client.in_flight == 0

    run(scenario())


def test_connecting_to_a_stopped_server_ends_in_time(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    pid = pid_of(tmux)

    async def scenario() -> None:
        with stopped(pid), pytest.raises(TmuxNotAnswering):
            await ControlClient.connect(socket_of(tmux), session=HIDDEN, timeout_s=0.3)
        async with connected(tmux) as client:
            await client.alone()

    run(scenario())


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
            assert time.monotonic() - began < 4.0
            assert not runs(client.pid)

    run(scenario())


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


def test_other_clients_on_the_hidden_session_are_seen(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as first, connected(tmux, session="_nova-another"):
            assert await first.others() == ()
            async with connected(tmux) as second:
                assert await first.others() == (second.pid,)
                assert await second.others() == (first.pid,)
            await first.alone()

    run(scenario())


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


def test_notifications_reach_every_subscriber_even_after_one_that_fails(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    seen: list[Notification] = []
    complaints: list[dict[str, Any]] = []

    def broken(_: Notification) -> None:
        raise RuntimeError("a subscriber's own defect")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with connected(tmux) as client:
            client.subscribe(broken)
            client.subscribe(seen.append)
            tmux.tmux("copy-mode", "-t", pane)
            await until(lambda: Notification(name="%pane-mode-changed", rest=pane.encode()) in seen)
            assert complaints
            client.unsubscribe(broken)
            assert (await client.run("display-message -p fine")).lines == (b"fine",)

    run(scenario())


def test_hooks_of_the_user_do_not_reach_into_answers(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    hook = "display-message -p HOOK ; run-shell 'echo from the shell' ; select-pane -t %77"
    tmux.tmux("set-hook", "-g", "after-display-message", hook)

    async def scenario() -> None:
        async with connected(tmux) as client:
            for number in range(20):
                answer = await client.run(f"display-message -p {number}")
                assert answer.lines == (b"%d" % number,)
                assert answer.error is None

    run(scenario())


def test_without_tmux_on_the_path_the_error_says_so(
    tmux: PrivateTmux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmux.home))

    async def connect() -> None:
        with pytest.raises(TmuxUnavailable, match="cannot run tmux"):
            await ControlClient.connect(TmuxSocket(path="/x"), session=HIDDEN)

    run(connect())
