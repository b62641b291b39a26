"""What a node runs side by side: a part has a name and one coroutine, which goes on until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a running node. A part that raises ends the node, so it meets its troubles itself."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]

    def start(self, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Run it as a task of `group`."""
        return group.create_task(self.run(), name=self.name)
