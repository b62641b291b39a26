"""Spawn an agent on this node, whoever asks for it, and tell each step until it is ready."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nova_torch.errors import Conflict, NovaError
from nova_torch.policy import Party
from nova_torch.values import AgentSpec
from noval_d.agents.attention import opening
from noval_d.control.hub import Subscription
from noval_d.life.asked import Asked
from noval_d.life.check import check, first_installed
from noval_d.life.keeper import Keeper
from noval_d.life.plan import Phase, Plan
from noval_d.life.wish import SESSION_NAME, Wish, only_a_role, own_commands, settled

if TYPE_CHECKING:
    from noval_d.node.node import Event, Node

HOME = os.path.expanduser("~")


async def meant(node: Node, wish: Wish, ask: str = "") -> tuple[AgentSpec, Plan]:
    """Return what a wish comes to on this node. Raises what is wrong with it."""
    templates, drivers = node.config.agents, node.roster.drivers
    if only_a_role(wish, templates, drivers, broken=node.broken_drivers):
        session = wish.session or SESSION_NAME
        own = own_commands(drivers)
        found = await first_installed(wish.name, own, wish.env, session, node.tmux.socket)
        wish = replace(wish, driver=found or "")
    return settled(
        wish,
        templates,
        drivers,
        broken=node.broken_drivers,
        mark=mark_of(ask) if ask else secrets.token_hex(4),
        home=HOME,
    )


async def spawned(
    node: Node,
    wish: Wish,
    *,
    may: Callable[[Party], None],
    refuse_foreign: Callable[[str], Awaitable[None]],
    ask: str = "",
) -> AsyncIterator[dict[str, Any]]:
    """Start an agent in a window of its own and yield each step until it is ready.

    `may` raises NotAllowed, `refuse_foreign` Conflict when another node has an agent of this name. With `ask`, the
    id of what another node asked for, this may be done again: it is one agent.
    """
    spec, plan = await meant(node, wish, ask)
    with life_of(node, spec.agent_id) as events:
        keeper = node.lives.keepers.get(spec.agent_id) if ask else None
        if keeper is None or keeper.life.plan.ask != ask:
            if ask and (gone := Asked(node.store).agent_of(ask)):
                raise Conflict(f"agent {gone} was started for this and is no more.", "Ask for another one.")
            may(Party(name=spec.agent_id, role=spec.role, node=node.name))
            node.roster.check_new(spec)
            node.draining.refuse(f"agent {spec.agent_id}")
            await refuse_foreign(spec.agent_id)
            await check(plan, node.roster.drivers[spec.driver], node.tmux.socket)
            keeper = await node.lives.spawn(spec, replace(plan, ask=ask))
        yield step(node, "started", keeper)
        if keeper.ready:
            yield step(node, "ready", keeper)
            return
        if keeper.life.phase is Phase.EXITED:
            raise _ended(keeper, keeper.life.gave_up or "it has exited")
        async for each in until_ready(node, keeper, events):
            yield each


def mark_of(ask: str) -> str:
    """Return what makes the name unique of the agent that is started for `ask`: the same every time."""
    return hashlib.sha256(ask.encode()).hexdigest()[:8]


def life_of(node: Node, agent_id: str) -> Subscription[Event]:
    """Follow the life of an agent; begin before it is changed."""
    return node.events.subscribe(
        lambda event: event["agent"] == agent_id and str(event["event"]).startswith("life.")
    )


async def until_ready(
    node: Node, keeper: Keeper, events: Subscription[Event]
) -> AsyncIterator[dict[str, Any]]:
    """Yield each step of the start until the agent is ready. Raises NovaError when it needs somebody."""
    async for event in events:
        what = str(event["event"]).removeprefix("life.")
        if what == "dialog":
            raise _waits(keeper, str(event["reason"]))
        if what in ("exited", "gave_up", "stopped") and keeper.life.phase is not Phase.WAITING:
            raise _ended(keeper, str(event["reason"]))
        if what not in ("started", "restarting") or keeper.life.starts > 1:
            yield step(node, what, keeper, str(event["reason"]))
        if what == "ready":
            return


def step(node: Node, what: str, keeper: Keeper, reason: str = "") -> dict[str, Any]:
    """Return one step as it is told: with the agent, as long as there is one."""
    agent = keeper.agent
    worker = node.roster.workers.get(agent.id)
    if worker is None:
        return {"step": what, "reason": reason, "agent_id": agent.id}
    return {"step": what, "reason": reason, **node.roster.record(agent, worker.in_hand).to_json()}


def _ended(keeper: Keeper, why: str) -> NovaError:
    return NovaError(
        f"agent {keeper.agent.id} ended before it was ready: {why}.",
        f"See what it said: novactl peek {keeper.agent.id}",
    )


def _waits(keeper: Keeper, name: str) -> NovaError:
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
