"""Agents and tasks: `AgentRegistry`, `TaskQueue` for scripts, `Async…` for programs. Loads lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nova_torch.orchestration.agent_registry import AgentRegistry as AgentRegistry
    from nova_torch.orchestration.agent_registry import AsyncAgentRegistry as AsyncAgentRegistry
    from nova_torch.orchestration.task_queue import AsyncTaskQueue as AsyncTaskQueue
    from nova_torch.orchestration.task_queue_sync import TaskQueue as TaskQueue

_MODULES = {
    "AgentRegistry": "agent_registry",
    "AsyncAgentRegistry": "agent_registry",
    "AsyncTaskQueue": "task_queue",
    "TaskQueue": "task_queue_sync",
}

__all__ = ["AgentRegistry", "AsyncAgentRegistry", "AsyncTaskQueue", "TaskQueue"]


def __getattr__(name: str) -> Any:
    # lazy, so that `python -m nova_torch.orchestration.agent_registry` finds its module not loaded yet
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
