"""Answer the calls about spawned agents: start, stop, restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.errors import InvalidRequest
from nova_torch.placement import AUTO, place
from nova_torch.policy import Party
from nova_torch.templates import Template
from nova_torch.ulid import is_ulid, new_ulid
from noval_d.calls.base import Base
from noval_d.calls.people import person
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.fleet.spawning import spawn_there
from noval_d.life.spawning import life_of, mark_of, meant, spawned, step, until_ready
from noval_d.life.wish import Wish


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
        where, labels = asked.optional_text("node"), asked.texts("labels")
        ask = asked.optional_text("ask") or new_ulid(node.clock_ms())
        if not is_ulid(ask):
            raise InvalidRequest(f"{ask[:40]!r} is not a ULID.", "Leave it out to get one.")
        role = node.config.agents.get(wish.name, Template()).role or wish.name
        if where is not None or labels or asked.flag("dry_run"):
            views, coming = await self._fleet_views(), node.asks.coming
            with self._as_far_as_seen():
                chosen = place(views, role=role, labels=labels, node=where or AUTO, coming=coming)
            if asked.flag("dry_run") and chosen.node == node.name:
                await meant(node, wish)
            ranked = [one.to_json() for one in chosen.candidates]
            why = "; ".join(filter(None, (chosen.why, self._unseen.rstrip("."))))
            yield {"step": "placed", "reason": why, "node": chosen.node, "candidates": ranked}
            if asked.flag("dry_run"):
                return
            if chosen.node != node.name:
                to = Party(name=wish.agent_id or f"{role}-{mark_of(ask)}", role=role, node=chosen.node)
                self._demand("spawn", peer, asked, to)
                by_role = caller.spec.role if caller is not None else ""
                async for each in spawn_there(node, chosen.node, ask, wish, by_role=by_role):
                    yield each
                return

        def may(to: Party) -> None:
            self._demand("spawn", peer, asked, to)

        async for each in spawned(node, wish, may=may, refuse_foreign=self._refuse_foreign):
            yield each

    async def stop_agent(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """End an agent's program, archive its pane, unregister it."""
        asked = Args(args)
        self._demand("stop", peer, asked, self._node.guard.party(asked.text("agent_id")))
        agent = await self._here_in(asked.text("agent_id"), "stop")
        return dict(await self._node.lives.stop_agent(agent.id, force=asked.flag("force")))

    async def restart(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """End an agent's program and start it again; as a stream, follow it until it is ready."""
        asked = Args(args)
        keeper = self._node.lives.get((await self._here_in(asked.text("agent_id"), "restart")).id)
        self._demand("stop", peer, asked, self._node.guard.party(keeper.agent.id))
        with life_of(self._node, keeper.agent.id) as events:
            ended = await self._node.lives.restart(keeper.agent.id, force=asked.flag("force"))
            yield step(self._node, "restarting", keeper, str(ended["ended"]))
            async for each in until_ready(self._node, keeper, events):
                yield each


def _variables(asked: Args) -> dict[str, str]:
    env = asked.mapping("env")
    for name, value in env.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"the variable {name} must be a text.", 'Write {"NAME": "value"}.')
    return env
