"""All bridges of a node: what comes in by streams and channels, what is told back, the registry, the events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nova_torch.bridging import Rule
from nova_torch.errors import BrokerUnavailable
from nova_torch.values import Message
from noval_d.bridges.address import Station, digest
from noval_d.bridges.announcing import Announcing
from noval_d.bridges.boomerang import DIALECT
from noval_d.bridges.fleet import Fleet
from noval_d.bridges.intake import Intake
from noval_d.bridges.listening import Listening
from noval_d.bridges.mirror import Mirroring
from noval_d.bridges.standing import overtaken
from noval_d.bridges.streams import Streams
from noval_d.bridges.teller import Teller
from noval_d.node.part import Part

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
        self._announcing = Announcing(node, config.monitoring) if config.monitoring is not None else None
        self._streams = Streams(node, [rule for rule in rules if rule.via == "stream"], self.intake, fleet)
        self._listening = Listening(
            node, [rule for rule in rules if rule.via == "channel"], self.intake, fleet
        )
        self._teller = Teller(node, self.intake)

    def __repr__(self) -> str:
        return f"<Bridges {len(self._rules)} rules, registry {self.mirroring!r}>"

    def parts(self) -> tuple[Part, ...]:
        """Return what runs for them as long as the node does."""
        parts: list[Part] = []
        if self._rules:
            for rule in self._rules:
                self.intake.tally(rule)
            self._node.outbox.listen(self._teller.heard)
            parts += (
                Part("bridges-teller", self._teller.run),
                Part("bridges-streams", self._streams.run),
                Part("bridges-channels", self._listening.run),
            )
        if self.mirroring is not None:
            parts.append(Part("bridges-registry", self.mirroring.run))
        if self._announcing is not None:
            parts.append(Part("bridges-monitoring", self._announcing.run))
        return tuple(parts)

    def rows(self) -> list[dict[str, Any]]:
        """Return what `status` shows: each bridge, and what it took and dropped."""
        rows = [tally.to_json() for tally in self.intake.tallies.values()]
        if self.mirroring is not None:
            config = self._node.config.bridges.registry
            assert config is not None
            rows.append(
                {"name": "registry", "via": "keys", "key": config.key, "problem": self.mirroring.problem}
            )
        if self._announcing is not None:
            rows.append(self._announcing.row())
        return rows

    async def overtaken(self, message: Message) -> str:
        """Return why a message that was not typed yet is not to be typed any more; '' for one that is."""
        return await overtaken(message, self._moves)

    async def _moves(self, task: str) -> Mapping[str, str] | None:
        broker = self._node.broker.broker
        if broker is None:
            return None
        try:
            return await broker.task_moves(task)
        except BrokerUnavailable as error:
            self._node.broker.failed(error)
            return None

    def _local(self) -> Station:
        taken = self._node.broker.taken  # by a node where it was started anew: that one reads for it
        agents = {
            str(agent.id): agent.spec.role
            for agent in self._node.roster.agents.values()
            if not taken(agent.id)
        }
        return Station(name=self._node.name, agents=agents, bridges=frozenset(self.names))
