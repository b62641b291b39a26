"""Follow the events of one agent's HTTP API while there is one, and report them as its hooks would.

While it is followed `Agent.api` says so; when it ends, nothing that it told holds any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from nova_torch.errors import NovaError
from noval_d.agents.agent import Agent
from noval_d.agents.reports import Meaning, Report
from noval_d.api import opencode
from noval_d.api.endpoint import Endpoint, endpoints
from noval_d.api.http import ApiFailed
from noval_d.tmux.front import Front, read_front

log = logging.getLogger("nova.api")

LOOK_S = 1.0  # between two looks for an API: two small files of /proc
LATER_S = 8.0  # the same when this process was found without one, or failing, some times
LOADS_S = 2.0
NONE_S = 30.0  # before it is asked whether the agent has got another driver, of a kind that serves one

Heard = Callable[[Report], Awaitable[object]]


class Feed:
    """Follows one agent's API. `run` is a task beside the agent's worker."""

    def __init__(
        self, agent: Agent, heard: Heard, *, rests: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._agent = agent
        self._heard = heard
        self._rests = rests
        self._front: Front | None = None
        self._in_vain = 0

    def __repr__(self) -> str:
        return f"<Feed {self._agent.id} {self._agent.api or 'no API'}>"

    async def run(self) -> None:
        """Find the API and follow it until cancelled."""
        while True:
            if not self._agent.driver.api_kind:
                await asyncio.sleep(NONE_S)
                continue
            front = self._in_front()
            if front is None or self._front is None or not front.is_same(self._front):
                self._front, self._in_vain = front, 0
            if front is not None:
                for endpoint in endpoints(self._agent.driver, front):
                    await self._try(endpoint)
                self._in_vain += 1
            pause_s = min(LOOK_S * 2 ** max(self._in_vain - 5, 0), LATER_S)
            await asyncio.sleep(pause_s * random.uniform(0.9, 1.1))

    def _in_front(self) -> Front | None:
        """Return the agent's own process, while it leads the foreground of its pane."""
        agent = self._agent
        return read_front(agent.facts.pid) if agent.facts is not None and agent.present else None

    async def _try(self, endpoint: Endpoint) -> None:
        try:
            await self._follow(endpoint)
        except (ApiFailed, opencode.Unreadable, NovaError) as error:
            extra = {"agent": self._agent.id, "port": endpoint.socket.port, "problem": str(error)}
            log.info("api.lost" if self._agent.api is not None else "api.unusable", extra=extra)
        except Exception:  # a defect of ours, met by one event: the agent is served without its API meanwhile
            log.exception("api.failed", extra={"agent": self._agent.id})
        finally:
            if self._agent.api is not None:
                self._agent.followed(None)

    async def _follow(self, endpoint: Endpoint) -> None:
        """Report what it does now, then every event, as long as it is the agent in front."""
        agent = self._agent
        doings = opencode.Doings(limit=agent.driver.api_limit)
        # one that loads accepts connections and never answers them
        await endpoint.get(opencode.STATUS, within_s=LOADS_S)
        async with contextlib.aclosing(endpoint.events(opencode.EVENTS)) as events:  # type: ignore[type-var]
            async for data in events:
                if agent.api is None:  # the first event says that none is missed from now on
                    news = doings.begin(
                        await endpoint.get(opencode.STATUS),
                        await endpoint.get(opencode.PERMISSIONS),
                        await endpoint.get(opencode.QUESTIONS),
                    )
                    self._in_vain = 0
                    agent.followed(endpoint)
                    log.info("api.followed", extra={"agent": agent.id, "port": endpoint.socket.port})
                else:
                    news = doings.take(data)
                if not news and not opencode.beats(data):
                    continue
                if not endpoint.is_of(self._in_front()):
                    raise ApiFailed("another program is in front")
                for report in news:
                    await self._heard(report)
                over = any(report.meaning is Meaning.FINISHED for report in news)
                if self._rests is not None and (over or not news):
                    await self._rests()  # also with each heartbeat: the pane may not show it yet
