"""Follow the program in one agent's pane: whether it runs, how it ended, its end by order with all that it left."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from nova_torch.errors import NovaError, TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.life.ending import How, end, end_rest, runs
from noval_d.life.policy import Exit
from noval_d.tmux.endings import Ending, ending, reap
from noval_d.tmux.panes import PaneFacts, list_panes

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.node.node import Node
    from noval_d.tmux.control import ControlClient

log = logging.getLogger("nova.life")

REAPED_S = 2.0
REAPED_LOOK_S = 0.02


class Program:
    """What runs in one agent's pane."""

    def __init__(self, node: Node, agent: Agent) -> None:
        self._node = node
        self._agent = agent
        self._ran = 0
        """The program that was seen to run, until what it left is ended: its number is nobody else's yet."""

    def __repr__(self) -> str:
        return f"<Program of {self._agent.id} pid={self._ran or '?'}>"

    async def exit(self) -> Exit | None:
        """Return how the program ended; None while it runs, or while nobody can tell."""
        facts = self._agent.facts
        if facts is not None and not facts.dead and runs(facts.pid):
            self._ran = facts.pid
            return None
        try:
            client = self._node.tmux.client
            panes = await list_panes(client)
            mine = next((p for p in panes if p.nova_agent == self._agent.id), None)
            if mine is None:
                self._agent.moved(None, self._agent.server)
                return Exit()
            if mine.nova_node != self._node.name:
                return None
            self._agent.moved(mine, self._agent.server)
            if not mine.dead and runs(mine.pid):
                return None
            known = await self.reaped(client, mine.pane_id)
        except TmuxUnavailable:
            return None
        return Exit(code=known.code, signal=known.signal) if known is not None else Exit()

    async def find(self) -> None:
        """Look for its pane where none is known: a daemon that has just started has not seen any yet.

        Raises TmuxUnavailable while nobody can tell whether there is one.
        """
        tmux = self._node.tmux
        if self._agent.facts is not None:
            return
        if not await tmux.settled() or tmux.state == "not_answering":
            raise TmuxNotAnswering("the tmux server does not answer, so nothing can be ended there.")
        if tmux.state == "absent":
            return  # no server: nothing runs in its panes
        panes = await list_panes(tmux.client)
        mine = (p for p in panes if (p.nova_agent, p.nova_node) == (self._agent.id, self._node.name))
        self._agent.moved(next(mine, None), self._agent.server)

    async def end(self, force: bool) -> How:
        """End the program, and wait until tmux knows that it has ended."""
        self._agent.ending = True
        await self.find()
        facts = self._agent.facts
        if facts is not None and not facts.dead and runs(facts.pid):
            self._ran = facts.pid
        how = await end(self._node, self._agent, force=force)
        await self.end_rest(facts)
        facts = self._agent.facts
        if facts is not None and how is not How.ALREADY:
            known = await self.reaped(self._node.tmux.client, facts.pane_id)
            if known is not None and not known.dead:
                raise NovaError(
                    f"something still holds the terminal of pane {facts.pane_id}.",
                    f"Look: novactl peek {self._agent.id}",
                )
        return how

    async def end_rest(self, program: PaneFacts | None) -> None:
        """End what `program` left of its group; for sure its own while it was seen to run until just now."""
        if program is None:
            return
        pane = "" if program.pid == self._ran else program.pane_id
        self._ran = 0
        if await end_rest(program.pid, self._node.config.life.terminate_s, pane=pane):
            log.info("life.rest_ended", extra={"agent": self._agent.id, "pid": program.pid})

    async def reaped(self, client: ControlClient, pane: PaneId) -> Ending | None:
        """Wait until tmux knows how the program of `pane` ended; it learns of the end and of the status apart."""
        end_at = self._node.clock() + REAPED_S
        while (known := await ending(client, pane)) is not None and not known.told:
            if self._node.clock() > end_at:
                break
            if known.dead:
                await reap(client)
            await asyncio.sleep(REAPED_LOOK_S)
        return known
