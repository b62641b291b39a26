"""Answer the calls about spawned agents: start, stop, restart."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.errors import InvalidRequest, NovaError
from noval_d.agents.attention import opening
from noval_d.calls.base import Base
from noval_d.calls.people import person
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.control.hub import Subscription
from noval_d.life.check import check
from noval_d.life.keeper import Keeper
from noval_d.life.plan import Phase
from noval_d.life.wish import Wish, settled
from noval_d.node.node import Event

HOME = os.path.expanduser("~")


class LifeCalls(Base):
    """One method a call."""

    async def spawn(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Start an agent in a window of its own; as a stream, follow it until it is ready."""
        asked, node = Args(args), self._node
        caller = self._agent_of(asked)
        wish = Wish(
            name=asked.text("role"),
            agent_id=asked.optional_text("agent_id") or "",
            skills=asked.texts("skills"),
            driver=asked.optional_text("driver") or "",
            command=asked.texts("command"),
            cwd=asked.optional_text("cwd") or "",
            here=asked.optional_text("here") or "",
            env=_variables(asked),
            prompt=asked.optional_text("prompt") or "",
            session=asked.optional_text("session") or "",
            restart=asked.optional_text("restart") or "",
            allow=asked.texts("allow"),
            owner=caller.id if caller is not None else person(peer),
        )
        spec, plan = settled(
            wish,
            node.config.agents,
            node.roster.drivers,
            broken=node.broken_drivers,
            mark=secrets.token_hex(4),
            home=HOME,
        )
        node.roster.check_new(spec)
        await self._refuse_foreign(spec.agent_id)
        await check(plan, node.roster.drivers[spec.driver], node.tmux.socket)
        with self._life_of(spec.agent_id) as events:
            keeper = await node.lives.spawn(spec, plan)
            yield self._step("started", keeper)
            async for step in self._until_ready(keeper, events):
                yield step

    async def stop_agent(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """End an agent's program, archive its pane, unregister it."""
        asked = Args(args)
        return dict(await self._node.lives.stop_agent(asked.text("agent_id"), force=asked.flag("force")))

    async def restart(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """End an agent's program and start it again; as a stream, follow it until it is ready."""
        asked = Args(args)
        keeper = self._node.lives.get(asked.text("agent_id"))
        with self._life_of(keeper.agent.id) as events:
            ended = await self._node.lives.restart(keeper.agent.id, force=asked.flag("force"))
            yield self._step("restarting", keeper, str(ended["ended"]))
            async for step in self._until_ready(keeper, events):
                yield step

    def _life_of(self, agent_id: str) -> Subscription[Event]:
        return self._node.events.subscribe(
            lambda event: event["agent"] == agent_id and str(event["event"]).startswith("life.")
        )

    async def _until_ready(
        self, keeper: Keeper, events: Subscription[Event]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield each step of the start until the agent is ready. Raises NovaError when it needs somebody."""
        async for event in events:
            step = str(event["event"]).removeprefix("life.")
            if step == "dialog":
                raise self._waits(keeper, str(event["reason"]))
            if step in ("exited", "gave_up", "stopped") and keeper.life.phase is not Phase.WAITING:
                raise NovaError(
                    f"agent {keeper.agent.id} ended before it was ready: {event['reason']}.",
                    f"See what it said: novactl peek {keeper.agent.id}",
                )
            if step not in ("started", "restarting") or keeper.life.starts > 1:
                yield self._step(step, keeper, str(event["reason"]))
            if step == "ready":
                return

    def _waits(self, keeper: Keeper, name: str) -> NovaError:
        """Return the error that says which dialog waits, and how to get past it."""
        agent = keeper.agent
        question = agent.sight.dialog if agent.sight is not None else None
        asked = f": {question}" if question else ""
        here = f"Answer it: novactl answer {agent.id} CHOICE, or in its window: {opening(agent.id)}."
        if name:
            return NovaError(
                f"agent {agent.id} waits at its dialog {name!r}{asked}",
                f"{here} To have it answered at its start: --allow {name}",
            )
        return NovaError(f"agent {agent.id} waits at a dialog{asked}", here)

    def _step(self, step: str, keeper: Keeper, reason: str = "") -> dict[str, Any]:
        if keeper.agent.id not in self._node.roster.workers:
            return {"step": step, "reason": reason, "agent_id": keeper.agent.id}
        return {"step": step, "reason": reason, **self._record(keeper.agent)}


def _variables(asked: Args) -> dict[str, str]:
    env = asked.mapping("env")
    for name, value in env.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"the variable {name} must be a text.", 'Write {"NAME": "value"}.')
    return env
