"""The control-mode client against a real tmux server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

import pytest

from nova_torch.errors import TmuxNotAnswering, TmuxUnavailable
from noval_d.tmux.control import MAX_IN_FLIGHT, ControlClient, Notification, TmuxSocket, quote
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run, until
from tests.support.tmux import HIDDEN, connected, pid_of, runs, socket_of, stopped


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
                assert time.monotonic() - began < 10.0
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
                assert time.monotonic() - began < 20.0  # one after the other it were a minute and more
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
    assert runs(pid)


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
