"""Know the agents and start them: `AgentRegistry` for scripts, `AsyncAgentRegistry` for programs. Loads lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nova_torch.orchestration.agent_registry import AgentRegistry as AgentRegistry
    from nova_torch.orchestration.agent_registry import AsyncAgentRegistry as AsyncAgentRegistry

__all__ = ["AgentRegistry", "AsyncAgentRegistry"]


def __getattr__(name: str) -> Any:
    # lazy, so that `python -m nova_torch.orchestration.agent_registry` finds its module not loaded yet
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nova_torch.orchestration import agent_registry

    return getattr(agent_registry, name)
