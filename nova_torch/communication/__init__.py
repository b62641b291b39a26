"""Send messages to agents: `NovaOrchestrator` for scripts, `AsyncNovaOrchestrator` for programs and the daemon."""

from __future__ import annotations

from nova_torch.communication.compose import compose
from nova_torch.communication.orchestrator import AsyncNovaOrchestrator
from nova_torch.communication.postbox import Postbox, is_over, satisfies
from nova_torch.communication.sync import NovaOrchestrator

__all__ = ["AsyncNovaOrchestrator", "NovaOrchestrator", "Postbox", "compose", "is_over", "satisfies"]
