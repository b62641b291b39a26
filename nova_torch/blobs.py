"""Write what a node publishes of itself and its agents, and read what others publish, look after look. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgpack

from nova_torch.fleet import NodeView, Roll, roll_of
from nova_torch.nodes import NodeCard
from nova_torch.packed import pack_list, pack_map
from nova_torch.values import AgentRecord

if TYPE_CHECKING:
    from nova_torch.broker import NodeLease


def write_blob(
    node: str,
    agents: Iterable[AgentRecord],
    *,
    now_ms: int,
    bridges: Sequence[str] = (),
    card: NodeCard | None = None,
) -> bytes:
    """Return what a node publishes of itself and its agents."""
    told = pack_map(
        {
            "node": node,
            "at_ms": now_ms,
            "bridges": list(bridges),
            "about": {} if card is None else card.to_json(),
            "agents": pack_list([agent.packed for agent in agents]),
        }
    )
    return bytes(told)


def read_blob(node: str, blob: bytes, *, alive: bool, before: Sequence[AgentRecord] = ()) -> NodeView | None:
    """Return what a node published, or None when it cannot be read; unknown fields are ignored.

    `before` is what it told of its agents the last time: who has not changed is not read anew.
    """
    if not blob:
        return NodeView(node=node, alive=alive)
    try:
        data, rows = _split(blob)
        at_ms = data.get("at_ms")
        return NodeView(
            node=node,
            alive=alive,
            last_seen_ms=at_ms if isinstance(at_ms, int) else 0,
            agents=_roll(rows, before),
            bridges=frozenset(str(name) for name in data.get("bridges") or ()),
            card=NodeCard.from_json(data.get("about")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException):
        return None


def _split(blob: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return what a node published, and the rows of its agents as they are packed. Raises what msgpack raises."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(blob))
    unpacker.feed(blob)
    data: dict[str, Any] = {}
    rows: list[bytes] | None = None
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        if name != "agents":
            data[name] = unpacker.unpack()
            continue
        rows = []
        for _ in range(unpacker.read_array_header()):
            begin = unpacker.tell()
            unpacker.skip()
            rows.append(blob[begin : unpacker.tell()])
    if rows is None or unpacker.tell() != len(blob):
        raise ValueError("it lacks its agents, or has more than it says")
    return data, rows


def _roll(rows: Iterable[bytes], before: Sequence[AgentRecord]) -> Roll:
    """Return the agents of these rows; each that was so `before` is the very same."""
    known = roll_of(before).by_row
    told = {row: known.get(row) or AgentRecord.of_row(row) for row in rows}
    roll = Roll(told.values())
    roll.by_row = told
    return roll


class Reader:
    """Reads the registry, look after look: nothing is made anew of a node, or an agent, that did not change."""

    def __init__(self) -> None:
        self._read: dict[str, _Read] = {}
        self.unreadable: frozenset[str] = frozenset()
        """The nodes of the last look whose blob cannot be read: they have no agents."""

    def __repr__(self) -> str:
        return f"<Reader {len(self._read)} nodes>"

    def views(self, leases: Iterable[NodeLease]) -> list[NodeView]:
        """Return the nodes as they last told of themselves; one that is not among `leases` is forgotten."""
        before, self._read = self._read, {}
        views = [self._view(lease, before.get(lease.node)) for lease in leases]
        self.unreadable = frozenset(node for node, read in self._read.items() if not read.well)
        return views

    def take(self, lease: NodeLease) -> bool:
        """Read a node ahead of `views`, and tell whether it was read anew: thousands of agents take their time."""
        before = self._read.get(lease.node)
        read = self._read[lease.node] = self._told(lease, before)
        return read is not before

    def _told(self, lease: NodeLease, read: _Read | None) -> _Read:
        if read is not None and read.blob == lease.blob:
            return read
        before = read.view.agents if read is not None else ()
        told = read_blob(lease.node, lease.blob, alive=lease.alive, before=before)
        view = told or NodeView(node=lease.node, alive=lease.alive)
        return _Read(lease.blob, told is not None, view.last_seen_ms, view)

    def _view(self, lease: NodeLease, before: _Read | None) -> NodeView:
        read = self._read[lease.node] = self._told(lease, before)
        view, lease_ms = read.view, read.view.card.lease_ms
        seen_ms = max(read.told_ms, lease.expires_ms - lease_ms) if lease_ms else read.told_ms
        silent_ms = 0 if lease.alive else lease.silent_ms
        if (view.alive, view.last_seen_ms, view.silent_ms) != (lease.alive, seen_ms, silent_ms):
            read.view = replace(view, alive=lease.alive, last_seen_ms=seen_ms, silent_ms=silent_ms)
        return read.view


@dataclass(slots=True)
class _Read:
    """A node as it was at the last look: its blob, whether that could be read, and when it told it."""

    blob: bytes
    well: bool
    told_ms: int
    view: NodeView
    """With the time of its last beat, which its lease tells: most beats say nothing else."""
