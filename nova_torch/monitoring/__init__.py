"""Know how a node is: `SystemMonitor` for scripts, `AsyncSystemMonitor` for programs."""

from __future__ import annotations

from nova_torch.monitoring.monitor import AsyncSystemMonitor, SystemMonitor

__all__ = ["AsyncSystemMonitor", "SystemMonitor"]
