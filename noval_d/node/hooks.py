"""Take over what the agents' hooks report, also what they reported while no daemon answered in time."""

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
from noval_d.node.pulse import rest
from noval_d.tmux.control import ControlClient
from noval_d.tmux.link import TmuxLink

log = logging.getLogger("nova.node")

KEPT_S = 1.0
"""How often calls are looked for that were kept although the daemon runs: on a busy machine a hook has no time."""
UNREADABLE_S = 60.0


class Hooks:
    """Brings a hook's call to the agent in whose pane it ran."""

    def __init__(
        self,
        roster: Roster,
        watcher: Watcher,
        *,
        tmux: TmuxLink,
        kept: str,
        heard: Callable[[AgentId], None],
        state_changed: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._watcher = watcher
        self._tmux = tmux
        self._kept = kept
        self._load_ms = 0
        self._heard = heard
        self._state_changed = state_changed
        self._late: list[Mapping[str, Any]] = []

    def load(self, now_ms: int) -> None:
        """Take the calls that were kept until `now_ms`; they are heard when tmux is up."""
        self._load_ms = now_ms
        try:
            self._late.extend(spool.take(self._kept))
        except OSError as error:
            log.warning("node.spool_unreadable", extra={"problem": str(error)})

    async def run(self) -> None:
        """Hear what hooks could not say in time, until cancelled."""
        aside = False
        while True:
            await rest(KEPT_S)
            try:
                if aside:
                    client = await self._tmux.wait_up()
                    await self._hear_missed(spool.take_aside(self._kept), client)
                aside = spool.set_aside(self._kept)
            except OSError as error:
                log.warning("node.spool_unreadable", extra={"problem": str(error)})
                await rest(UNREADABLE_S)

    async def _hear_missed(self, records: list[Mapping[str, Any]], client: ControlClient) -> None:
        """Take over what this daemon has not heard: what was sent whole while it ran came by the socket."""
        missed = [one for one in records if not one.get("sent") or _made_ms(one) < self._load_ms]
        await self._hear_all(missed, client, late=True)

    async def hear(self, pane: Any, event: Any, payload: Any, at_ms: Any = 0, *, late: bool = False) -> bool:
        """Take over one call of an agent's hook; False when no agent of ours lives in that pane.

        `at_ms`: when it was made; one that comes `late` says nothing of the state if there was a newer one.
        """
        if not isinstance(pane, str) or not isinstance(event, str):
            return False
        agent = self._roster.of_pane(pane)
        raw = payload if isinstance(payload, bytes) else b""
        report = read_report(agent.driver.hooks, event, raw) if agent is not None else None
        if agent is None or report is None:
            return False
        now_ms = agent.clock_ms()
        made_ms = min(at_ms, now_ms) if isinstance(at_ms, int) and at_ms > 0 else now_ms
        await self.take(agent, report, made_ms, late=late and made_ms < agent.reported_ms)
        return True

    async def take(self, agent: Agent, report: Report, made_ms: int = 0, *, late: bool = False) -> None:
        """Take over what an agent's hook, or its API, has told; `late`: it says nothing of the state any more."""
        before = agent.state
        if not late:
            agent.reported_ms = made_ms or agent.clock_ms()
        await self._roster.workers[agent.id].heard(report, late=late)
        self._watcher.soon()
        self._heard(agent.id)
        if agent.state is not before:
            self._state_changed()

    async def hear_late(self, client: ControlClient) -> None:
        """Take over the calls that were kept before the start and came from the panes of this server."""
        records, self._late = self._late, []
        await self._hear_all(records, client, late=False)

    async def _hear_all(self, records: list[Mapping[str, Any]], client: ControlClient, *, late: bool) -> None:
        for record in records:
            if not _of_server(record.get("tmux"), self._tmux.socket.path, client.server.pid):
                continue
            said = (record.get("pane"), record.get("event"), record.get("payload"), record.get("at_ms"))
            try:
                await self.hear(*said, late=late)
            except NovaError as error:
                log.warning("node.late_hook_refused", extra={"problem": error.message})


def _made_ms(record: Mapping[str, Any]) -> int:
    made_ms = record.get("at_ms")
    return made_ms if isinstance(made_ms, int) else 0


def _of_server(tmux: object, socket: str, server_pid: int) -> bool:
    """Tell whether a kept $TMUX (socket,pid,session) is this very server: pane numbers begin anew in each."""
    if not isinstance(tmux, str):
        return False
    path, _, rest = tmux.partition(",")
    return os.path.realpath(path) == os.path.realpath(socket) and rest.partition(",")[0] == str(server_pid)
