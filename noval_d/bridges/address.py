"""Names of foreign streams and channels, whom they are for, and which node takes what. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from nova_torch.bridging import Rule
from nova_torch.ulid import new_ulid
from nova_torch.values import AGENT_ID, AgentId, MessageId

_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_ODD = re.compile(r"[^\w.@-]+")
SENDER_CHARS = 60
NOBODY = "unknown"
"""Who wrote what names no sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A live node: its agents with their roles, and what it bridges (`via:key`)."""

    name: str
    agents: Mapping[str, str] = field(default_factory=dict)
    bridges: frozenset[str] = frozenset()


def digest(rule: Rule) -> str:
    """Return how a node says that it bridges by this rule."""
    return f"{rule.via}:{rule.key}"


def taker(agent: str, bridge: str, nodes: Iterable[Station]) -> str:
    """Return the node that takes what comes by `bridge` for `agent`: its owner, else the first that bridges it.

    Empty when none bridges it.
    """
    bridging = [node for node in nodes if bridge in node.bridges]
    owners = [node.name for node in bridging if agent in node.agents]
    return min(owners) if owners else min((node.name for node in bridging), default="")


def streams_of(rule: Rule, nodes: Sequence[Station], me: str) -> dict[str, str]:
    """Return the streams that this node reads by `rule`, and whom each is for ('' where the message says it)."""
    agents = {agent: role for node in nodes for agent, role in node.agents.items()}
    if "{agent}" in rule.key:
        mine = (a for a in agents if allowed(rule.targets, a) and taker(a, digest(rule), nodes) == me)
        return {rule.key.replace("{agent}", agent): agent for agent in mine}
    if "{role}" in rule.key:
        return {rule.key.replace("{role}", role): role for role in agents.values() if AGENT_ID.match(role)}
    return {rule.key: ""}


def pattern_of(rule: Rule) -> str | None:
    """Return the pattern that a channel with a place is subscribed by; None for one without."""
    for place in ("{agent}", "{role}"):
        if place in rule.key:
            before, after = rule.key.split(place)
            return f"{_quoted(before)}*{_quoted(after)}"
    return None


def subject_of(rule: Rule, channel: str) -> str | None:
    """Return whom a channel is for ('' where the message says it); None when the rule does not mean it."""
    for place in ("{agent}", "{role}"):
        if place in rule.key:
            before, after = rule.key.split(place)
            found = re.fullmatch(f"{re.escape(before)}({_NAME}){re.escape(after)}", channel)
            return found[1] if found else None
    return "" if channel == rule.key else None


def recipients(rule: Rule, subject: str, named: str, nodes: Sequence[Station]) -> list[AgentId] | str:
    """Return the agents that something is for, or why there is none.

    `subject` is who the stream or channel is for, `named` whom the message names itself.
    """
    agents = {agent: role for node in nodes for agent, role in node.agents.items()}
    if rule.to == "all" or (not subject and named in ("all", "*")):
        found = [agent for agent in sorted(agents) if allowed(rule.targets, agent)]
        return [AgentId(agent) for agent in found] or "there is no agent that it may reach"
    if "{role}" in rule.key:
        found = sorted(a for a, role in agents.items() if role == subject and allowed(rule.targets, a))
        return [AgentId(agent) for agent in found] or f"there is no agent with the role {subject[:64]!r}"
    target = subject or named
    if not target:
        return "it names no target"
    if target not in agents:
        return f"no agent {target[:64]!r} is registered"
    if not allowed(rule.targets, target):
        return f"{target} is not among the targets of the bridge"
    return [AgentId(target)]


def allowed(patterns: Sequence[str], agent: str) -> bool:
    """Tell whether an agent is among the targets of a bridge."""
    return any(fnmatchcase(agent, pattern) for pattern in patterns)


def sender_of(label: str, foreign: str) -> str:
    """Return the sender of a bridged message. With its colons it is no agent's name, and no person's."""
    return f"bridge:{label}:{_ODD.sub('?', foreign)[:SENDER_CHARS] or NOBODY}"


def replies_to(template: str, foreign: str) -> str:
    """Return the name of a stream or channel for answers to `foreign`."""
    return template.replace("{sender}", _ODD.sub("?", foreign)[:SENDER_CHARS] or NOBODY)


def stream_message_id(stream: str, entry: str, content: bytes, agent: str) -> MessageId:
    """Return the id of the message for `agent` out of an entry: always the same, on every node."""
    ms = entry.partition("-")[0]
    return _made(
        int(ms) if ms.isdigit() else 0, b"stream", stream.encode(), entry.encode(), content, agent.encode()
    )


def own_message_id(channel: str, own: str, agent: str, now_ms: int) -> MessageId:
    """Return the id of the message for `agent` out of one that has an id of its own."""
    day_ms = now_ms - now_ms % 86_400_000
    return _made(
        day_ms, b"own", channel.encode(errors="replace"), own.encode(errors="replace"), agent.encode()
    )


def content_of(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return what tells one entry's content from another's."""
    known = hashlib.sha256()
    for word in (word for pair in pairs for word in pair):
        known.update(b"%d:" % len(word) + word)
    return known.digest()


def _made(ms: int, *parts: bytes) -> MessageId:
    known = hashlib.sha256(b"".join(b"%d:" % len(part) + part for part in parts)).digest()
    return MessageId(new_ulid(min(ms, (1 << 48) - 1), known[:10]))


def _quoted(text: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
