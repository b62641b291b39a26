"""Answer the call `adopt`: find running agents by the rules of the configuration, and register them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_torch.adopt import EVERY_CLAIMED
from nova_torch.errors import NovaError
from noval_d.agents.adoption import Adopt, Candidate, Leave, plan
from noval_d.calls.fleet import Fleet
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.tmux.front import read_front
from noval_d.tmux.panes import list_panes

log = logging.getLogger("nova.answers")


class Adoption(Fleet):
    """One method a call."""

    async def adopt(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Register every pane that a rule makes an agent; say which, which not, and why."""
        dry_run = Args(args).flag("dry_run")
        decided = await self._plan()
        found: list[dict[str, Any]] = []
        left = [_left(each) for each in decided if isinstance(each, Leave)]
        for each in decided:
            if not isinstance(each, Adopt):
                continue
            row = _found(each)
            if dry_run:
                found.append(row)
                continue
            try:  # one that has gone meanwhile, or was taken, does not keep the others
                await self.register(peer, {key: row[key] for key in _REGISTERED})
            except NovaError as error:
                left.append(_left(Leave(candidate=each.candidate, reason=error.message.rstrip("."))))
            else:
                found.append(row)
        log.info("agents.adopted", extra={"found": len(found), "left": len(left), "dry_run": dry_run})
        return {"dry_run": dry_run, "found": found, "left": left}

    async def _plan(self) -> list[Adopt | Leave]:
        node = self._node
        panes = await list_panes(node.tmux.client)
        fronts = {pane.pane_id: read_front(pane.pid) for pane in panes if not pane.dead}
        agents = node.roster.agents.values()
        return plan(
            [
                Candidate(pane=pane, argv=front.argv if (front := fronts.get(pane.pane_id)) else ())
                for pane in panes
            ],
            node.config.adopt or (EVERY_CLAIMED,),
            node.roster.drivers,
            node=node.name,
            agents={agent.id: agent.facts.pane_id if agent.facts else "" for agent in agents},
            elsewhere=frozenset(str(record["agent_id"]) for record in await self._elsewhere()),
        )


_REGISTERED = ("agent_id", "pane", "driver", "role", "skills")


def _found(each: Adopt) -> dict[str, Any]:
    return {
        **_place(each.candidate),
        "agent_id": each.agent_id,
        "driver": each.driver,
        "role": each.role or None,
        "skills": list(each.skills),
    }


def _left(each: Leave) -> dict[str, Any]:
    return {**_place(each.candidate), "agent_id": each.agent_id or None, "reason": each.reason}


def _place(candidate: Candidate) -> dict[str, Any]:
    pane = candidate.pane
    return {
        "pane": pane.pane_id,
        "session": pane.session,
        "window": pane.window_name,
        "program": candidate.program,
    }
