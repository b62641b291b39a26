"""Have the actions of scaling done: each once, here or on the node that it names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from nova_torch.errors import BrokerUnavailable, Conflict, NotAllowed, NovaError, ShuttingDown
from nova_torch.policy import Party, Request
from noval_d.control.args import Args
from noval_d.fleet.spawning import spawn_for, spawn_there
from noval_d.life.spawning import mark_of
from noval_d.life.wish import Wish
from noval_d.scale.history import Action, Stand, Way

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.scale")

OWNER = "user:scaling"
"""Whom a policy file calls it, and whom agents have their first prompt from."""
LONGEST_S = 120.0
"""A start that is not over after so long is not waited for: it counts as it is seen in the registry."""


def agent_name(role: str, action: str) -> str:
    """Return the name of the agent that an action starts: the same every time."""
    return f"{role}-{mark_of(action)}"


class Acting:
    """What is being done now."""

    def __init__(self, node: Node, ended: Callable[[Action], Awaitable[None]]) -> None:
        self._node = node
        self._ended = ended
        self._doing: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Acting {len(self._doing)}>"

    def go_on(self, actions: Iterable[Action]) -> None:
        """Do what is not over, also what another leader has begun: asked for again, it is the same."""
        for action in actions:
            if action.stand is Stand.PENDING and action.id not in self._doing:
                task = asyncio.create_task(self._do(action), name=f"scale-{action.agent}")
                self._doing[action.id] = task
                task.add_done_callback(partial(self._over, action.id))

    def _over(self, action: str, _task: asyncio.Task[None]) -> None:
        del self._doing[action]

    async def stop(self) -> None:
        """Let go of everything; what is asked for goes on where it was asked."""
        tasks = list(self._doing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, action: Action) -> None:
        begun = False
        try:
            async with asyncio.timeout(LONGEST_S), aclosing(self._steps(action)) as steps:
                async for step in steps:
                    begun = begun or step.get("step") == "started"
        except (BrokerUnavailable, ShuttingDown):
            return  # it is not known: the next look asks again
        except TimeoutError:
            await self._ended(action.ended(Stand.FAILED, f"not over after {LONGEST_S:g} s"))
        except NovaError as error:
            # one that waits at a dialog, or has exited, is there
            stand = Stand.DONE if begun else Stand.FAILED
            await self._ended(action.ended(stand, error.message))
        except Exception:  # a defect of ours, met by one action
            log.exception("scale.action_failed", extra={"id": action.id})
            await self._ended(action.ended(Stand.FAILED, f"node {self._node.name} failed; its log has more"))
        else:
            await self._ended(action.ended(Stand.DONE))

    async def _steps(self, action: Action) -> AsyncGenerator[dict[str, Any], None]:
        node, here = self._node, action.node == self._node.name
        if action.way is Way.UP:
            rule = node.config.scaling.rules.get(action.role)
            template = rule.template if rule is not None else action.role
            wish = Wish(name=template, agent_id=action.agent, owner=OWNER)
            if here:
                asked = {
                    "name": template, "agent_id": action.agent, "owner": OWNER, "from": node.name,
                    "role": action.role,
                }  # fmt: skip
                made = spawn_for(node, action.id, asked)
            else:
                made = spawn_there(node, action.node, action.id, wish, role=action.role)
        else:
            asked = {"agent_id": action.agent, "from": node.name}
            if here:
                made = retire_for(node, action.id, asked)
            else:
                made = node.asks.follow(action.node, action.id, "retire", asked)
        async for step in made:
            yield step


async def retire_for(node: Node, _ask: str, details: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Stop an agent that scaling started, if it still has nothing to do. This node's policy decides.

    Asked for again when it is gone, that is well. Raises Conflict, NotAllowed.
    """
    asked = Args(details)
    name, leader = asked.text("agent_id"), asked.text("from")
    agent = next((agent for agent in node.roster.agents if agent == name), None)
    if agent is None:
        yield {"step": "stopped", "agent_id": name}
        return
    ruling = node.guard.policy.decide(
        Request(action="stop", by=Party(name=OWNER, node=leader), to=node.guard.party(agent))
    )
    if not ruling.allow:
        raise NotAllowed(f"{OWNER} of node {leader} may not stop {agent}: {ruling.why}.")
    keeper = node.lives.keepers.get(agent)
    if keeper is None or keeper.life.plan.owner != OWNER:
        raise Conflict(f"agent {agent} was not started by scaling.")
    if node.tasks.of(agent) or not await node.draining.has_nothing(agent):
        raise Conflict(f"agent {agent} has something to do by now.")
    outcome = await node.lives.stop_agent(agent, force=False)
    yield {"step": "stopped", "agent_id": name, "archive": outcome.get("archive", "")}
