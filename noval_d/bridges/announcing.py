"""Write what happens on this node to the stream of events of old readers (`nova.torch.monitoring`).

Each event at most once: when more wait for the broker than a reader may lag behind, they are lost, and an entry
says so. Bodies and what panes show are never in it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from nova_torch.bridging import Monitoring
from nova_torch.errors import BrokerUnavailable, ForeignRefused, Lagged
from noval_d.bridges.decode import MARK
from noval_d.node.news import public

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

LOST = "monitoring.lost"
URGENT = ("message.failed", "message.dead", "message.expired", "message.unconfirmed", "agent.attention", LOST)


class Announcing:
    """The events of one node on their way out."""

    def __init__(self, node: Node, config: Monitoring) -> None:
        self._node = node
        self._config = config
        self.told = 0
        self.dropped = 0
        self.dropped_ms = 0
        self.reason = ""
        self.problem = ""

    def __repr__(self) -> str:
        return f"<Announcing {self._config.key} told={self.told}>"

    def row(self) -> dict[str, Any]:
        """Return what `status` shows."""
        return {
            "name": "monitoring",
            "via": "stream",
            "key": self._config.key,
            "told": self.told,
            "dropped": self.dropped,
            "dropped_ms": self.dropped_ms,
            "reason": self.reason,
            "problem": self.problem,
        }

    async def run(self) -> None:
        """Tell until the node stops."""
        while not self._node.stopping.is_set():
            with self._node.events.subscribe(self._wants) as events:
                try:
                    async for event in events:
                        await self._tell(event)
                except Lagged:
                    reason = "events were lost: the broker was away, or slower than they came"
                    self._dropped(reason)
                    await self._tell(
                        {
                            "event": LOST,
                            "at_ms": self._node.clock_ms(),
                            "node": self._node.name,
                            "reason": reason,
                        }
                    )

    async def _tell(self, event: Mapping[str, Any]) -> None:
        broker = await self._node.broker.wait_up()
        self.told += 1
        mark = f"{self._node.name}.{self._node.started_ms}.{self.told}"
        try:
            await broker.append_event(self._config.key, fields_of(event, mark), keep=self._config.keep)
        except BrokerUnavailable as error:  # it may have been written: at most once
            self._node.broker.failed(error)
            self._dropped(error.message)
        except ForeignRefused as error:
            if error.message != self.problem:
                log.warning("bridge.unwritable", extra={"stream": self._config.key, "problem": error.message})
            self.problem = error.message
            self._dropped(error.message)
        else:
            self.problem = ""

    def _dropped(self, reason: str) -> None:
        self.dropped += 1
        self.dropped_ms, self.reason = self._node.clock_ms(), reason

    def _wants(self, event: Mapping[str, Any]) -> bool:
        return any(fnmatchcase(event["event"], pattern) for pattern in self._config.events)


def fields_of(event: Mapping[str, Any], mark: str) -> dict[str, str]:
    """Return the fields of an event in the dialect `torch`: the agent, else the node, is its sender."""
    name = str(event["event"])
    return {
        "id": mark,
        "timestamp": f"{event['at_ms'] / 1000:.3f}",
        "sender": str(event.get("agent") or event.get("node") or ""),
        "target": "",
        "type": name,
        "payload": json.dumps(public(event), ensure_ascii=False, default=str),
        "correlation_id": str(event.get("id") or ""),
        "priority": "high" if name in URGENT else "normal",
        MARK: mark,
    }
