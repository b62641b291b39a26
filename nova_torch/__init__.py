"""Nova-Torch: messages into terminal AI agents, exactly once and proven. Exports load when used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nova_torch.communication import AsyncNovaOrchestrator, NovaOrchestrator
    from nova_torch.errors import NovaError
    from nova_torch.values import Message, Receipt, Reply, State

_EXPORTS = {
    "AsyncNovaOrchestrator": "nova_torch.communication",
    "Message": "nova_torch.values",
    "NovaError": "nova_torch.errors",
    "NovaOrchestrator": "nova_torch.communication",
    "Receipt": "nova_torch.values",
    "Reply": "nova_torch.values",
    "State": "nova_torch.values",
}

__all__ = ["AsyncNovaOrchestrator", "Message", "NovaError", "NovaOrchestrator", "Receipt", "Reply", "State"]


def __getattr__(name: str) -> object:
    """Load an export on its first use, so that `import nova_torch` costs next to nothing."""
    if name == "__version__":
        from nova_torch.version import VERSION

        return VERSION
    if name not in _EXPORTS:
        raise AttributeError(f"module 'nova_torch' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
