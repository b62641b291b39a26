"""Decide whether an agent needs a person, and say what for. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from nova_torch.values import AgentId, AgentState
from noval_d.agents.states import Standing

_AWAY = (AgentState.EXITED, AgentState.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Why somebody should look at an agent: `dialog`, `limit`, `draft` or `exited`.

    `shown` is what the pane shows of it: only for those who may write.
    """

    reason: str
    detail: str
    shown: str = ""


def attention(standing: Standing, waiting: int) -> Attention | None:
    """Return what an agent in this state needs a person for; `waiting` are the messages in hand for it."""
    if standing.state in (AgentState.DIALOG, AgentState.DRAFT):
        return Attention(reason=standing.state.value, detail=standing.detail, shown=standing.shown)
    if standing.limit:
        return Attention(reason="limit", detail="its usage limit is reached", shown=standing.limit)
    if standing.state in _AWAY and waiting:
        return Attention(reason="exited", detail=f"{standing.detail}, and messages wait for it")
    return None


def opening(agent: AgentId) -> str:
    """Return the command that opens an agent's pane, for people."""
    return f"novactl attach {agent}"
