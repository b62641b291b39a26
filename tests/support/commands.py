"""Hold commands against what the project may send to DragonflyDB. Pure; the list is a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("dragonfly_commands.toml")
_TAG = re.compile(r"\{([^}]+)\}")
_NUMBER = re.compile(r"-?(\d+(\.\d+)?|inf)\Z")


@dataclass(slots=True)
class Checker:
    """Checks commands in the order the server ran them: what a script runs comes behind its EVAL."""

    rules: dict[str, Any] = field(default_factory=lambda: tomllib.loads(LIST.read_text()))
    declared: frozenset[str] = frozenset()

    def check(self, words: Sequence[str], *, in_script: bool = False) -> str | None:
        """Return what is wrong with a command, or None."""
        name, args = self._name(words)
        if name in self.rules["admin"]["names"]:
            return None
        if name not in self.rules["commands"]:
            why = self.rules["missing"].get(name) or self.rules["missing"].get(name.split(" ", maxsplit=1)[0])
            return f"{name}: {'not in DragonflyDB: ' + why if why else 'not in the list of commands'}"
        rule = self.rules["commands"][name]
        keys = _keys(rule.get("keys", "first"), args)
        problem = self._options(name, rule, args, keys) or _limits(name, rule, args)
        if name in ("EVAL", "EVALSHA"):
            self.declared = frozenset(args[2 : 2 + int(args[1])])
            tags = {tag for key in self.declared for tag in _TAG.findall(key)[:1]}
            if len(tags) != 1 and len(self.declared) != 1:  # one key alone, a foreign stream, needs no tag
                return f"{name}: the keys of a script have {len(tags)} hash tags: {sorted(self.declared)}"
        elif in_script:
            strange = [key for key in keys if key not in self.declared]
            if strange:
                return f"{name} in a script: keys that are not declared: {strange}"
        return problem

    def knows(self, words: Sequence[str]) -> bool:
        """Tell whether a command without its arguments is in the list."""
        name, _ = self._name(words)
        return name in self.rules["commands"] or name in self.rules["admin"]["names"]

    def _name(self, words: Sequence[str]) -> tuple[str, Sequence[str]]:
        first = words[0].upper()
        both = f"{first} {words[1].upper()}" if len(words) > 1 else first
        known = {*self.rules["commands"], *self.rules["admin"]["names"], *self.rules["missing"]}
        return (both, words[2:]) if both in known else (first, words[1:])

    def _options(
        self, name: str, rule: dict[str, Any], args: Sequence[str], keys: Sequence[str]
    ) -> str | None:
        if "first" not in rule:
            return None
        options, ends = rule.get("options", {}), rule.get("ends", ())
        at = rule["first"]
        while at < len(args):
            word = args[at].upper()
            if word in ends or ("<number>" in ends and _NUMBER.match(args[at])):
                return None
            if word not in options:
                why = self.rules["missing_options"].get(name, {}).get(word, "not in the list of options")
                return f"{name} {word}: {why}"
            never = rule.get("never_on", {}).get(word)
            if never and any(re.search(never, key) for key in keys):
                return f"{name} {word}: never on {keys[0]}"
            at += 1 + options[word]
        return None


def _limits(name: str, rule: dict[str, Any], args: Sequence[str]) -> str | None:
    for what, (least, most) in rule.get("limits", {}).items():
        if what.startswith("#"):
            values = [args[int(what[1:])]]
        else:
            values = [args[n + 1] for n, word in enumerate(args[:-1]) if word.upper() == what]
        for value in values:
            if not least <= float(value) <= most:
                return f"{name} {what.lstrip('#')} {value}: must lie between {least} and {most}"
    return None


def _keys(where: str, args: Sequence[str]) -> Sequence[str]:
    if where == "none":
        return ()
    if where == "all":
        return args
    if where == "streams":
        streams = args[[word.upper() for word in args].index("STREAMS") + 1 :]
        return streams[: len(streams) // 2]
    return args[:1]
