"""Start an agent on the node that was chosen for it: here, or there, asked through the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nova_torch.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from nova_torch.nearest import suggestion
from nova_torch.policy import Party, Request
from noval_d.control.args import Args
from noval_d.life.spawning import spawned
from noval_d.life.wish import Wish

if TYPE_CHECKING:
    from noval_d.node.node import Node


async def spawn_there(
    node: Node, target: str, ask: str, wish: Wish, *, by_role: str = "", role: str = ""
) -> AsyncIterator[dict[str, Any]]:
    """Have `target` start an agent; yield each step until it is ready. With the same `ask` it is one agent.

    Where the caller stands means nothing there: the directory is that of the wish, of the template there, or the
    home of the user whose node that is. With `role` it must be by a template there, of that role.
    """
    details = {**asdict(wish), "here": "", "by_role": by_role, "role": role}
    async for step in node.asks.follow(target, ask, "spawn", details):
        node.others.stale()  # who lists the agents, or sends to its group, right behind it finds it
        yield step


async def spawn_for(node: Node, ask: str, details: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Start an agent that another node asks for. This node's policy, room and configuration decide."""
    asked = Args(details)

    def text(name: str) -> str:
        return (asked.optional_text(name) or "") if details.get(name) else ""

    if role := text("role"):
        _demand_template(node, text("name"), role)
    by = Party(name=asked.text("owner"), role=text("by_role"), node=asked.text("from"))

    wish = Wish(
        name=asked.text("name"),
        agent_id=text("agent_id"),
        skills=asked.texts("skills"),
        driver=text("driver"),
        command=asked.texts("command"),
        cwd=text("cwd"),
        env=_texts(asked.mapping("env")),
        prompt=text("prompt"),
        session=text("session"),
        restart=text("restart"),
        allow=asked.texts("allow"),
        owner=by.name,
    )

    def may(to: Party) -> None:
        ruling = node.guard.policy.decide(Request(action="spawn", by=by, to=to))
        if not ruling.allow:
            raise NotAllowed(
                f"{by.name} of node {by.node} may not spawn {to.name} on {node.name}: {ruling.why}.",
                f"Ask whoever keeps the policy of node {node.name}.",
            )

    async def refuse_foreign(agent_id: str) -> None:
        await refuse_elsewhere(node, agent_id)

    async for step in spawned(node, wish, may=may, refuse_foreign=refuse_foreign, ask=ask):
        yield step


async def refuse_elsewhere(node: Node, agent_id: str) -> None:
    """Raise Conflict when another living node has an agent of this name."""
    for view in await node.others.views():
        if view.alive and any(record.agent_id == agent_id for record in view.agents):
            raise Conflict(
                f"agent {agent_id} is registered on node {view.node}.", "Unregister it there first."
            )


def _demand_template(node: Node, name: str, role: str) -> None:
    """Raise NotFound or Conflict when a template is not here, or is of another role."""
    template = node.config.agents.get(name)
    if template is None:
        cure = suggestion(name, node.config.agents, otherwise=f"Write it there: [agents.{name}]")
        raise NotFound(f"there is no template {name!r} in the configuration of node {node.name}.", cure)
    if (template.role or name) != role:
        raise Conflict(
            f"the template {name} of node {node.name} is of the role {template.role or name}, not {role}.",
            "Make the configurations of the nodes the same.",
        )


def _texts(env: Mapping[str, Any]) -> dict[str, str]:
    for name, value in env.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"the variable {name} must be a text.", 'Write {"NAME": "value"}.')
    return dict(env)
