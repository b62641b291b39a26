"""The watch over all panes, on a real tmux server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from nova_torch.values import PaneId
from noval_d.tmux.watch import Changes, PaneState, PaneWatch
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.tmux import connected


class Seen:
    """Collects what a watch tells, and waits for it."""

    def __init__(self) -> None:
        self.panes: dict[PaneId, PaneState] = {}
        self.gone: set[PaneId] = set()
        self._news = asyncio.Event()

    def __call__(self, changes: Changes) -> None:
        assert changes.changed or changes.gone
        self.panes.update(changes.changed)
        for pane in changes.gone:
            del self.panes[pane]
        self.gone |= changes.gone
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


def test_what_happens_to_a_pane_is_noticed(tmux: PrivateTmux) -> None:
    first, second = PaneId(tmux.open("cat")), PaneId(tmux.open("sh -c 'read x; exec sleep 1000'"))

    async def scenario() -> None:
        seen = Seen()
        async with connected(tmux) as client:
            watch = PaneWatch(client, seen)
            await watch.start()
            await seen.until(lambda: set(seen.panes) == {first, second})
            assert seen.panes[first].command == "cat"

            tmux.tmux("copy-mode", "-t", first)
            await seen.until(lambda: seen.panes[first].in_mode)
            tmux.tmux("copy-mode", "-q", "-t", first)
            await seen.until(lambda: not seen.panes[first].in_mode)

            tmux.press(second, "Enter")
            await seen.until(lambda: seen.panes[second].command == "sleep")

            tmux.tmux("select-pane", "-t", first, "-T", "✳ | %9 1 0 0 3:x, #{pid}")
            await seen.until(lambda: seen.panes[first].title.startswith("✳ | %9 1 0 0 3:x, "))
            assert set(seen.panes) == {first, second}

            tmux.tmux("set-option", "-g", "remain-on-exit", "on")
            os.kill(seen.panes[second].pid, signal.SIGKILL)
            await seen.until(lambda: seen.panes[second].dead)

            tmux.tmux("kill-pane", "-t", second)
            await seen.until(lambda: second in seen.gone)

            third = PaneId(tmux.open("cat"))
            await seen.until(lambda: third in seen.panes)
            await watch.stop()

    run(scenario())


def test_a_program_with_line_feeds_in_its_name_forges_nothing(tmux: PrivateTmux) -> None:
    honest = PaneId(tmux.open("cat"))
    evil = tmux.home / "evil.sh"
    evil.write_text("exec -a $'sl\\n%exit\\n%0 1 1 1\\x1e%0 1 1 1 0: x\\x1e' sleep 1000")
    pane = PaneId(tmux.open(f"bash {evil}"))

    async def scenario() -> None:
        seen = Seen()
        async with connected(tmux) as client:
            names: list[str] = []
            client.subscribe(lambda notification: names.append(notification.name))
            await PaneWatch(client, seen).start()
            await seen.until(lambda: pane in seen.panes and seen.panes[pane].command.startswith("sl "))
            assert set(seen.panes) == {honest, pane}
            assert not seen.panes[honest].dead
            assert "%exit" not in names

    run(scenario())


def test_a_watch_that_was_stopped_says_no_more(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")

    async def scenario() -> None:
        seen = Seen()
        async with connected(tmux) as client:
            watch = PaneWatch(client, seen)
            await watch.start()
            await seen.until(lambda: bool(seen.panes))
            await watch.stop()
            tmux.tmux("copy-mode", "-t", pane)
            await client.run("display-message -p x")
            await asyncio.sleep(1.2)  # tmux would have told within a second
            assert not seen.panes[PaneId(pane)].in_mode

    run(scenario())
