"""Answer the calls `adopt` and `proposals`: find running agents, register them by the configuration's rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_torch.adopt import EVERY_CLAIMED
from nova_torch.errors import NovaError
from noval_d.agents.adoption import Adopt, Candidate, Leave, plan
from noval_d.agents.proposals import is_temporary, propose
from noval_d.calls.fleet import Fleet
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.tmux.front import read_directory, read_front
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

    async def proposals(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Say which panes could be agents, by which names and roles, and where their programs work."""
        node = self._node
        candidates = await self._candidates()
        decided = propose(
            candidates,
            node.config.adopt,
            node.roster.drivers,
            node=node.name,
            agents=self._held(),
            elsewhere=await self._names_elsewhere(),
        )
        directories = {read_directory(each.pane.pid) for each in candidates if not each.pane.dead}
        return {
            "node": node.name,
            "found": [
                {
                    **_found(each),
                    "temporary": is_temporary(each.candidate.pane.window_name),
                    "known": each.agent_id in node.roster.agents,
                }
                for each in decided
                if isinstance(each, Adopt)
            ],
            "left": [_left(each) for each in decided if isinstance(each, Leave)],
            "directories": sorted(directories - {""}),
        }

    async def _plan(self) -> list[Adopt | Leave]:
        node = self._node
        return plan(
            await self._candidates(),
            node.config.adopt or (EVERY_CLAIMED,),
            node.roster.drivers,
            node=node.name,
            agents=self._held(),
            elsewhere=await self._names_elsewhere(),
        )

    async def _candidates(self) -> list[Candidate]:
        panes = await list_panes(self._node.tmux.client)
        fronts = {pane.pane_id: read_front(pane.pid) for pane in panes if not pane.dead}
        return [
            Candidate(pane=pane, argv=front.argv if (front := fronts.get(pane.pane_id)) else ())
            for pane in panes
        ]

    def _held(self) -> dict[str, str]:
        agents = self._node.roster.agents.values()
        return {agent.id: agent.facts.pane_id if agent.facts else "" for agent in agents}


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
