"""Look at panes when there may be something to see, so that states are true although no message waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nova_torch.errors import TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import AgentId
from noval_d.agents.agent import Agent
from noval_d.agents.prompt import Prompt
from noval_d.agents.rounds import Due, Known, due, line_due
from noval_d.node.pulse import idle
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.watch import PaneState

SPACING_S = 0.08  # between two looks that are not urgent: a dozen in a second, at a millisecond each
TROUBLED_S = 1.0
GRAIN_S = 0.002  # timers may be early by a millisecond
IDLE_S = 3600.0

log = logging.getLogger("nova.agents")


@dataclass(slots=True)
class Heard:
    """What tmux told of an agent's pane, in monotonic seconds."""

    seen: PaneState | None = None
    stirred_at: float = float("-inf")
    turned_at: float = float("-inf")
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next stir, and replaced by another one then."""
    prompt: Prompt | None = None
    """That of the line-based program that was looked at last: another program has another one."""


class Watcher:
    """Keeps the states of a node's agents true. `run` is a task of the node."""

    def __init__(
        self,
        agents: Mapping[AgentId, Agent],
        link: TmuxLink,
        *,
        clock: Callable[[], float],
        processed_s: Callable[[], float],
        unprocessed: Callable[[Agent], None],
    ) -> None:
        self._agents = agents
        self._link = link
        self._clock = clock
        self._processed_s = processed_s
        self._unprocessed = unprocessed
        self._heard: dict[AgentId, Heard] = {}
        self._news = asyncio.Event()
        self.looks = 0

    def __repr__(self) -> str:
        return f"<Watcher {len(self._heard)} agents, {self.looks} looks>"

    def heard(self, agent: AgentId) -> Heard:
        """Return what was told of an agent's pane."""
        return self._heard.setdefault(agent, Heard())

    def noticed(self, agent: Agent, state: PaneState) -> None:
        """Take over what the subscription told of the agent's pane."""
        heard, now = self.heard(agent.id), self._clock()
        before, heard.seen = heard.seen, state
        if before is None or _says(agent, before) != _says(agent, state):
            heard.turned_at = now
        heard.stirred_at = now
        heard.stirred.set()
        heard.stirred = asyncio.Event()
        self._news.set()

    def soon(self) -> None:
        """Think again about who is looked at next: a hook told something."""
        self._news.set()

    async def run(self) -> None:
        """Look at whose turn it is until cancelled."""
        while True:
            self._news.clear()
            for gone in self._heard.keys() - self._agents.keys():
                del self._heard[gone]
            agent, next_look = self._next()
            wait_s = next_look.at - self._clock()
            if agent is None or wait_s > 0:
                await self._pause(max(wait_s, GRAIN_S))
                continue
            await self._look(agent)
            if not next_look.urgent:
                await asyncio.sleep(SPACING_S * random.uniform(0.9, 1.1))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await idle(self._news.wait)

    def _next(self) -> tuple[Agent | None, Due]:
        """Return who is looked at next: of those whose time has come the urgent ones first."""
        now = self._clock()
        best: tuple[Agent | None, Due] = (None, Due(now + IDLE_S))
        for agent in self._agents.values():
            its = self._due(agent)
            if _rank(agent, its, now) < _rank(best[0], best[1], now):
                best = (agent, its)
        return best

    def _due(self, agent: Agent) -> Due:
        away = agent.facts is None or agent.facts.dead
        if agent.driver.kind != "line":
            return Due(self._deadline(agent)) if away else due(self._known(agent))
        if away or agent.typing:
            return Due(float("inf"))
        heard = self.heard(agent.id)
        if heard.prompt is not agent.prompt:
            return Due(self._clock())
        return line_due(agent.looked_at, heard.stirred_at, agent.prompt.rests_at(agent.driver))

    def _known(self, agent: Agent) -> Known:
        heard = self.heard(agent.id)
        return Known(
            looked_at=agent.looked_at,
            stirred_at=heard.stirred_at,
            turned_at=heard.turned_at,
            told_at=agent.told_at,
            busy_by_title=heard.seen is not None and _busy(agent, heard.seen),
            unsettled=agent.unsettled,
            deadline=self._deadline(agent),
            jitter=zlib.crc32(agent.id.encode()) / (1 << 32),
        )

    def _deadline(self, agent: Agent) -> float:
        taken = agent.taken
        return taken.at + self._processed_s() if taken is not None and not taken.warned else float("inf")

    async def _look(self, agent: Agent) -> None:
        self.looks += 1
        try:
            await agent.view(self._link.client, to_type=agent.driver.kind == "line")
        except TmuxNotAnswering:
            self._link.answered(well=False)
            await asyncio.sleep(TROUBLED_S)
        except TmuxUnavailable:
            await asyncio.sleep(TROUBLED_S)
        self.heard(agent.id).prompt = agent.prompt
        if agent.judge_work(self._processed_s()):
            self._unprocessed(agent)


def _rank(agent: Agent | None, its: Due, now: float) -> tuple[bool, bool, bool, float]:
    """Return what the first one is the least of: agents with a state to be seen come before programs without."""
    line = agent is not None and agent.driver.kind == "line"
    return (its.at > now, not its.urgent, line and its.at <= now, its.at)


def _busy(agent: Agent, state: PaneState) -> bool:
    pattern = agent.driver.title_busy
    return pattern is not None and pattern.search(state.title) is not None


def _says(agent: Agent, state: PaneState) -> tuple[object, ...]:
    """Return what of a pane's facts can turn an agent's state: a spinner's next frame does not."""
    driver = agent.driver
    title = [
        bool(p and p.search(state.title))
        for p in (driver.title_idle, driver.title_busy, driver.title_elsewhere)
    ]
    return (state.pid, state.command, state.dead, state.in_mode, *title)
