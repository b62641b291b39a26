"""All bridges of a node: what comes in by streams and channels, what is told back, the mirrored registry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nova_torch.bridging import Rule
from noval_d.bridges.address import Station, digest
from noval_d.bridges.boomerang import DIALECT
from noval_d.bridges.fleet import Fleet
from noval_d.bridges.intake import Intake
from noval_d.bridges.listening import Listening
from noval_d.bridges.mirror import Mirroring
from noval_d.bridges.streams import Streams
from noval_d.bridges.teller import Teller

if TYPE_CHECKING:
    from noval_d.node.node import Node


class Bridges:
    """The bridges that the configuration names; without any it does nothing."""

    def __init__(self, node: Node) -> None:
        self._node = node
        config = node.config.bridges
        rules = list(config.rules)
        if config.boomerang is not None:
            rules.append(Rule(dialect=DIALECT, key=config.boomerang.tasks, targets=config.boomerang.targets))
        self._rules = tuple(rules)
        self.names = tuple(sorted(digest(rule) for rule in rules))
        """What this node bridges, as it tells the fleet."""
        fleet = Fleet(self._local, node.clock)
        self.intake = Intake(node)
        self.mirroring = Mirroring(node, config.registry, fleet) if config.registry is not None else None
        self._streams = Streams(node, [rule for rule in rules if rule.via == "stream"], self.intake, fleet)
        self._listening = Listening(
            node, [rule for rule in rules if rule.via == "channel"], self.intake, fleet
        )
        self._teller = Teller(node, self.intake)

    def __repr__(self) -> str:
        return f"<Bridges {len(self._rules)} rules, registry {self.mirroring!r}>"

    async def run(self) -> None:
        """Bridge until cancelled."""
        for rule in self._rules:
            self.intake.tally(rule)
        async with asyncio.TaskGroup() as group:
            if self._rules:
                self._node.outbox.listen(self._teller.heard)
                group.create_task(self._teller.run(), name="bridges-teller")
                group.create_task(self._streams.run(), name="bridges-streams")
                group.create_task(self._listening.run(), name="bridges-channels")
            if self.mirroring is not None:
                group.create_task(self.mirroring.run(), name="bridges-registry")

    def rows(self) -> list[dict[str, Any]]:
        """Return what `status` shows: each bridge, and what it took and dropped."""
        rows = [tally.to_json() for tally in self.intake.tallies.values()]
        if self.mirroring is not None:
            config = self._node.config.bridges.registry
            assert config is not None
            rows.append(
                {"name": "registry", "via": "keys", "key": config.key, "problem": self.mirroring.problem}
            )
        return rows

    def _local(self) -> Station:
        agents = {str(agent.id): agent.spec.role for agent in self._node.roster.agents.values()}
        return Station(name=self._node.name, agents=agents, bridges=frozenset(self.names))
