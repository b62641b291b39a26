"""A new configuration for a running node: what may change, and what has to hear of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nova_torch.config import Config, changes
from nova_torch.errors import ConfigInvalid

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.node")

FIXED = ("node", "state", "control", "audit", "tmux", "broker", "bridges")
"""Sections that hold as they were at the start."""


def reload(node: Node, config: Config) -> list[str]:
    """Take over a new, valid configuration; return what changed and holds from now on.

    Raises ConfigInvalid when something changed that only a restart can change; nothing is taken over then.
    """
    for section in FIXED:
        if getattr(config, section) != getattr(node.config, section):
            raise ConfigInvalid(f"[{section}] cannot change while the daemon runs.", "Restart it.")
    changed = changes(node.config, config)
    if config.delivery.drivers_dir != node.config.delivery.drivers_dir:
        raise ConfigInvalid("delivery.drivers_dir cannot change while the daemon runs.", "Restart it.")
    node.guard.reload(config)
    node.config = config
    node.scaler.wake()
    for worker in node.roster.workers.values():
        worker.max_attempts = config.delivery.max_attempts
        worker.agent.wake.set()  # what a limit kept back may go on
    log.info("node.reloaded", extra={"changed": ",".join(changed)})
    return changed
