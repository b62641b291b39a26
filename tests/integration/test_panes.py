"""Facts, screens and options of panes, and guarded pastes, on a real tmux server."""

from __future__ import annotations

import time

import pytest

from nova_torch.errors import PaneNotFound
from nova_torch.values import PaneId
from noval_d.tmux.control import quote
from noval_d.tmux.panes import list_panes, observe, set_pane_options
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import connected, pid_of, runs

NASTY = "a 9:b P %1 #{pane_id} 'x' \"y\" $HOME ;é🙂"


def test_every_pane_is_listed_once_and_the_hidden_session_is_not(tmux: PrivateTmux) -> None:
    panes = {tmux.open("cat"), tmux.open("cat")}
    tmux.tmux("new-session", "-d", "-t", "0", "-s", "grouped")

    async def scenario() -> None:
        async with connected(tmux) as client:
            listed = await list_panes(client)
            assert sorted(pane.pane_id for pane in listed) == sorted(panes)
            assert {pane.command for pane in listed} == {"cat"}
            assert {(pane.width, pane.height) for pane in listed} == {(200, 50)}
            assert all(pane.pid > 0 and pane.tty.startswith("/dev/") for pane in listed)
            assert not any(
                pane.dead or pane.in_mode or pane.input_off or pane.synchronized for pane in listed
            )

    run(scenario())


def test_names_that_look_like_facts_are_only_names(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    evil = tmux.home / "evil.sh"
    evil.write_text("exec -a $'sl\\nP %0 1\\x1e' sleep 1000")
    pane = PaneId(tmux.open(f"bash {evil}"))
    limit = time.monotonic() + 10
    while not tmux.value(pane, "pane_current_command").startswith("sl"):
        assert time.monotonic() < limit
        time.sleep(0.01)
    tmux.tmux("set-option", "-p", "-t", pane, "@nova_spec", NASTY + "\nP %0 1 0 0")
    tmux.tmux("rename-window", "-t", pane, "w 3:a P %1")
    tmux.tmux("select-pane", "-t", pane, "-T", "8:P %0 1 0 0|x")
    tmux.tmux("rename-session", "-t", pane, "my session 3:x")

    async def scenario() -> None:
        async with connected(tmux) as client:
            first, second = sorted(await list_panes(client), key=lambda found: found.pane_id)
            assert first.command == "cat"
            assert second.pane_id == pane
            assert second.command.startswith("sl P")
            assert second.nova_spec == NASTY + "\nP %0 1 0 0"
            assert second.window_name == "w 3:a P %1"
            assert second.title == "8:P %0 1 0 0|x"
            assert second.session == "my session 3_x"
            seen = await observe(client, pane, capture=False)
            assert seen is not None
            assert seen.facts == second

    run(scenario())


def test_a_pane_that_is_gone_is_none_and_never_another_one(tmux: PrivateTmux) -> None:
    tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            assert await observe(client, PaneId("%999"), capture=True) is None
            assert await observe(client, PaneId("%999"), capture=False) is None
            with pytest.raises(PaneNotFound):
                await set_pane_options(client, PaneId("%999"), {"@nova_agent": "x"})

    run(scenario())


def test_an_observation_is_the_screen_and_the_facts_of_one_moment(tmux: PrivateTmux) -> None:
    pane = PaneId(tmux.open("sh -c 'printf \"one\\n\\033[2mtwo\\033[0m x\"; exec sleep 1000'"))
    tmux.wait_for(pane, "two")

    async def scenario() -> None:
        async with connected(tmux) as client:
            seen = await observe(client, pane, capture=True)
            assert seen is not None
            assert seen.screen is not None
            assert (seen.facts.cursor_x, seen.facts.cursor_y, seen.facts.cursor_visible) == (5, 1, True)
            assert seen.screen.text(0).rstrip() == "one"
            assert seen.screen.text(1).rstrip() == "two x"
            bare = await observe(client, pane, capture=False)
            assert bare is not None
            assert bare.screen is None

    run(scenario())


def test_a_dead_pane_is_seen_as_dead(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    pane = PaneId(dead_pane(tmux))

    async def scenario() -> None:
        async with connected(tmux) as client:
            seen = await observe(client, pane, capture=True)
            assert seen is not None
            assert seen.facts.dead

    run(scenario())


def test_modes_input_and_synchronisation_are_seen(tmux: PrivateTmux) -> None:
    pane = PaneId(tmux.open("cat"))
    tmux.tmux("copy-mode", "-t", pane)
    tmux.tmux("select-pane", "-d", "-t", pane)
    tmux.tmux("set-option", "-w", "-t", pane, "synchronize-panes", "on")

    async def scenario() -> None:
        async with connected(tmux) as client:
            seen = await observe(client, pane, capture=False)
            assert seen is not None
            assert seen.facts.in_mode
            assert seen.facts.input_off
            assert seen.facts.synchronized

    run(scenario())


def test_options_are_set_read_back_and_taken_away(tmux: PrivateTmux) -> None:
    pane = PaneId(tmux.open("cat"))

    async def scenario() -> None:
        async with connected(tmux) as client:
            await set_pane_options(client, pane, {"@nova_agent": "-a", "@nova_spec": '{"x": "\n\';#{pid}"}'})
            (facts,) = await list_panes(client)
            assert (facts.nova_agent, facts.nova_spec) == ("-a", '{"x": "\n\';#{pid}"}')
            await set_pane_options(
                client, pane, {"@nova_agent": None, "@nova_spec": None, "@nova_last": "01J"}
            )
            (facts,) = await list_panes(client)
            assert (facts.nova_agent, facts.nova_spec, facts.nova_last) == ("", "", "01J")
            await set_pane_options(client, pane, {})

    run(scenario())


def dead_pane(tmux: PrivateTmux) -> str:
    tmux.tmux("set-option", "-g", "remain-on-exit", "on")
    pane = tmux.open("true")
    limit = time.monotonic() + 10
    while tmux.value(pane, "pane_dead") != "1":
        assert time.monotonic() < limit
        time.sleep(0.01)
    return pane


def guarded(pane: str, condition: str, then: str) -> str:
    return f"if-shell -F -t {pane} {quote(condition)} {quote(then)} 'display-message -p NO'"


def paste_line(pane: str) -> str:
    paste = f"paste-buffer -p -r -d -b nova-1 -t {pane}"
    return f"{paste} ; set-option -p -t {pane} @nova_last 01J ; display-message -p OK"


def test_a_guarded_paste_with_its_marker_is_one_line(tmux: PrivateTmux) -> None:
    """DELIVERY 2.1 and 2.3."""
    pane = PaneId(tmux.open("cat"))
    file = tmux.home / "message file"
    file.write_text("hello from a file; it's $HOME")

    async def scenario() -> None:
        async with connected(tmux) as client:
            seen = await observe(client, pane, capture=False)
            assert seen is not None
            state = "#{pane_dead} #{pane_in_mode} #{pane_input_off} #{pane_pid}"
            line = f"load-buffer -b nova-1 {quote(str(file))} ; " + guarded(
                pane,
                f"#{{==:{state},0 0 0 {seen.facts.pid}}}",
                paste_line(pane),
            )
            assert (await client.run(line)).lines == (b"OK",)
            marked = await observe(client, pane, capture=False)
            assert marked is not None
            assert marked.facts.nova_last == "01J"

    run(scenario())
    tmux.wait_for(pane, "hello from a file; it's $HOME")


def test_the_guard_keeps_a_paste_into_a_dead_pane_from_killing_the_server(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    pane = dead_pane(tmux)
    server = pid_of(tmux)

    async def scenario() -> None:
        async with connected(tmux) as client:
            paste = f"paste-buffer -p -r -d -b nova-1 -t {pane} ; display-message -p OK"
            line = "set-buffer -b nova-1 text ; " + guarded(pane, "#{==:#{pane_dead},0}", paste)
            assert (await client.run(line)).lines == (b"NO",)
            assert (await client.run("display-message -p alive")).lines == (b"alive",)

    run(scenario())
    assert runs(server)


def test_a_message_file_that_is_missing_pastes_nothing(tmux: PrivateTmux) -> None:
    """tmux 3.3a reports it outside of any block and goes on with the line: the paste then has no buffer."""
    pane = tmux.open("cat")

    async def scenario() -> None:
        async with connected(tmux) as client:
            line = "load-buffer -b nova-1 /no/such/file ; " + guarded(pane, "1", paste_line(pane))
            answer = await client.run(line)
            assert answer.lines == ()
            assert answer.error == "no buffer nova-1"
            assert b"/no/such/file: No such file or directory" in answer.strays
            (facts,) = await list_panes(client)
            assert facts.nova_last == ""

    run(scenario())
