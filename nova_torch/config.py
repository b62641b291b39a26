"""Load and validate the configuration: file, then environment over it. ARCHITECTURE, section 5.

Each section is a frozen dataclass of `sections`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nova_torch import paths
from nova_torch.adopt import AdoptRule, read_rules
from nova_torch.bridging import Bridges, read_bridges
from nova_torch.clean import MAX_BODY_BYTES
from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion
from nova_torch.nodes import check_labels
from nova_torch.reading import toml_tables
from nova_torch.redaction import HIDDEN, without_password
from nova_torch.scaling import Scaling, read_scaling
from nova_torch.sections import (
    SECTIONS,
    AuditSection,
    BrokerSection,
    ControlSection,
    DeliverySection,
    LifeSection,
    LimitsSection,
    MonitoringSection,
    NodeSection,
    PolicySection,
    ScheduleSection,
    SigningSection,
    StateSection,
    TasksSection,
    TmuxSection,
)
from nova_torch.templates import Template, read_templates

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, complete and valid."""

    node: NodeSection = field(default_factory=NodeSection)
    state: StateSection = field(default_factory=StateSection)
    control: ControlSection = field(default_factory=ControlSection)
    audit: AuditSection = field(default_factory=AuditSection)
    broker: BrokerSection = field(default_factory=BrokerSection)
    signing: SigningSection = field(default_factory=SigningSection)
    policy: PolicySection = field(default_factory=PolicySection)
    tmux: TmuxSection = field(default_factory=TmuxSection)
    delivery: DeliverySection = field(default_factory=DeliverySection)
    adopt: tuple[AdoptRule, ...] = ()
    """Rules by which `novactl adopt` finds running agents."""
    limits: LimitsSection = field(default_factory=LimitsSection)
    life: LifeSection = field(default_factory=LifeSection)
    agents: Mapping[str, Template] = field(default_factory=dict)
    """Templates of agents by name."""
    scaling: Scaling = field(default_factory=Scaling)
    """How many agents of each role there are to be."""
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    tasks: TasksSection = field(default_factory=TasksSection)
    monitoring: MonitoringSection = field(default_factory=MonitoringSection)
    bridges: Bridges = field(default_factory=Bridges)
    """Streams, channels and keys of other programs."""
    source: str = ""
    """The file it was read from; empty when there was none."""

    def shown(self, *, private: bool = True) -> dict[str, Any]:
        """Return the configuration for people, without secrets; with `private` also the prompts of templates."""
        shown: dict[str, Any] = {"source": self.source}
        for section in SECTIONS:
            part = getattr(self, section)
            shown[section] = {f.name: getattr(part, f.name) for f in fields(part)}
        shown["agents"] = {name: template.shown() for name, template in self.agents.items()}
        if not private:
            for template in shown["agents"].values():
                template["prompt"] = HIDDEN if template["prompt"] else ""
        shown["scaling"] = self.scaling.shown()
        shown["broker"]["url"] = without_password(self.broker.url)
        shown["adopt"] = [rule.shown() for rule in self.adopt]
        shown["bridges"] = self.bridges.shown()
        return shown


CHECK = "Correct it, and check it with: novactl config validate"
_SHORT_NAMES = {
    "NOVA_SOCKET": ("control", "socket"),
    "NOVA_STATE_DIR": ("state", "dir"),
    "NOVA_NODE": ("node", "name"),
    "NOVA_TMUX": ("tmux", "socket"),
    "DRAGONFLY_PASS_FILE": ("broker", "password_file"),
}


def load(file: str | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read the configuration from `file` (or the first usual place that has one) and the environment.

    Raises ConfigInvalid naming the file, the key and what would be right.
    """
    environment = os.environ if env is None else env
    path = find_file(file, environment)
    raw = _read(path) if path else {}
    merged = {name: dict(_table(raw, name, path)) for name in SECTIONS}
    rules = read_rules(raw.get("adopt", []), path or "")
    templates = read_templates(raw.get("agents", {}), path or "")
    bridges = read_bridges(raw.get("bridges", {}), path or "")
    others = ("adopt", "agents", "bridges", "scaling")
    _refuse_unknown(raw, {**SECTIONS, **dict.fromkeys(others)}, f"section in {path}")
    scaling = read_scaling(raw.get("scaling", {}), templates, path or "")
    for section, key, value in _from_environment(environment):
        merged[section][key] = value
    built = {name: _section(kind, merged[name], name) for name, kind in SECTIONS.items()}
    config = Config(
        **built, adopt=rules, agents=templates, scaling=scaling, bridges=bridges, source=path or ""
    )
    return _complete(config, environment)


def find_file(file: str | None, env: Mapping[str, str]) -> str | None:
    """Return the configuration file to read, or None when there is none in the usual places."""
    candidates = paths.config_candidates(env, explicit=file or "")
    found = next((path for path in candidates if Path(path).is_file()), None)
    if found is None and len(candidates) == 1:
        there = "is not a file" if Path(candidates[0]).exists() else "does not exist"
        raise ConfigInvalid(
            f"the configuration file {candidates[0]} {there}.", "Give another: --config or NOVA_TORCH_CONFIG"
        )
    return found


def changes(old: Config, new: Config) -> list[str]:
    """Return the keys (`section.key`) whose values differ."""
    changed = [name for name in ("adopt", "bridges", "scaling") if getattr(old, name) != getattr(new, name)]
    changed += [
        f"{section}.{key.name}"
        for section, kind in SECTIONS.items()
        for key in fields(kind)
        if getattr(getattr(old, section), key.name) != getattr(getattr(new, section), key.name)
    ]
    names = sorted(old.agents.keys() | new.agents.keys())
    return changed + [f"agents.{name}" for name in names if old.agents.get(name) != new.agents.get(name)]


def _read(path: str) -> dict[str, Any]:
    try:
        return toml_tables(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path} is not UTF-8 (byte {error.start}).", CHECK) from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or error
        raise ConfigInvalid(f"{path} cannot be read: {why}.", CHECK) from None


def _table(raw: Mapping[str, Any], name: str, path: str | None) -> Mapping[str, Any]:
    table = raw.get(name, {})
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{name} in {path} is not a section.", f"Write [{name}] on a line of its own.")
    return table


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> None:
    for name in given:
        if name not in known:
            cure = suggestion(name, known, otherwise=f"Known: {', '.join(known)}.")
            raise ConfigInvalid(f"unknown {what}: {name}.", cure)


def _from_environment(env: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = [(*_SHORT_NAMES[name], value) for name, value in env.items() if name in _SHORT_NAMES and value]
    if env.get("DRAGONFLY_HOST") or env.get("DRAGONFLY_PORT"):
        host, port = env.get("DRAGONFLY_HOST") or "127.0.0.1", env.get("DRAGONFLY_PORT") or "6379"
        found.append(("broker", "url", f"redis://{host}:{port}"))
    for section, kind in SECTIONS.items():
        start = f"NOVA_{section.upper()}_"
        for name, value in env.items():
            if not name.startswith(start) or name in _SHORT_NAMES:
                continue
            key = name.removeprefix(start).lower()
            known = {f.name: f for f in fields(kind)}
            _refuse_unknown({key: value}, known, f"variable {start}…")
            if value or (known[key].type not in ("int", "float") and (section, key) != ("broker", "url")):
                found.append((section, key, value))  # what cannot be empty counts as not set
    return found


def _section(kind: type, given: Mapping[str, Any], name: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    _refuse_unknown(given, known, f"key in section [{name}]")
    return kind(**{key: _value(value, str(known[key].type), f"{name}.{key}") for key, value in given.items()})


def _value(value: Any, kind: str, key: str) -> Any:
    wanted = {"str": "a text", "int": "a whole number", "float": "a number"}.get(kind, "a list of texts")
    try:
        match kind:
            case "str" if isinstance(value, str):
                return value
            case "int" if isinstance(value, (int, str)) and not isinstance(value, bool):
                return int(value)
            case "float" if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                return float(value)
            case "tuple[str, ...]" if isinstance(value, str):
                return tuple(part.strip() for part in value.split(",") if part.strip())
            case "tuple[str, ...]" if isinstance(value, list) and all(isinstance(v, str) for v in value):
                return tuple(value)
    except ValueError:
        pass
    raise ConfigInvalid(f"{key} is {value!r}.", f"It must be {wanted}.")


def _complete(config: Config, env: Mapping[str, str]) -> Config:
    name = config.node.name or re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64]
    if not NAME.match(name):
        raise ConfigInvalid(f"node.name is {name!r}.", "Use letters, digits, '_', '.', '-', 64 at most.")
    state = config.state.dir or paths.state_dir(env)
    control = config.control.socket or paths.control_socket(env, state_dir=state)
    _check_numbers(config)
    if config.signing.mode not in ("off", "warn", "require"):
        raise ConfigInvalid(f"signing.mode is {config.signing.mode!r}.", "It is off, warn or require.")
    check_labels(config.node.labels)
    if config.schedule.missed not in ("fire", "skip"):
        raise ConfigInvalid(f"schedule.missed is {config.schedule.missed!r}.", "It is fire or skip.")
    url = config.broker.url
    if url != "embedded" and not url.startswith(SCHEMES):
        raise ConfigInvalid(
            f"broker.url is {without_password(url)!r}.", "Use embedded, redis://, rediss:// or unix://."
        )
    _check_tls(config.broker)
    if not NAME.match(config.broker.prefix):
        raise ConfigInvalid(
            f"broker.prefix is {config.broker.prefix!r}.", "Use letters, digits, '_', '.', '-'."
        )
    return replace(
        config,
        node=replace(config.node, name=name),
        state=replace(config.state, dir=state),
        control=replace(config.control, socket=control),
    )


def _check_tls(broker: BrokerSection) -> None:
    given = [name for name in ("tls_ca_file", "tls_cert_file", "tls_key_file") if getattr(broker, name)]
    if given and not broker.url.startswith("rediss"):
        raise ConfigInvalid(
            f"broker.{given[0]} is given, and broker.url is without TLS.", "Write rediss:// in broker.url."
        )
    if broker.tls_key_file and not broker.tls_cert_file:
        raise ConfigInvalid(
            "broker.tls_key_file is given without its certificate.", "Add broker.tls_cert_file."
        )


def _check_numbers(config: Config) -> None:
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("node.max_agents", config.node.max_agents, 0, 100_000),
        ("state.keep_days", config.state.keep_days, 0.01, 3650),
        ("audit.file_mib", config.audit.file_mib, 1, 4096),
        ("audit.files", config.audit.files, 0, 1000),
        ("broker.mailbox_limit", config.broker.mailbox_limit, 1, 1_000_000),
        ("broker.lease_s", config.broker.lease_s, 1, 3600),
        ("broker.beat_s", config.broker.beat_s, 0.1, config.broker.lease_s / 2),
        ("signing.max_age_s", config.signing.max_age_s, 0, config.state.keep_days * 86400),
        ("signing.max_skew_s", config.signing.max_skew_s, 1, 86400),
        ("delivery.max_body_bytes", config.delivery.max_body_bytes, 1, MAX_BODY_BYTES),
        ("delivery.max_attempts", config.delivery.max_attempts, 1, 1000),
        ("delivery.max_exchanges", config.delivery.max_exchanges, 0, 1_000_000),
        ("delivery.pair_rate_per_minute", config.delivery.pair_rate_per_minute, 0, 1_000_000),
        ("delivery.held_warning_s", config.delivery.held_warning_s, 1, 1e9),
        ("delivery.processed_warning_s", config.delivery.processed_warning_s, 1, 1e9),
        ("limits.sender_per_minute", config.limits.sender_per_minute, 0, 1_000_000),
        ("limits.sender_open", config.limits.sender_open, 0, 10_000_000),
        ("limits.pair_open", config.limits.pair_open, 0, 10_000_000),
        ("life.quit_s", config.life.quit_s, 0, 600),
        ("life.terminate_s", config.life.terminate_s, 0, 600),
        ("life.tries", config.life.tries, 0, 1000),
        ("life.tries_window_s", config.life.tries_window_s, 1, 1e6),
        ("life.back_off_s", config.life.back_off_s, 0.01, 3600),
        ("life.back_off_most_s", config.life.back_off_most_s, config.life.back_off_s, 86400),
        ("schedule.late_s", config.schedule.late_s, 0, 7 * 86400),
        ("schedule.on_time_s", config.schedule.on_time_s, 0.1, 3600),
        ("schedule.max_per_agent", config.schedule.max_per_agent, 0, 10_000),
        ("schedule.max_per_sender", config.schedule.max_per_sender, 0, 10_000),
        ("schedule.min_period_s", config.schedule.min_period_s, 1, 1e6),
        ("schedule.horizon_days", config.schedule.horizon_days, 0.01, 3660),
        ("schedule.max_body_bytes", config.schedule.max_body_bytes, 1, MAX_BODY_BYTES),
    )
    limits += (
        ("tasks.retries", config.tasks.retries, 0, 1000),
        ("tasks.max_open", config.tasks.max_open, 1, 1_000_000),
        ("tasks.max_body_bytes", config.tasks.max_body_bytes, 1, MAX_BODY_BYTES),
        ("tasks.remind_s", config.tasks.remind_s, 0, 604_800),
        ("monitoring.broker_ping_ms", config.monitoring.broker_ping_ms, 0.1, 1e6),
        ("monitoring.outbox_age_s", config.monitoring.outbox_age_s, 1, 1e9),
        ("monitoring.disk_free_mib", config.monitoring.disk_free_mib, 0, 1_000_000_000),
        ("monitoring.rss_mib", config.monitoring.rss_mib, 1, 1_000_000_000),
        ("monitoring.memory_percent", config.monitoring.memory_percent, 1, 100),
        ("monitoring.loop_lag_ms", config.monitoring.loop_lag_ms, 1, 1e6),
    )
    for key, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigInvalid(f"{key} is {value}.", f"It must be between {low:g} and {high:g}.")


def doubts(config: Config) -> list[ConfigInvalid]:
    """Return what can be used as it is and is hardly meant so; nothing is raised."""
    own = config.delivery.drivers_dir
    if not own or os.path.isdir(own):
        return []
    cure = "Write its whole path, without ~." if own.startswith("~") else "Make it, or correct the key."
    return [ConfigInvalid(f"delivery.drivers_dir is {own}, and there is no such directory.", cure)]
