"""The prompts of real programs are learned as they rest: a half-typed line is told before any message."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest

from nova_torch.values import AgentId, AgentSpec, PaneId
from noval_d.agents.agent import Agent
from noval_d.agents.driver_file import load_drivers
from noval_d.agents.watcher import Watcher
from noval_d.tmux.control import ControlClient
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.panes import list_panes, set_pane_options
from noval_d.tmux.watch import Changes, PaneWatch
from tests.lab.tmux import PrivateTmux
from tests.support.aio import run
from tests.support.node import node, until
from tests.support.tmux import connected

LINE = load_drivers()["line"]
COUNTER = "import code, sys\nn = 0\nwhile True:\n    n += 1\n    print('got', input(f'In [{n}]: '))\n"
PROGRAMS = {
    "readline": (f"{sys.executable} -i -q", ">>> "),
    "bash": ("env PS1='\\w (main) ' bash --norc", "~ (main) "),
    "no prompt": ("cat", ""),
    "counter": (shlex.join([sys.executable, "-c", COUNTER]), "In [1]: "),
    "cooked": ('sh -c \'while printf "Name: "; read -r line; do echo "got [$line]"; done\'', "Name: "),
}
if shutil.which("zsh"):
    PROGRAMS["zsh"] = ("env PS1='%~ %% ' zsh -f", "~ % ")


@dataclass
class _Link:
    """As much of a link as a watcher asks."""

    client: ControlClient

    def answered(self, *, well: bool) -> None:
        assert well


@dataclass
class Place:
    """A program in a pane, registered, and watched as a node does it."""

    server: PrivateTmux
    pane: str
    agent: Agent
    client: ControlClient

    async def rests(self, line: str, *, below: int = -1) -> int:
        """Wait until the watcher knows that `line` is at rest, `below` a row; return its row."""
        end = time.monotonic() + 30
        while (rest := self.agent.prompt.rest) is None or rest.line != line or rest.row <= below:
            assert time.monotonic() < end, (line, rest, self.server.capture(self.pane))
            await asyncio.sleep(0.05)
        return rest.row

    async def half(self) -> str:
        return (await self.agent.view(self.client, to_type=True)).half_typed

    def types(self, text: str, line: str) -> None:
        self.server.press(self.pane, "-l", text)
        self.server.wait_for(self.pane, line + text)


@contextlib.asynccontextmanager
async def place(server: PrivateTmux, command: str, begin: str) -> AsyncIterator[Place]:
    pane = server.open(command)
    if begin:
        server.wait_for(pane, begin.rstrip())
    else:
        until(lambda: server.value(pane, "pane_current_command") == command, what=command)
    async with connected(server) as client:
        program = server.value(pane, "pane_current_command")
        spec = AgentSpec(agent_id=AgentId("a"), driver="line", program=program)
        await set_pane_options(client, PaneId(pane), {"@nova_agent": "a"})
        agent = Agent(spec=spec, driver=LINE, clock=time.monotonic, clock_ms=lambda: 0)
        (facts,) = [one for one in await list_panes(client) if one.pane_id == pane]
        agent.moved(facts, "server")
        watcher = Watcher(
            {agent.id: agent},
            cast("TmuxLink", _Link(client)),
            clock=time.monotonic,
            processed_s=lambda: 60.0,
            unprocessed=lambda _agent: None,
        )

        def noticed(changes: Changes) -> None:
            for state in [*changes.changed.values(), *changes.stirred.values()]:
                watcher.noticed(agent, state)

        watch = PaneWatch(client, noticed)
        await watch.start()
        task = asyncio.create_task(watcher.run())
        try:
            yield Place(server, pane, agent, client)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await watch.stop()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_half_typed_before_the_first_message_is_told(name: str, tmux: PrivateTmux) -> None:
    command, prompt = PROGRAMS[name]

    async def scenario() -> None:
        async with place(tmux, command, prompt) as made:
            await made.rests(prompt)
            assert await made.half() == ""
            made.types("12 + 3", prompt)
            assert await made.half() == "12 + 3"

    run(scenario())


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_half_typed_in_the_row_of_the_next_prompt_is_told(name: str, tmux: PrivateTmux) -> None:
    """After a line that a person sent: the counter counts, and the directory is another one."""
    command, prompt = PROGRAMS[name]
    (tmux.home / "other").mkdir(parents=True)
    sent = "cd other" if prompt.startswith("~") else "1"
    after = prompt.replace("~", "~/other").replace("1", "2")

    async def scenario() -> None:
        async with place(tmux, command, prompt) as made:
            row = await made.rests(prompt)
            made.types(sent, prompt)
            tmux.press(made.pane, "Enter")
            await made.rests(after, below=row)
            assert await made.half() == ""
            made.types("4 + 5", after)
            assert await made.half() == "4 + 5"

    run(scenario())


def test_a_shell_that_runs_what_was_typed_has_read_it() -> None:
    """The command is in front a moment later: the shell has not ended."""
    with node() as made:
        pane = made.tmux.open("sh")
        made.tmux.wait_for(pane, "$")
        made.register("shell", pane)
        for _ in range(3):
            sent = made.send("shell", "cat")["id"]
            made.wait_state(sent, "submitted")
            until(lambda: made.tmux.value(pane, "pane_current_command") == "cat", what="cat")
            made.tmux.press(pane, "C-d")
