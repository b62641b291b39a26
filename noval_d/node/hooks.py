"""Take over what the agents' hooks report, also what they reported while no daemon answered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from nova_torch.errors import NovaError
from nova_torch.values import AgentId
from noval_d.agents.agent import Agent
from noval_d.agents.reports import Report, read_report
from noval_d.agents.roster import Roster
from noval_d.agents.watcher import Watcher
from noval_d.node import spool
from noval_d.tmux.control import ControlClient

log = logging.getLogger("nova.node")


class Hooks:
    """Brings a hook's call to the agent in whose pane it ran."""

    def __init__(
        self,
        roster: Roster,
        watcher: Watcher,
        *,
        socket: str,
        heard: Callable[[AgentId], None],
        state_changed: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._watcher = watcher
        self._socket = socket
        self._heard = heard
        self._state_changed = state_changed
        self._late: list[Mapping[str, Any]] = []

    def load(self, path: str) -> None:
        """Take the calls that were kept in the spool at `path`; they are heard when tmux is up."""
        self._late.extend(spool.take(path))

    async def hear(self, pane: Any, event: Any, payload: Any) -> bool:
        """Take over one call of an agent's hook; False when no agent of ours lives in that pane."""
        if not isinstance(pane, str) or not isinstance(event, str):
            return False
        agent = self._roster.of_pane(pane)
        raw = payload if isinstance(payload, bytes) else b""
        report = read_report(agent.driver.hooks, event, raw) if agent is not None else None
        if agent is None or report is None:
            return False
        await self.take(agent, report)
        return True

    async def take(self, agent: Agent, report: Report) -> None:
        """Take over what an agent's hook, or its API, has told."""
        before = agent.state
        await self._roster.workers[agent.id].heard(report)
        self._watcher.soon()
        self._heard(agent.id)
        if agent.state is not before:
            self._state_changed()

    async def hear_late(self, client: ControlClient) -> None:
        """Take over the kept calls that came from the panes of this server; forget the others."""
        late, self._late = self._late, []
        for record in late:
            if not _of_server(record.get("tmux"), self._socket, client.server.pid):
                continue
            try:
                await self.hear(record.get("pane"), record.get("event"), record.get("payload"))
            except NovaError as error:
                log.warning("node.late_hook_refused", extra={"problem": error.message})


def _of_server(tmux: object, socket: str, server_pid: int) -> bool:
    """Tell whether a kept $TMUX (socket,pid,session) is this very server: pane numbers begin anew in each."""
    if not isinstance(tmux, str):
        return False
    path, _, rest = tmux.partition(",")
    return os.path.realpath(path) == os.path.realpath(socket) and rest.partition(",")[0] == str(server_pid)
