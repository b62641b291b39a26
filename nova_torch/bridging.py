"""Bridges to programs that write to the broker themselves (`[bridges]`): read strictly, presets as data. Light.

The names of streams, channels and keys here are those of other programs. They are in none of our key space
(`nova_torch.keys`), and every one can be configured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from string import Formatter
from typing import Any

from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion

DIALECTS = ("torch", "dot", "wake", "colon")
"""How a message may be written; their fields are in the daemon's table of dialects."""
SWITCHES = (*DIALECTS, "boomerang", "registry", "monitoring")
"""What `bridges.dialects` may name."""
RECEIPTS = ("final", "all", "none")
MOST_BODY_BYTES = 1 << 20
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One stream or channel that is read, or many of them when its name has a place."""

    key: str
    """Its name; `{agent}` stands for an agent's name, `{role}` for a role (all agents that have it)."""
    dialect: str
    name: str = ""
    """How its senders are shown: `bridge:NAME:SENDER`. Left out: the dialect."""
    to: str = ""
    """`all`: every agent. Else whom the key names, else whom the message names."""
    targets: tuple[str, ...] = ("*",)
    """Patterns of the agents that it may reach."""
    replies: str = ""
    """Where answers and receipts go, `{sender}` is who wrote. Left out: as the dialect has it."""
    notify: str = ""
    """A channel that is told of each answer in a stream."""
    receipts: str = "final"
    """`final`: what became of a message; `all`: every state on the way; `none`: answers only."""
    via: str = "stream"

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name or self.dialect

    def shown(self) -> dict[str, Any]:
        """Return it for people."""
        return {key.name: getattr(self, key.name) for key in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boomerang:
    """Central task management: two streams of operations and events."""

    tasks: str = "nova:task:boomerang:tasks"
    events: str = "nova:task:boomerang:events"
    targets: tuple[str, ...] = ("*",)
    answers: bool = True
    """`get_task` and `list_tasks` about tasks of our agents are answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A registry of agents as old readers expect it."""

    key: str = "nova:registry:{agent}"
    """A hash for each agent."""
    active: str = "nova:registry:active"
    """The set of those that can be reached."""
    status: str = "nova.status.{agent}"
    """COMPACTING while an agent compacts its conversation."""
    beat_s: float = 30.0
    dead_s: float = 300.0
    """How long the hash of an agent stays whose node tells nothing more."""
    compacting_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """A stream that tells what happens on the nodes: agents, messages, bridges, schedules."""

    key: str = "nova.torch.monitoring"
    events: tuple[str, ...] = ("*",)
    """Patterns of the events that are told: `agent.*`, `message.failed`."""
    keep: int = 10_000
    """About so many entries are kept, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridges:
    """All bridges of a node; none is on by itself."""

    rules: tuple[Rule, ...] = ()
    boomerang: Boomerang | None = None
    registry: Mirror | None = None
    monitoring: Monitoring | None = None
    backlog_s: float = 300.0
    """When a stream is read for the first time, what was written within this is taken too."""
    max_body_bytes: int = 65536
    """What is larger goes to the dead letters of the bridges."""

    def __bool__(self) -> bool:
        return bool(self.rules or self.boomerang or self.registry or self.monitoring)

    def shown(self) -> dict[str, Any]:
        """Return it for people, presets written out."""
        return {
            "rules": [rule.shown() for rule in self.rules],
            "boomerang": _shown(self.boomerang),
            "registry": _shown(self.registry),
            "monitoring": _shown(self.monitoring),
            "backlog_s": self.backlog_s,
            "max_body_bytes": self.max_body_bytes,
        }


REPLIES: dict[str, tuple[str, str]] = {
    "torch": ("nova.torch.agents.direct.{sender}", ""),
    "dot": ("nova.{sender}.direct", "nova.{sender}.notify"),
    "wake": ("nova.wake.{sender}", ""),
    "colon": ("nova:agent:direct:{sender}", ""),
}
"""Where a dialect's answers go, and the channel that is told of them."""

PRESETS: dict[str, tuple[Rule, ...]] = {
    "torch": (
        Rule(dialect="torch", key="nova.torch.agents.direct.{agent}"),
        Rule(dialect="torch", key="nova.torch.agents.{role}"),
        Rule(dialect="torch", key="nova.torch.orchestrator", to="all"),
    ),
    "dot": (
        Rule(dialect="dot", key="nova.{agent}.direct"),
        Rule(dialect="dot", key="nova.broadcast.all", to="all"),
    ),
    "wake": (Rule(dialect="wake", key="nova.wake.{agent}"),),
    "colon": (
        Rule(dialect="colon", key="nova:agent:direct:{agent}"),
        Rule(dialect="colon", key="nova:agent:broadcast:all", to="all"),
    ),
}
"""What one word in `bridges.dialects` turns on: the streams of these names, and the channels of the same names."""

_OPTIONS = ("dialects", "targets", "receipts", "backlog_s", "max_body_bytes")
_PARTS = ("stream", "channel", "boomerang", "registry", "monitoring")
KEYS: dict[str, tuple[str, ...]] = {
    "bridges": _OPTIONS,
    "bridges.stream": tuple(key.name for key in fields(Rule) if key.name != "via"),
    "bridges.channel": tuple(key.name for key in fields(Rule) if key.name not in ("via", "notify")),
    "bridges.boomerang": tuple(key.name for key in fields(Boomerang)),
    "bridges.registry": tuple(key.name for key in fields(Mirror)),
    "bridges.monitoring": tuple(key.name for key in fields(Monitoring)),
}
"""Every key of every section, for the documentation."""


def read_bridges(table: Any, source: str) -> Bridges:
    """Return the bridges of a configuration. Raises ConfigInvalid naming the key and what would be right."""
    if not isinstance(table, Mapping):
        raise ConfigInvalid(f"bridges in {source} is not a section.", "Write [bridges] on a line of its own.")
    _known(table, (*_OPTIONS, *_PARTS), "[bridges]")
    targets = _texts(table.get("targets", ["*"]), "bridges.targets")
    receipts = _choice(table.get("receipts", "final"), RECEIPTS, "bridges.receipts")
    switches = _texts(table.get("dialects", []), "bridges.dialects")
    rules: list[Rule] = []
    for switch in switches:
        _choice(switch, SWITCHES, "bridges.dialects")
        for preset in PRESETS.get(switch, ()):
            stream = _completed(replace(preset, targets=targets, receipts=receipts))
            rules += [stream, _completed(replace(stream, via="channel", notify=""))]
    for via in ("stream", "channel"):
        rules += _rules(table.get(via, []), via, targets, receipts)
    _no_twins(rules)
    boomerang, registry, monitoring = (table.get(part) for part in ("boomerang", "registry", "monitoring"))
    return Bridges(
        rules=tuple(rules),
        boomerang=_boomerang(boomerang or {}, targets)
        if boomerang is not None or "boomerang" in switches
        else None,
        registry=_registry(registry or {}) if registry is not None or "registry" in switches else None,
        monitoring=_monitoring(monitoring or {})
        if monitoring is not None or "monitoring" in switches
        else None,
        backlog_s=_number(table.get("backlog_s", 300.0), 0, 30 * 86400, "bridges.backlog_s"),
        max_body_bytes=int(
            _number(table.get("max_body_bytes", 65536), 1, MOST_BODY_BYTES, "bridges.max_body_bytes")
        ),
    )


def _rules(given: Any, via: str, targets: tuple[str, ...], receipts: str) -> list[Rule]:
    if not isinstance(given, list) or not all(isinstance(rule, Mapping) for rule in given):
        raise ConfigInvalid(f"bridges.{via} is no list of bridges.", f"Write [[bridges.{via}]] above each.")
    return [_rule(rule, number, via, targets, receipts) for number, rule in enumerate(given, 1)]


def _rule(given: Mapping[str, Any], number: int, via: str, targets: tuple[str, ...], receipts: str) -> Rule:
    shown = f"[[bridges.{via}]] number {number}"
    _known(given, KEYS[f"bridges.{via}"], shown)
    for key in ("key", "dialect"):
        if key not in given:
            raise ConfigInvalid(f"{shown} has no {key}.", "It needs key and dialect.")
    name = _text(given.get("name", ""), f"name in {shown}")
    if name and not _LABEL.match(name):
        raise ConfigInvalid(
            f"name in {shown} is {name!r}.", "Use letters, digits, '_', '.', '-', 32 at most."
        )
    return _completed(
        Rule(
            key=_place(given["key"], ("agent", "role"), f"key in {shown}"),
            dialect=_choice(given["dialect"], DIALECTS, f"dialect in {shown}"),
            name=name,
            to=_choice(given.get("to", ""), ("", "all"), f"to in {shown}"),
            targets=_texts(given["targets"], f"targets in {shown}") if "targets" in given else targets,
            replies=_place(given["replies"], ("sender",), f"replies in {shown}")
            if "replies" in given
            else "",
            notify=_place(given["notify"], ("sender",), f"notify in {shown}") if "notify" in given else "",
            receipts=_choice(given.get("receipts", receipts), RECEIPTS, f"receipts in {shown}"),
            via=via,
        )
    )


def _completed(rule: Rule) -> Rule:
    """Fill in where the answers go as the dialect has it."""
    replies, notify = REPLIES[rule.dialect]
    if rule.replies:
        return rule
    return replace(rule, replies=replies, notify=rule.notify or (notify if rule.via == "stream" else ""))


def _no_twins(rules: list[Rule]) -> None:
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        if (rule.via, rule.key) in seen:
            raise ConfigInvalid(
                f"the {rule.via} {rule.key} is bridged twice.",
                "Leave one of them, or the dialect's word, out.",
            )
        seen.add((rule.via, rule.key))


def _boomerang(given: Any, targets: tuple[str, ...]) -> Boomerang:
    given = _section(given, "boomerang")
    usual = Boomerang()
    made = Boomerang(
        tasks=_place(given.get("tasks", usual.tasks), (), "bridges.boomerang.tasks"),
        events=_place(given.get("events", usual.events), (), "bridges.boomerang.events"),
        targets=_texts(given["targets"], "bridges.boomerang.targets") if "targets" in given else targets,
        answers=_truth(given.get("answers", usual.answers), "bridges.boomerang.answers"),
    )
    if made.tasks == made.events:
        raise ConfigInvalid("bridges.boomerang.tasks and events are one stream.", "Name two.")
    return made


def _registry(given: Any) -> Mirror:
    given = _section(given, "registry")
    values: dict[str, Any] = {}
    for key, value in given.items():
        shown = f"bridges.registry.{key}"
        if key in ("key", "status"):
            values[key] = _place(value, ("agent",), shown)
            if "{agent}" not in values[key]:
                raise ConfigInvalid(f"{shown} is {value!r}.", "It must have the place {agent}.")
        elif key == "active":
            values[key] = _place(value, (), shown)
        else:
            values[key] = _number(value, 1, 86400, shown)
    return Mirror(**values)


def _monitoring(given: Any) -> Monitoring:
    given = _section(given, "monitoring")
    usual = Monitoring()
    return Monitoring(
        key=_place(given.get("key", usual.key), (), "bridges.monitoring.key"),
        events=_texts(given["events"], "bridges.monitoring.events") if "events" in given else usual.events,
        keep=int(_number(given.get("keep", usual.keep), 1, 1_000_000, "bridges.monitoring.keep")),
    )


def _section(given: Any, part: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigInvalid(f"bridges.{part} is {given!r}.", f"Write [bridges.{part}] and its keys below.")
    _known(given, KEYS[f"bridges.{part}"], f"[bridges.{part}]")
    return given


def _known(given: Mapping[str, Any], known: tuple[str, ...], shown: str) -> None:
    for key in given:
        if key not in known:
            cure = suggestion(key, known, otherwise=f"Known: {', '.join(known)}.")
            raise ConfigInvalid(f"unknown key in {shown}: {key}.", cure)


def _text(value: Any, shown: str) -> str:
    if not isinstance(value, str):
        raise ConfigInvalid(f"{shown} is {value!r}.", "It must be a text.")
    return value


def _texts(value: Any, shown: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise ConfigInvalid(f"{shown} is {value!r}.", "It must be a list of texts.")
    return tuple(value)


def _choice(value: Any, known: tuple[str, ...], shown: str) -> str:
    if value in known:
        return str(value)
    named = [word for word in known if word]
    cure = suggestion(f"{value}", named, otherwise=f"One of: {', '.join(named)}.")
    raise ConfigInvalid(f"{shown} is {value!r}.", cure)


def _truth(value: Any, shown: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigInvalid(f"{shown} is {value!r}.", "It must be true or false.")
    return value


def _number(value: Any, least: float, most: float, shown: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigInvalid(f"{shown} is {value!r}.", f"It must be a number between {least:g} and {most:g}.")
    return value


def _place(value: Any, places: tuple[str, ...], shown: str) -> str:
    """Return a name in the broker with at most one of `places` in it."""
    text = _text(value, shown)
    if not text or len(text) > 256 or not text.isprintable() or any(c.isspace() or c in "*?[]" for c in text):
        raise ConfigInvalid(f"{shown} is {value!r}.", "It must be a name without spaces and wildcards.")
    try:
        found = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ConfigInvalid(f"{shown} is {value!r}: {error}.", "Braces hold a place.") from None
    allowed = " or ".join(f"{{{place}}}" for place in places) or "none"
    if len(found) > 1 or any(part[1] not in places or part[2] or part[3] for part in found) or "{{" in text:
        raise ConfigInvalid(f"{shown} is {value!r}.", f"Places that it may have, one at most: {allowed}.")
    return text


def _shown(part: Boomerang | Mirror | Monitoring | None) -> dict[str, Any] | None:
    return None if part is None else {key.name: getattr(part, key.name) for key in fields(part)}
