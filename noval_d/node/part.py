"""What a node runs side by side: a part has a name and one coroutine, which goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from nova_torch.errors import NovaError
from noval_d.node.watchdog import Watchdog

log = logging.getLogger("nova.node")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a running node. A part that raises ends the node, so it meets its troubles itself.

    Where it waits for work it says so (`pulse.idle`, `pulse.rest`); every other wait of it has a limit.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]

    def start(self, group: asyncio.TaskGroup, watchdog: Watchdog | None = None) -> asyncio.Task[None]:
        """Run it as a task of `group`; `watchdog` then expects it to move."""
        run = self.run() if watchdog is None else watchdog.watched(self.name, self.run())
        return started(group, self.name, run)


def started(group: asyncio.TaskGroup, name: str, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a part as a task of `group`; what it raises ends the node, and the log says by then whose it was."""
    task = group.create_task(run, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(part: asyncio.Task[None]) -> None:
    error = None if part.cancelled() else part.exception()
    if isinstance(error, Exception):
        trace = None if isinstance(error, NovaError) else error  # what explains itself needs none
        log.error("node.part_failed", extra={"part": part.get_name(), "problem": repr(error)}, exc_info=trace)
