"""Make every key of the broker. The one owner of the key space; no other module writes a key.

The braces are the literal hash tags: everything that one script touches carries one tag, so that it runs on
one shard of DragonflyDB. `{prefix}` is `nova` unless configured.

| key | type | holds |
|---|---|---|
| `{prefix}:{a:<agent>}:mbx` | stream | the agent's messages; fields `i` message id, `p` payload |
| `{prefix}:{a:<agent>}:hi` | stream | the same for urgent and high ones, read first |
| `{prefix}:{a:<agent>}:own` | string | `node|epoch`: who may read both; there while the agent is registered |
| `{prefix}:{a:<agent>}:seen` | hash | message id -> `lane entry`, for what lies in the two streams |
| `{prefix}:{a:<agent>}:dead` | stream | dead letters: `i`, `p`, lane, entry, state, reason, time in ms |
| `{prefix}:{a:<agent>}:sched` | hash | schedules for the agent: id -> what is asked for, `<id>.m` -> its mark |
| `{prefix}:{n:<node>}:bell` | zset | agent -> 0 (hi) or 1 (mbx): it has mail; `~<agent>`: its schedules changed |
| `{prefix}:{n:<node>}:in` | stream | the node's own mail: receipts and control; field `p` |
| `{prefix}:{n:<node>}:epoch` | string | the latest epoch of the node, fences its mail |
| `{prefix}:{n:<node>}:beat` | channel | the node's own sign that it still hears what is published |
| `{prefix}:{reg}:nodes` | zset | node -> when its lease ends, ms of the server's clock |
| `{prefix}:{reg}:epochs` | hash | node -> its latest epoch |
| `{prefix}:{reg}:n:<node>` | string | the node's blob: itself and its agents |
| `{prefix}:{reg}:gen` | string | a random word; a broker without it has lost its data |
| `{prefix}:{br}:dead` | stream | what bridges did not take: `source`, `entry`, `reason`, `at_ms`, `bytes`, `raw` |

An `<agent>` that is `@` and a node's name: the answers for people of that node, who have no pane.

A program that sends without a daemon is no node and has no lease. The receipts of its message come into the mail of
`lib-` and the first 16 letters of the message's id, the answer into the mailbox of `@lib-` and the whole id; each
ends by itself, after a week and a day.

No message of ours goes over a channel: the one above is only listened to by its own node. Streams, channels and
keys of other programs are in none of these names; they come from the configuration (`nova_torch.bridging`).
Source: BROKER, section 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nova_torch.errors import InvalidRequest

GROUP = "nova"
"""The one consumer group of a mailbox."""
CONSUMER = "owner"
"""The one consumer name: whoever owns a mailbox inherits what was pending by reading id 0."""
SCHEDULES = "~"
"""In a bell, in front of an agent's name: not its mailbox has something, its schedules changed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxKeys:
    """The keys of one agent. All share the hash tag `{a:<agent>}`."""

    own: str
    hi: str
    mbx: str
    seen: str
    dead: str
    sched: str

    def lane(self, lane: str) -> str:
        """Return the stream of lane `hi` or `mbx`."""
        return self.hi if lane == "hi" else self.mbx


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """The keys of one node. All share the hash tag `{n:<node>}`."""

    bell: str
    mail: str
    epoch: str
    beat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryKeys:
    """The keys of the registry, with the blob of one node. All share the hash tag `{reg}`."""

    nodes: str
    epochs: str
    blob: str


class Keys:
    """Every key below one prefix. Raises InvalidRequest for a name that cannot be part of a key."""

    def __init__(self, prefix: str = "nova") -> None:
        if not _PREFIX.match(prefix):
            raise InvalidRequest(
                f"the broker's prefix {prefix!r} is not usable.",
                "Use letters, digits, '_', '.', ':' and '-'.",
            )
        self.prefix = prefix
        self.nodes = f"{prefix}:{{reg}}:nodes"
        self.epochs = f"{prefix}:{{reg}}:epochs"
        self.generation = f"{prefix}:{{reg}}:gen"
        self.bridges_dead = f"{prefix}:{{br}}:dead"

    def mailbox(self, agent: str) -> MailboxKeys:
        """Return the keys of `agent`, or of a node's answers for people (`@node`)."""
        if agent.startswith("@"):
            _checked(agent[1:], "node")
        else:
            _checked(agent, "agent")
        stem = f"{self.prefix}:{{a:{agent}}}"
        return MailboxKeys(
            own=f"{stem}:own",
            hi=f"{stem}:hi",
            mbx=f"{stem}:mbx",
            seen=f"{stem}:seen",
            dead=f"{stem}:dead",
            sched=f"{stem}:sched",
        )

    def node(self, node: str) -> NodeKeys:
        """Return the keys of `node`."""
        stem = f"{self.prefix}:{{n:{_checked(node, 'node')}}}"
        return NodeKeys(bell=f"{stem}:bell", mail=f"{stem}:in", epoch=f"{stem}:epoch", beat=f"{stem}:beat")

    def registry(self, node: str) -> RegistryKeys:
        """Return the keys of the registry as `node` writes them."""
        blob = f"{self.prefix}:{{reg}}:n:{_checked(node, 'node')}"
        return RegistryKeys(nodes=self.nodes, epochs=self.epochs, blob=blob)

    def __repr__(self) -> str:
        return f"<Keys {self.prefix}>"


def _checked(name: str, what: str) -> str:
    if not _NAME.match(name):
        raise InvalidRequest(
            f"{name!r} is not a name of {'an agent' if what == 'agent' else 'a node'}.",
            "Use 1 to 64 of: letters, digits, '_', '.', '-'; the first is a letter or a digit.",
        )
    return name
