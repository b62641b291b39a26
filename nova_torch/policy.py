"""Decide who may do what: the rules of a policy file over what holds anyway. Pure, but for `read_policy`.

The first rule that fits decides; without one, what holds without a policy: agents answer dialogs only when
`delivery.may_answer` names them, everything else is allowed to whoever could ask for it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion
from nova_torch.values import Kind

ACTIONS = ("send", "speak", "spawn", "stop", "adopt", "answer", "operate", "task")
KINDS = tuple(kind.value for kind in Kind)
CLASSES = ("user", "agent", "bridge", "role", "node")
"""What may stand before the colon of a pattern."""
MOST_BYTES = 1 << 20
KEYS = ("allow", "deny", "from", "to", "kind", "command", "reason")
_EFFECTS = ("allow", "deny")


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody: a sender (`user:ann`, `bridge:ops:x`, an agent's name) or an agent, with role and node if known."""

    name: str
    role: str = ""
    node: str = ""

    @property
    def kind(self) -> str:
        """`user`, `bridge` or `agent`; empty for nobody."""
        head, colon, _ = self.name.partition(":")
        if not colon:
            return "agent" if head else ""
        return head if head in ("user", "bridge") else ""


def party_of_node(node: str) -> Party:
    """Return a node itself, which a pattern `node:P` means."""
    return Party(name=f"node:{node}", node=node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants to do: send, speak (in another name), spawn, stop, adopt, answer (a dialog).

    And operate (hold an agent's messages, drain or forget a node, end the daemon), task (move a task).
    """

    action: str
    by: Party
    to: Party
    kind: str = ""
    command: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. An empty tuple of patterns or kinds is any; `command` None is either."""

    allow: bool
    actions: tuple[str, ...]
    by: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    command: bool | None = None
    reason: str = ""
    number: int = 0
    """Its place in the file, from 1."""

    def fits(self, request: Request) -> bool:
        """Tell whether the rule is about this."""
        return (
            request.action in self.actions
            and (not self.by or any(matches(each, request.by) for each in self.by))
            and (not self.to or any(matches(each, request.to) for each in self.to))
            and (not self.kinds or request.kind in self.kinds)
            and (self.command is None or self.command is request.command)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The decision, and which rule made it: its number, or 0 for what holds without one."""

    allow: bool
    rule: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules, in their order, and the agents that may answer dialogs without one."""

    rules: tuple[Rule, ...] = ()
    may_answer: frozenset[str] = frozenset()

    def about(self, action: str) -> bool:
        """Tell whether any rule is about an action: without one nobody need find out who asks."""
        return any(action in rule.actions for rule in self.rules)

    def decide(self, request: Request) -> Ruling:
        """Return who wins: the first rule that fits, else what holds without rules."""
        for rule in self.rules:
            if rule.fits(request):
                word = "allows" if rule.allow else "denies"
                why = f"rule {rule.number} of the policy {word} it" + (
                    f": {rule.reason}" if rule.reason else ""
                )
                return Ruling(allow=rule.allow, rule=rule.number, why=why)
        if (
            request.action == "answer"
            and request.by.kind == "agent"
            and request.by.name not in self.may_answer
        ):
            return Ruling(
                allow=False, rule=0, why="agents answer dialogs only when delivery.may_answer names them"
            )
        return Ruling(allow=True, rule=0, why="no rule is about it")


def matches(pattern: str, party: Party) -> bool:
    """Tell whether a pattern means somebody.

    `user:P`, `agent:P` and `bridge:P` by what they are and are called, `role:P` and `node:P` by role and node, P
    alone by the whole name; in P `*`, `?` and `[abc]` are as in file names.
    """
    head, colon, rest = pattern.partition(":")
    match head if colon else "":
        case "agent":
            return party.kind == "agent" and fnmatchcase(party.name, rest)
        case "role":
            return bool(party.role) and fnmatchcase(party.role, rest)
        case "node":
            return bool(party.node) and fnmatchcase(party.node, rest)
        case _:
            return fnmatchcase(party.name, pattern)


def read_policy(path: str, may_answer: Sequence[str] = ()) -> Policy:
    """Read a policy file; an empty path is no rules. Raises ConfigInvalid: which rule, and what would be right."""
    if not path:
        return Policy(may_answer=frozenset(may_answer))
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(MOST_BYTES + 1)
        data = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise ConfigInvalid(
            f"the policy {path} cannot be read: {error.strerror}.", "Correct policy.file."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"the policy {path} is no TOML: {error}.", _CHECK.format(path)) from None
    if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigInvalid(
            f"the policy {path} can be written by others.", f"Close it: chown and chmod go-w {path}"
        )
    if len(raw) > MOST_BYTES:
        raise ConfigInvalid(f"the policy {path} is larger than 1 MiB.", "Use patterns.")
    return Policy(rules=rules_of(data, path), may_answer=frozenset(may_answer))


_CHECK = "Check it with: novactl policy check --file {}"


def rules_of(data: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    """Return the rules of a file's tables. Raises ConfigInvalid."""
    for name in data:
        if name != "rule":
            raise ConfigInvalid(
                f"{where} has an unknown table: {name}.", _near(name, ("rule",), "Rules are [[rule]].")
            )
    tables = data.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigInvalid(f"rule in {where} is no list of rules.", "Write [[rule]] over each.")
    return tuple(
        _rule(table, number, f"rule {number} of {where}") for number, table in enumerate(tables, start=1)
    )


def _rule(table: Mapping[str, Any], number: int, where: str) -> Rule:
    for name in table:
        if name not in KEYS:
            raise ConfigInvalid(f"{where} has an unknown key: {name}.", _near(name, KEYS))
    effects = [name for name in _EFFECTS if name in table]
    if len(effects) != 1:
        raise ConfigInvalid(
            f"{where} says {'both allow and deny' if effects else 'neither allow nor deny'}.",
            'Write allow = ["send"] or deny = ["send"].',
        )
    command = table.get("command")
    if command is not None and not isinstance(command, bool):
        raise ConfigInvalid(f"command in {where} is {command!r}.", "It is true or false.")
    reason = table.get("reason", "")
    if not isinstance(reason, str):
        raise ConfigInvalid(f"reason in {where} is no text.", 'Write reason = "...".')
    actions = _words(table, effects[0], where, ACTIONS)
    kinds = _words(table, "kind", where, KINDS)
    if actions != ("send",) and (kinds or command is not None):
        raise ConfigInvalid(f"kind and command in {where} go with send alone.", "Make it two rules.")
    return Rule(
        allow=effects[0] == "allow",
        actions=actions,
        by=_patterns(table, "from", where),
        to=_patterns(table, "to", where),
        kinds=kinds,
        command=command,
        reason=reason,
        number=number,
    )


def _words(table: Mapping[str, Any], key: str, where: str, known: Sequence[str]) -> tuple[str, ...]:
    words = _texts(table, key, where)
    for word in words:
        if word not in known:
            raise ConfigInvalid(f"{key} in {where} has {word!r}.", _near(word, known))
    return words


def _patterns(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    patterns = _texts(table, key, where)
    for pattern in patterns:
        head, colon, _ = pattern.partition(":")
        if colon and head not in CLASSES:
            raise ConfigInvalid(f"{key} in {where} has {pattern!r}.", _near(head, CLASSES, _HOW))
    return patterns


_HOW = "A pattern is NAME, or begins with user:, agent:, bridge:, role: or node:."


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    if key not in table:
        return ()
    value = [table[key]] if isinstance(table[key], str) else table[key]
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise ConfigInvalid(
            f"{key} in {where} is {table[key]!r}.", "It is a text, or a list of them that is not empty."
        )
    return tuple(value)


def _near(name: str, known: Sequence[str], otherwise: str = "") -> str:
    return suggestion(name, known, otherwise=otherwise or f"Known: {', '.join(known)}.")
