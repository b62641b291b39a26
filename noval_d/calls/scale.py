"""Answer the call about scaling: who leads, what is there, what would be decided now and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_torch.errors import NotFound
from nova_torch.nearest import suggestion
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Peer

LAST = 20


class Scale(Base):
    """One method a call."""

    async def scale_status(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return how scaling stands; with `role` of that one alone."""
        node, wanted = self._node, Args(args).optional_text("role")
        scaling = node.config.scaling
        if wanted is not None and wanted not in scaling.rules:
            known = ", ".join(scaling.rules) or "none"
            cure = suggestion(
                wanted, scaling.rules, otherwise=f"Scaled are: {known}. Write [scaling.{wanted}]."
            )
            raise NotFound(f"the role {wanted!r} is not scaled by the configuration of this node.", cure)
        decisions, waiting, views = await node.scaler.standing() if scaling.rules else ([], {}, [])
        lead = node.scaler.lead
        history = sorted(node.scaler.history.values(), key=lambda action: (action.at_ms, action.id))
        return {
            "enabled": bool(scaling.rules),
            "dry_run": scaling.dry_run,
            "hard_cap": scaling.hard_cap,
            "agents": sum(len(view.agents) for view in views),
            "leader": lead.node if lead is not None else "",
            "epoch": lead.epoch if lead is not None else 0,
            "differs": lead is not None and lead.digest != scaling.digest,
            "roles": [
                {
                    "role": each.role,
                    **each.used,
                    "oldest_s": round(waiting[each.role].oldest_s, 1),
                    "min": scaling.rules[each.role].min,
                    "max": scaling.rules[each.role].max,
                    "budget": scaling.rules[each.role].budget_per_day,
                    "decision": each.way,
                    "why": each.why,
                }
                for each in decisions
                if wanted in (None, each.role)
            ],
            "actions": [action.to_json() for action in history if wanted in (None, action.role)][-LAST:],
        }
