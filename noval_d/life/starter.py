"""Start an agent's program in a window, once for each decision to start it.

The decision, with a token of its own, is durable before anything happens. The window's first program waits for
the go-ahead of that token, which is given last. So whenever the daemon dies in between, its successor finds out
how far it got: a window that waits gets its go-ahead, a program that runs is adopted, and anything else is done
anew under another token, whose window nothing of the old start can become.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nova_torch.errors import Conflict, TimedOut, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.agents.recognition import is_shell, may_be_a_shell, script_of
from noval_d.agents.start import start_argv
from noval_d.failpoints import failpoint
from noval_d.life.ending import runs
from noval_d.life.goahead import new_token
from noval_d.life.plan import Life, Phase
from noval_d.tmux.endings import START_OPTION, ending
from noval_d.tmux.front import read_front
from noval_d.tmux.panes import PaneFacts, list_panes, observe, set_pane_options
from noval_d.tmux.server import how_to_start

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.life.goahead import GoAhead
    from noval_d.node.node import Node
    from noval_d.tmux.control import ControlClient

CONNECT_S = 10.0  # for the control client of a tmux server that has just been started
BECOME_S = 15.0  # for the window's first program to become the agent
LOOK_S = 0.02
PROMPT_BYTES = 100_000  # a longer prompt is sent as a message: Linux takes 128 KiB a word


class Starter:
    """Starts the programs of one node's agents."""

    def __init__(self, node: Node, goahead: GoAhead) -> None:
        self._node = node
        self._goahead = goahead

    async def start(
        self, agent: Agent, life: Life, keep: Callable[[Life], Awaitable[None]], *, may_start: bool
    ) -> tuple[Life, str]:
        """Bring `life` from STARTING to LAUNCHED; return it, and the prompt that is still to be sent.

        `keep` keeps its new token, by which a program that runs is known whatever fails from then on. `may_start`:
        a tmux server may be started for it. Raises NovaError; what was opened for it is closed.
        """
        node = self._node
        pane = await self._found(agent)
        if pane is not None and not pane.dead and runs(pane.pid):
            known = await ending(node.tmux.client, pane.pane_id)
            if known is None or known.token != life.token:
                raise Conflict(
                    f"a program still runs in pane {pane.pane_id} of agent {agent.id}.",
                    f"Look: novactl peek {agent.id}",
                )
            if not self._goahead.waits(life.token, pane.pid):
                agent.prompted = self.carries(agent, life)
                return life.to(Phase.LAUNCHED, pane=pane.pane_id), self._left(agent, life)
            return await self._launch(agent, life, pane.pane_id)
        token = new_token()
        resumed = bool(life.session and agent.driver.start.resume)
        life = replace(
            life,
            token=token,
            resumed=resumed,
            starts=life.starts + 1,
            started_ms=node.clock_ms(),
            pane=pane.pane_id if pane is not None else "",
        )
        await keep(life)
        failpoint("spawn.before")
        if pane is not None:
            from noval_d.tmux.windows import reuse_pane  # libtmux: 30 ms that only a start pays for

            await set_pane_options(node.tmux.client, pane.pane_id, {START_OPTION: token})
            await reuse_pane(node.tmux.socket, pane.pane_id, self._goahead.argv(token))
            return await self._launch(agent, life, pane.pane_id)
        return await self._in_new_window(agent, life, may_start)

    async def _in_new_window(self, agent: Agent, life: Life, may_start: bool) -> tuple[Life, str]:
        from noval_d.tmux.windows import close_pane, open_window

        node = self._node
        if node.config.tmux.unit:  # its server is no child of ours, in our sandbox
            await self._client()
            may_start = False
        opened = await open_window(
            node.tmux.socket,
            session=life.plan.session,
            name=agent.id,
            argv=self._goahead.argv(life.token),
            may_start=may_start,
        )
        try:
            return await self._launch(agent, life, opened)
        except Exception:  # not when the daemon stops: its successor finds out how far this got
            self._goahead.withdraw(life.token)
            await asyncio.shield(close_pane(node.tmux.socket, opened))
            raise

    async def _launch(self, agent: Agent, life: Life, pane: PaneId) -> tuple[Life, str]:
        """Mark the pane, then give the go-ahead, then wait until the agent's program is there."""
        from noval_d.tmux.windows import search_path

        node = self._node
        client = await self._client()
        marks = {START_OPTION: life.token, "remain-on-exit": "on"}
        await set_pane_options(client, pane, marks)
        seen = await observe(client, pane, capture=False)
        if seen is None:
            raise TmuxUnavailable(f"the window of agent {agent.id} was closed while it was opened.")
        await node.roster.register(agent.spec, seen.facts, client)
        argv, agent.prompted = self._argv(agent, life)
        path = await search_path(node.tmux.socket, life.plan.session)
        env = self._environment(agent, life, path)
        self._goahead.give(life.token, argv=argv, cwd=life.plan.cwd, env=env)
        failpoint("spawn.after")
        await self._becomes(client, agent, life, pane)
        return life.to(Phase.LAUNCHED, pane=pane), self._left(agent, life)

    @staticmethod
    def _argv(agent: Agent, life: Life) -> tuple[list[str], bool]:
        """Return the words of this start, and whether they carry the first prompt."""
        session = life.session if life.resumed else None
        prompt = life.plan.prompt if len(life.plan.prompt.encode()) <= PROMPT_BYTES else ""
        return start_argv(agent.driver.start, life.plan.command, prompt=prompt, session=session)

    def carries(self, agent: Agent, life: Life) -> bool:
        """Tell whether the first prompt is on the command line of this start."""
        return self._argv(agent, life)[1]

    def _left(self, agent: Agent, life: Life) -> str:
        """Return the prompt that is still to be sent."""
        return "" if life.resumed or self.carries(agent, life) else life.plan.prompt

    async def _becomes(self, client: ControlClient, agent: Agent, life: Life, pane: PaneId) -> None:
        """Wait until the program that waited is the agent's, or has ended."""
        node, pid = self._node, agent.facts.pid if agent.facts is not None else 0
        end_at = node.clock() + BECOME_S
        while self._goahead.waits(life.token, pid):
            if node.clock() > end_at:
                raise TimedOut(
                    f"the window of agent {agent.id} did not start its program.", "Is the machine overloaded?"
                )
            await asyncio.sleep(LOOK_S)
        seen = await observe(client, pane, capture=False)
        if seen is None:
            return  # its window was closed: its keeper sees that
        await self.identify(agent, seen.facts, client)

    async def identify(self, agent: Agent, facts: PaneFacts, client: ControlClient) -> None:
        """Take what is in front of the agent's pane for the agent, where its driver names no command."""
        if agent.driver.commands or facts.dead:
            agent.moved(facts, agent.server)
            return
        front = read_front(facts.pid)
        script = script_of(facts.command, front.argv if front is not None else ())
        agent.spec = replace(agent.spec, program=facts.command, script=script)
        await self._node.roster.register(agent.spec, facts, client)

    async def follow(self, agent: Agent) -> None:
        """Take for the agent what its program has become since: a script (as pyenv's python3) that execs another.

        Only the very process that was started counts, and no shell that it becomes.
        """
        facts = agent.facts
        if agent.driver.commands or facts is None or facts.dead or agent.present:
            return
        front = read_front(facts.pid)
        if front is None or front.pid != facts.pid or not is_shell(agent.spec.program or ""):
            return
        with contextlib.suppress(TmuxUnavailable):
            client = self._node.tmux.client
            seen = await observe(client, facts.pane_id, capture=False)
            # in the middle of its exec a process has no words, and tmux names what its pane was opened with
            named = any(front.argv[:1]) and read_front(facts.pid) == front
            if seen is None or not named or seen.facts.pid != facts.pid or seen.facts.dead:
                return
            if not may_be_a_shell(seen.facts.command):
                await self.identify(agent, seen.facts, client)

    async def _client(self) -> ControlClient:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._node.tmux.wait_up()
        except TimeoutError:
            tmux = self._node.tmux
            raise TmuxUnavailable(
                f"no tmux server answers at {tmux.socket.path}. {tmux.problem}".strip(),
                how_to_start(self._node.config.tmux.unit),
            ) from None

    async def _found(self, agent: Agent) -> PaneFacts | None:
        """Return the pane that carries the agent's name now, if there is one."""
        try:
            client = self._node.tmux.client
        except TmuxUnavailable:
            return None
        panes = await list_panes(client)
        return next((p for p in panes if (p.nova_agent, p.nova_node) == (agent.id, self._node.name)), None)

    def _environment(self, agent: Agent, life: Life, path: str) -> dict[str, str]:
        """Return the variables that go over those of the tmux server: where the node is, then the plan's.

        The PATH is among them: a window has that of whoever opens it (tmux 3.3a), so of this daemon alone.
        An agent whose API wants a password gets one that nobody else knows; we read it where it is, in its process.
        """
        config = self._node.config
        own = {"NOVA_SOCKET": config.control.socket, "NOVA_STATE_DIR": os.path.abspath(config.state.dir)}
        own["PATH"] = path
        if agent.driver.api_password:
            own[agent.driver.api_password] = secrets.token_urlsafe()
        return {**own, **life.plan.env}
