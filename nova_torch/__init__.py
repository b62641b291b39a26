"""Nova-Torch: messages into terminal AI agents, exactly once and proven. Exports load when used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nova_torch.communication import AsyncNovaOrchestrator, NovaOrchestrator
    from nova_torch.errors import NovaError
    from nova_torch.events import Event
    from nova_torch.fleet import Presence
    from nova_torch.history import MessageRecord
    from nova_torch.monitoring import AsyncSystemMonitor, SystemMonitor
    from nova_torch.monitoring.health import HealthCheck, SystemHealth
    from nova_torch.orchestration import AgentRegistry, AsyncAgentRegistry, AsyncTaskQueue, TaskQueue
    from nova_torch.tasks import TaskDetail, TaskRecord, TaskState
    from nova_torch.values import AgentRecord, AgentState, Message, Priority, Receipt, Reply, State

_EXPORTS = {
    "AgentRecord": "nova_torch.values",
    "AgentRegistry": "nova_torch.orchestration",
    "AgentState": "nova_torch.values",
    "AsyncAgentRegistry": "nova_torch.orchestration",
    "AsyncNovaOrchestrator": "nova_torch.communication",
    "AsyncTaskQueue": "nova_torch.orchestration",
    "AsyncSystemMonitor": "nova_torch.monitoring",
    "Event": "nova_torch.events",
    "HealthCheck": "nova_torch.monitoring.health",
    "Message": "nova_torch.values",
    "MessageRecord": "nova_torch.history",
    "NovaError": "nova_torch.errors",
    "NovaOrchestrator": "nova_torch.communication",
    "Presence": "nova_torch.fleet",
    "Priority": "nova_torch.values",
    "Receipt": "nova_torch.values",
    "Reply": "nova_torch.values",
    "State": "nova_torch.values",
    "SystemHealth": "nova_torch.monitoring.health",
    "SystemMonitor": "nova_torch.monitoring",
    "TaskDetail": "nova_torch.tasks",
    "TaskQueue": "nova_torch.orchestration",
    "TaskRecord": "nova_torch.tasks",
    "TaskState": "nova_torch.tasks",
}

__all__ = [
    "AgentRecord",
    "AgentRegistry",
    "AgentState",
    "AsyncAgentRegistry",
    "AsyncNovaOrchestrator",
    "AsyncSystemMonitor",
    "AsyncTaskQueue",
    "Event",
    "HealthCheck",
    "Message",
    "MessageRecord",
    "NovaError",
    "NovaOrchestrator",
    "Presence",
    "Priority",
    "Receipt",
    "Reply",
    "State",
    "SystemHealth",
    "SystemMonitor",
    "TaskDetail",
    "TaskQueue",
    "TaskRecord",
    "TaskState",
]


def __getattr__(name: str) -> object:
    """Load an export on its first use, so that `import nova_torch` costs next to nothing."""
    if name == "__version__":
        from nova_torch.version import VERSION

        return VERSION
    if name not in _EXPORTS:
        raise AttributeError(f"module 'nova_torch' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """Return the exports too, for who looks around (`dir`, completion)."""
    return sorted({*globals(), *__all__, "__version__"})
