"""Make every key of the broker. The one owner of the key space; no other module writes a key.

The braces are the literal hash tags: everything that one script touches carries one tag, so that it runs on
one shard of DragonflyDB. `{prefix}` is `nova` unless configured.

| key | type | holds |
|---|---|---|
| `{prefix}:{a:<agent>}:mbx` | stream | the agent's messages; fields `i` message id, `p` payload |
| `{prefix}:{a:<agent>}:hi` | stream | the same for urgent and high ones, read first |
| `{prefix}:{a:<agent>}:own` | string | `node|epoch`: who may read both; there while the agent is registered |
| `{prefix}:{a:<agent>}:seen` | hash | message id -> `lane entry`; `>` and it -> the node that may have typed it |
| `{prefix}:{a:<agent>}:dead` | stream | dead letters: `i`, `p`, lane, entry, state, reason, time in ms |
| `{prefix}:{a:<agent>}:sched` | hash | schedules for the agent: id -> what is asked for, `<id>.m` -> its mark |
| `{prefix}:{n:<node>}:bell` | zset | agent -> 0 (hi) or 1 (mbx): mail; `~<agent>`: schedules; `!` order, `?` ask |
| `{prefix}:{n:<node>}:in` | stream | the node's own mail: receipts and control; field `p` |
| `{prefix}:{n:<node>}:asks` | hash | what others ask of it (to start an agent, its history), by id |
| `{prefix}:{n:<node>}:said` | hash | what it answers, by id |
| `{prefix}:{n:<node>}:epoch` | string | the latest epoch of the node, fences its mail |
| `{prefix}:{n:<node>}:beat` | channel | the node's own sign that it still hears what is published |
| `{prefix}:{sc}:lead` | string | `node|epoch|configuration`: who decides about scaling, as long as it renews that |
| `{prefix}:{sc}:epoch` | string | the latest epoch of that |
| `{prefix}:{sc}:acts` | hash | what scaling did within a day, and the starts of agents that are there, by id |
| `{prefix}:{reg}:nodes` | zset | node -> when its lease ends, ms of the server's clock |
| `{prefix}:{reg}:strict` | zset | node that takes only what is signed -> when its lease ends, ms |
| `{prefix}:{reg}:epochs` | hash | node -> its latest epoch, `@<node>` -> the daemon that has it |
| `{prefix}:{reg}:n:<node>` | string | the node's blob: itself and its agents |
| `{prefix}:{reg}:orders` | hash | node -> what it is ordered to do (to drain, to resume) and has not done yet |
| `{prefix}:{reg}:drains` | string | a number that grows with each order to drain |
| `{prefix}:{reg}:log` | stream | `n`: the node whose blob changed, for who watches the fleet; the last 1000 |
| `{prefix}:{reg}:gen` | string | a random word; a broker without it has lost its data |
| `{prefix}:{s<n>}:gen` | string | the same for one shard of several; `<n>` so that it is there |
| `{prefix}:{tk}:all` | hash | tasks: id -> the record, `<id>.r` -> its rank, of which the greater is the later |
| `{prefix}:{tk}:open` | zset | the tasks that are not over |
| `{prefix}:{tk}:over` | zset | those that are -> when they ended, ms |
| `{prefix}:{tk}:log` | stream | each move: `t` task, `r` rank, `w` what, `a` agent, `n` node; the last 10,000 |
| `{prefix}:{tk}:graph` | string | a number that grows with each change of what tasks depend on |
| `{prefix}:{tk}:tally` | hash | `<agent>.done`, `.failed`, `.ms`: how its tasks ended, and how long they took |
| `{prefix}:{br}:dead` | stream | what bridges did not take: `source`, `entry`, `reason`, `at_ms`, `bytes`, `raw` |
| `{prefix}:{br}:task:<task>` | hash | a foreign task that moved: entry that said so -> message that counts since |

An `<agent>` that is `@` and a node's name: the answers for people of that node, who have no pane.

A program that sends without a daemon is no node and has no lease. The receipts of its message come into the mail of
`lib-` and the first 16 letters of the message's id, the answer into the mailbox of `@lib-` and the whole id; each
ends by itself, after a week and a day. What it asks of nodes is answered to the bell of another `lib-`, and events
that it watches come into the mail of one; it deletes both, else they end after a week and after ten minutes.

No message of ours goes over a channel: the one above is only listened to by its own node. Streams, channels and
keys of other programs are in none of these names; they come from the configuration (`nova_torch.bridging`).
Source: BROKER, section 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from nova_torch.errors import InvalidRequest

GROUP = "nova"
"""The one consumer group of a mailbox."""
CONSUMER = "owner"
"""The one consumer name: whoever owns a mailbox inherits what was pending by reading id 0."""
SCHEDULES = "~"
"""In a bell, in front of an agent's name: not its mailbox has something, its schedules changed."""

ORDERS = "!"
"""In a bell: an order waits for the node."""
ASKS = "?"
"""In a bell: another node asks for something, or has answered."""

_TYPES = {
    "mbx": "stream",
    "hi": "stream",
    "own": "string",
    "seen": "hash",
    "dead": "stream",
    "sched": "hash",
    "bell": "zset",
    "in": "stream",
    "epoch": "string",
    "nodes": "zset",
    "strict": "zset",
    "epochs": "hash",
    "orders": "hash",
    "drains": "string",
    "gen": "string",
    "all": "hash",
    "open": "zset",
    "over": "zset",
    "graph": "string",
    "tally": "hash",
    "asks": "hash",
    "said": "hash",
    "lead": "string",
    "acts": "hash",
}
"""The types of the table above, by the last word; `log` is a stream everywhere."""

KEPT = 4096
"""The keys of so many agents, and of so many nodes, are not made again: a message asks for its keys nine times."""

T = TypeVar("T")

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
    asks: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryKeys:
    """The keys of the registry, with the blob of one node. All share the hash tag `{reg}`."""

    nodes: str
    strict: str
    epochs: str
    blob: str
    orders: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKeys:
    """The keys of the tasks. All share the hash tag `{tk}`."""

    all: str
    open: str
    over: str
    log: str
    graph: str
    tally: str


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
        self.strict = f"{prefix}:{{reg}}:strict"
        self.epochs = f"{prefix}:{{reg}}:epochs"
        self.orders = f"{prefix}:{{reg}}:orders"
        self.drains = f"{prefix}:{{reg}}:drains"
        self.log = f"{prefix}:{{reg}}:log"
        self.generation = f"{prefix}:{{reg}}:gen"
        self.tasks = TaskKeys(
            all=f"{prefix}:{{tk}}:all",
            open=f"{prefix}:{{tk}}:open",
            over=f"{prefix}:{{tk}}:over",
            log=f"{prefix}:{{tk}}:log",
            graph=f"{prefix}:{{tk}}:graph",
            tally=f"{prefix}:{{tk}}:tally",
        )
        self.scale_lead = f"{prefix}:{{sc}}:lead"
        self.scale_epoch = f"{prefix}:{{sc}}:epoch"
        self.scale_acts = f"{prefix}:{{sc}}:acts"
        self.bridges_dead = f"{prefix}:{{br}}:dead"
        self._mailboxes: dict[str, MailboxKeys] = {}
        self._nodes: dict[str, NodeKeys] = {}

    def bridged_task(self, task: str) -> str:
        """Return the key of the moves of a task of central task management; its id is a foreign word."""
        return f"{self.prefix}:{{br}}:task:{task}"

    def generation_of(self, tag: str) -> str:
        """Return the key of the random word of the shard that has this hash tag."""
        return f"{self.prefix}:{{{tag}}}:gen"

    def mailbox(self, agent: str) -> MailboxKeys:
        """Return the keys of `agent`, or of a node's answers for people (`@node`)."""
        if (known := self._mailboxes.get(agent)) is not None:
            return known
        if agent.startswith("@"):
            _checked(agent[1:], "node")
        else:
            _checked(agent, "agent")
        stem = f"{self.prefix}:{{a:{agent}}}"
        made = MailboxKeys(
            own=f"{stem}:own",
            hi=f"{stem}:hi",
            mbx=f"{stem}:mbx",
            seen=f"{stem}:seen",
            dead=f"{stem}:dead",
            sched=f"{stem}:sched",
        )
        _keep(self._mailboxes, agent, made)
        return made

    def node(self, node: str) -> NodeKeys:
        """Return the keys of `node`."""
        if (known := self._nodes.get(node)) is not None:
            return known
        stem = f"{self.prefix}:{{n:{_checked(node, 'node')}}}"
        made = NodeKeys(
            bell=f"{stem}:bell",
            mail=f"{stem}:in",
            epoch=f"{stem}:epoch",
            beat=f"{stem}:beat",
            asks=f"{stem}:asks",
            said=f"{stem}:said",
        )
        _keep(self._nodes, node, made)
        return made

    def typed(self, node: str, agents: Iterable[str]) -> dict[str, str]:
        """Return the keys that `node` needs, for itself and these agents, each with the type that it must have."""
        mine, tasks = self.node(node), self.tasks
        keys = [
            self.nodes,
            self.strict,
            self.epochs,
            self.orders,
            self.drains,
            self.log,
            self.generation,
            mine.bell,
            mine.mail,
            mine.epoch,
            mine.asks,
            mine.said,
            self.scale_lead,
            self.scale_epoch,
            self.scale_acts,
            self.bridges_dead,
        ]
        keys += [tasks.all, tasks.open, tasks.over, tasks.log, tasks.graph, tasks.tally]
        for agent in agents:
            box = self.mailbox(agent)
            keys += [box.own, box.hi, box.mbx, box.seen, box.dead, box.sched]
        return {key: _TYPES.get(key.rpartition(":")[2], "stream") for key in keys}

    def registry(self, node: str) -> RegistryKeys:
        """Return the keys of the registry as `node` writes them."""
        blob = f"{self.prefix}:{{reg}}:n:{_checked(node, 'node')}"
        return RegistryKeys(
            nodes=self.nodes,
            strict=self.strict,
            epochs=self.epochs,
            blob=blob,
            orders=self.orders,
            log=self.log,
        )

    def __repr__(self) -> str:
        return f"<Keys {self.prefix}>"


def is_name(name: str) -> bool:
    """Tell whether `name` can be that of a node or an agent."""
    return _NAME.match(name) is not None


def _keep(known: dict[str, T], name: str, made: T) -> None:
    if len(known) >= KEPT:
        known.clear()
    known[name] = made


def _checked(name: str, what: str) -> str:
    if not is_name(name):
        raise InvalidRequest(
            f"{name!r} is not a name of {'an agent' if what == 'agent' else 'a node'}.",
            "Use 1 to 64 of: letters, digits, '_', '.', '-'; the first is a letter or a digit.",
        )
    return name
