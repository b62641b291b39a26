"""Follow the panes of the tmux server: one subscription tells of changes, a listing says how things are."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from nova_torch.errors import TmuxUnavailable
from noval_d.agents.agent import Agent
from noval_d.agents.roster import Roster
from noval_d.agents.watcher import Watcher
from noval_d.node.pulse import idle
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.panes import list_panes
from noval_d.tmux.watch import Changes, PaneState, PaneWatch

log = logging.getLogger("nova.node")

FOLLOW_S = 30.0  # panes are listed anew this often, whatever the subscription says
TROUBLED_S = 1.0


class Following:
    """Keeps the roster's panes true. `run` is a part of the node."""

    def __init__(self, link: TmuxLink, roster: Roster, watcher: Watcher) -> None:
        self._link = link
        self._roster = roster
        self._watcher = watcher
        self._changed = asyncio.Event()

    def soon(self) -> None:
        """List the panes now: something became of them, or of the client that follows them."""
        self._changed.set()

    async def run(self) -> None:
        """Follow the panes by one subscription; list them all after each change that matters."""
        while True:
            client = await self._link.wait_up()
            watch = PaneWatch(client, self._noticed)
            try:
                await watch.start()
                while client.alive:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(FOLLOW_S):
                            await idle(self._changed.wait)
                    self._changed.clear()
                    if client.alive:
                        self._roster.follow(await list_panes(client))
            except TmuxUnavailable as error:
                self._link.answered(well=False)
                log.warning("tmux.follow_failed", extra={"problem": error.message})
                await watch.stop()  # the same client may be watched again
                await asyncio.sleep(TROUBLED_S)

    def _noticed(self, changes: Changes) -> None:
        """Wake the agents of changed panes; list the panes anew unless only titles (spinners) changed."""
        agents = {agent.facts.pane_id: agent for agent in self._roster.agents.values() if agent.facts}
        for pane_id, state in changes.changed.items():
            agent = agents.get(pane_id)
            facts = agent.facts if agent is not None else None
            if agent is None or facts is None:
                self.soon()
                continue
            self._stirred(agent, state)
            seen = (state.pid, state.command, state.dead, state.in_mode)
            if seen != (facts.pid, facts.command, facts.dead, facts.in_mode):
                self.soon()
        for pane_id, state in changes.stirred.items():
            if (agent := agents.get(pane_id)) is not None:
                self._stirred(agent, state)
        if changes.gone:
            self.soon()

    def _stirred(self, agent: Agent, state: PaneState) -> None:
        self._watcher.noticed(agent, state)
        if agent.waiting():
            agent.wake.set()
