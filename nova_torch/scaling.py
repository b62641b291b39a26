"""How many agents of a role there are to be (`[scaling]`, `[scaling.ROLE]`): read strictly. Light."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion
from nova_torch.nodes import LABEL
from nova_torch.templates import Template

_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,54}\Z")
_MOST = 100_000
_LONGEST_S = 7 * 86_400.0
_OWN = ("hard_cap", "dry_run", "look_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRule:
    """The section `[scaling.ROLE]`."""

    template: str
    """What is started: a template whose role this is."""
    min: int = 0
    max: int
    backlog_per_agent: float = 1.0
    """So many waiting tasks are one more agent."""
    up_cooldown_s: float = 60.0
    """Nothing is started sooner than this after the last start or stop of the role."""
    down_cooldown_s: float = 300.0
    """Nothing is stopped sooner than this after the last start or stop of the role."""
    idle_s: float = 300.0
    """An agent is stopped when it has been idle for so long."""
    labels: tuple[str, ...] = ()
    """What a node must have."""
    budget_per_day: int
    """So many starts within 24 hours, failed ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """All of it. Without a role nothing is scaled."""

    hard_cap: int = 0
    """So many agents the fleet may have, of whatever role."""
    dry_run: bool = False
    """Only say what would be done."""
    look_s: float = 5.0
    """How often whoever leads looks."""
    rules: Mapping[str, ScaleRule] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return a word that tells two configurations apart."""
        told = [
            self.hard_cap,
            self.dry_run,
            [(name, asdict(self.rules[name])) for name in sorted(self.rules)],
        ]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:12]

    def shown(self) -> dict[str, Any]:
        """Return it for people."""
        own = {name: getattr(self, name) for name in _OWN}
        return {**own, **{role: asdict(rule) for role, rule in self.rules.items()}}


def read_scaling(table: Any, templates: Mapping[str, Template], source: str) -> Scaling:
    """Return the section `scaling`. Raises ConfigInvalid, one sentence for what contradicts itself."""
    if not isinstance(table, Mapping):
        raise ConfigInvalid(f"scaling in {source} is not a section.", "Write [scaling] and [scaling.ROLE].")
    own = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    for name in own:
        if name not in _OWN:
            cure = suggestion(name, _OWN, otherwise=f"Known: {', '.join(_OWN)}, and sections [scaling.ROLE].")
            raise ConfigInvalid(f"unknown key in section [scaling]: {name}.", cure)
    dry_run = own.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise ConfigInvalid(f"scaling.dry_run is {dry_run!r}.", "It is true or false.")
    given = {role: value for role, value in table.items() if isinstance(value, Mapping)}
    if given and "hard_cap" not in own:
        raise ConfigInvalid(
            "scaling.hard_cap is missing.", "Say how many agents the whole fleet may have: hard_cap = 20"
        )
    cap = _number("scaling.hard_cap", own.get("hard_cap", 0), 0, _MOST, whole=True)
    look_s = _number("scaling.look_s", own.get("look_s", 5.0), 0.1, 3600)
    rules = {role: _rule(role, keys, templates, int(cap)) for role, keys in given.items()}
    least = sum(rule.min for rule in rules.values())
    if least > cap:
        raise ConfigInvalid(
            f"the roles want {least} agents together (min), and scaling.hard_cap is {cap:g}.",
            "Lower a min, or raise hard_cap.",
        )
    return Scaling(hard_cap=int(cap), dry_run=dry_run, look_s=look_s, rules=rules)


def _rule(role: str, given: Mapping[str, Any], templates: Mapping[str, Template], cap: int) -> ScaleRule:
    at = f"scaling.{role}"
    if not _ROLE.match(role):
        raise ConfigInvalid(f"[{at}] is no role.", "Use letters, digits, '_', '.', '-'.")
    known = [key.name for key in fields(ScaleRule)]
    for key in given:
        if key not in known:
            cure = suggestion(key, known, otherwise=f"Known: {', '.join(known)}.")
            raise ConfigInvalid(f"unknown key in section [{at}]: {key}.", cure)
    template = given.get("template", role)
    if not isinstance(template, str) or template not in templates:
        cure = suggestion(str(template), templates, otherwise=f"Write it: [agents.{template}]")
        raise ConfigInvalid(f"{at}.template is {template!r}, and there is no such template.", cure)
    theirs = templates[template].role or template
    if theirs != role:
        raise ConfigInvalid(
            f"{at} starts the template {template}, whose role is {theirs}.",
            f'Write [scaling.{theirs}], or role = "{role}" in [agents.{template}].',
        )
    if "max" not in given:
        raise ConfigInvalid(f"{at}.max is missing.", "Say how many agents of it there may be.")
    least = int(_number(f"{at}.min", given.get("min", 0), 0, _MOST, whole=True))
    most = int(_number(f"{at}.max", given["max"], 0, _MOST, whole=True))
    if least > most:
        raise ConfigInvalid(f"{at}.min is {least}, more than {at}.max, {most}.", "Lower min, or raise max.")
    if most > cap:
        raise ConfigInvalid(
            f"{at}.max is {most}, more than scaling.hard_cap, {cap}.", "Lower max, or raise hard_cap."
        )
    if "budget_per_day" not in given:
        kept = f", and min = {least} starts agents again and again" if least else ""
        raise ConfigInvalid(
            f"{at}.budget_per_day is missing{kept}.", "Say how many agents may be started in 24 hours."
        )
    budget = int(_number(f"{at}.budget_per_day", given["budget_per_day"], 0, _MOST, whole=True))
    if budget < least:
        raise ConfigInvalid(
            f"{at}.budget_per_day is {budget}, less than {at}.min, {least}.", "Raise it, or lower min."
        )
    return ScaleRule(
        template=template,
        min=least,
        max=most,
        backlog_per_agent=_number(f"{at}.backlog_per_agent", given.get("backlog_per_agent", 1.0), 0.01, 1e6),
        up_cooldown_s=_number(f"{at}.up_cooldown_s", given.get("up_cooldown_s", 60.0), 0, _LONGEST_S),
        down_cooldown_s=_number(f"{at}.down_cooldown_s", given.get("down_cooldown_s", 300.0), 0, _LONGEST_S),
        idle_s=_number(f"{at}.idle_s", given.get("idle_s", 300.0), 0, _LONGEST_S),
        labels=_labels(f"{at}.labels", given.get("labels", [])),
        budget_per_day=budget,
    )


def _number(key: str, value: Any, low: float, high: float, *, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ConfigInvalid(f"{key} is {value!r}.", f"It must be a {'whole ' if whole else ''}number.")
    if not low <= value <= high:
        raise ConfigInvalid(f"{key} is {value}.", f"It must be between {low:g} and {high:g}.")
    return float(value)


def _labels(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and LABEL.match(one) for one in value):
        raise ConfigInvalid(f"{key} is {value!r}.", 'It must be a list of labels: ["gpu", "zone=eu"].')
    return tuple(value)
