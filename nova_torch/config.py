"""Load and validate the configuration: file, then environment over it. ARCHITECTURE, section 5.

Each section is a frozen dataclass; its fields are the keys, their defaults the documentation's defaults.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
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
from nova_torch.templates import Template, read_templates

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSection:
    """Who this node is."""

    name: str = ""
    """Name of the node; the host's name when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSection:
    """Where the daemon keeps its files."""

    dir: str = ""
    keep_days: float = 7.0
    """How long final messages stay known, for `trace` and against repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSection:
    """The Unix socket that novactl talks to."""

    socket: str = ""
    write_users: tuple[str, ...] = ()
    read_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSection:
    """The broker: `embedded`, or the URL of a DragonflyDB (or Redis, Valkey) server."""

    url: str = "embedded"
    prefix: str = "nova"
    password_file: str = ""
    mailbox_limit: int = 1000
    """Messages that may wait for one agent; the next one is an error to its sender."""
    lease_s: float = 20.0
    beat_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TmuxSection:
    """The tmux server whose panes this node serves."""

    socket: str = ""
    """Name (`tmux -L`) or path (`tmux -S`) of the server's socket; the user's default server when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySection:
    """How messages are typed."""

    max_body_bytes: int = MAX_BODY_BYTES
    max_attempts: int = 5
    """How often a message that was provably not typed is tried again before it is dead."""
    held_warning_s: float = 600.0
    """A message held longer than this is a health warning."""
    max_exchanges: int = 50
    """Messages of one conversation that an agent is given from other agents; 0 for no limit."""
    pair_rate_per_minute: int = 30
    """Messages a minute that one agent is given from one other agent; 0 for no limit."""
    processed_warning_s: float = 120.0
    """A message that an agent has acknowledged and shows no sign of work on for so long is a health warning."""
    drivers_dir: str = ""
    """Directory of the user's own drivers, which override or add to the built-in ones."""
    may_answer: tuple[str, ...] = ()
    """Agents that may answer the dialogs of agents (`novactl answer`); people who may write always may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSection:
    """How spawned agents are ended and started again."""

    quit_s: float = 5.0
    """How long an agent that was asked to quit may take."""
    terminate_s: float = 5.0
    """How long it may take after SIGTERM; then it is killed."""
    tries: int = 5
    """How often one that ends is started again within `tries_window_s`."""
    tries_window_s: float = 600.0
    back_off_s: float = 1.0
    """The pause before the first of these starts; each further one is twice as long."""
    back_off_most_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSection:
    """Messages that are sent later."""

    missed: str = "fire"
    """What becomes of a time that nobody was there for: `fire` sends it late, `skip` leaves it out."""
    late_s: float = 3600.0
    """How late it may be sent; of several only the last is."""
    on_time_s: float = 10.0
    """What is no later than this was not missed."""
    max_per_agent: int = 200
    max_per_sender: int = 100
    """Schedules that are not over, for one agent and of one sender; the next one is an error."""
    min_period_s: float = 1.0
    horizon_days: float = 366.0
    """How far ahead `--in` and `--at` may be."""
    max_body_bytes: int = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSection:
    """Where `novactl health` begins to warn."""

    broker_ping_ms: float = 50.0
    outbox_age_s: float = 300.0
    """A message without a verdict for longer than this."""
    disk_free_mib: int = 256
    """Less than this free for the state directory; less than a quarter of it fails."""
    rss_mib: int = 512
    """More memory than this in use by the daemon."""
    memory_percent: float = 95.0
    """More of the machine's memory than this in use."""
    loop_lag_ms: float = 250.0
    """The daemon's event loop later than this; ten times as late fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, complete and valid."""

    node: NodeSection = field(default_factory=NodeSection)
    state: StateSection = field(default_factory=StateSection)
    control: ControlSection = field(default_factory=ControlSection)
    broker: BrokerSection = field(default_factory=BrokerSection)
    tmux: TmuxSection = field(default_factory=TmuxSection)
    delivery: DeliverySection = field(default_factory=DeliverySection)
    adopt: tuple[AdoptRule, ...] = ()
    """Rules by which `novactl adopt` finds running agents."""
    life: LifeSection = field(default_factory=LifeSection)
    agents: Mapping[str, Template] = field(default_factory=dict)
    """Templates of agents by name."""
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    monitoring: MonitoringSection = field(default_factory=MonitoringSection)
    bridges: Bridges = field(default_factory=Bridges)
    """Streams, channels and keys of other programs."""
    source: str = ""
    """The file it was read from; empty when there was none."""

    def shown(self) -> dict[str, Any]:
        """Return the configuration for people, without secrets."""
        shown: dict[str, Any] = {"source": self.source}
        for section in SECTIONS:
            part = getattr(self, section)
            shown[section] = {f.name: getattr(part, f.name) for f in fields(part)}
        shown["agents"] = {name: template.shown() for name, template in self.agents.items()}
        shown["broker"]["url"] = without_password(self.broker.url)
        shown["adopt"] = [rule.shown() for rule in self.adopt]
        shown["bridges"] = self.bridges.shown()
        return shown


SECTIONS: dict[str, type] = {
    "node": NodeSection,
    "state": StateSection,
    "control": ControlSection,
    "broker": BrokerSection,
    "tmux": TmuxSection,
    "delivery": DeliverySection,
    "life": LifeSection,
    "schedule": ScheduleSection,
    "monitoring": MonitoringSection,
}

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
    _refuse_unknown(raw, {**SECTIONS, "adopt": None, "agents": None, "bridges": None}, f"section in {path}")
    for section, key, value in _from_environment(environment):
        merged[section][key] = value
    built = {name: _section(kind, merged[name], name) for name, kind in SECTIONS.items()}
    config = Config(**built, adopt=rules, agents=templates, bridges=bridges, source=path or "")
    return _complete(config, environment)


def find_file(file: str | None, env: Mapping[str, str]) -> str | None:
    """Return the configuration file to read, or None when there is none in the usual places."""
    candidates = paths.config_candidates(env, explicit=file or "")
    found = next((path for path in candidates if Path(path).is_file()), None)
    if found is None and len(candidates) == 1:
        raise ConfigInvalid(
            f"the configuration file {candidates[0]} does not exist.", "Give another --config."
        )
    return found


def changes(old: Config, new: Config) -> list[str]:
    """Return the keys (`section.key`) whose values differ."""
    changed = [name for name in ("adopt", "bridges") if getattr(old, name) != getattr(new, name)]
    changed += [
        f"{section}.{key.name}"
        for section, kind in SECTIONS.items()
        for key in fields(kind)
        if getattr(getattr(old, section), key.name) != getattr(getattr(new, section), key.name)
    ]
    names = sorted(old.agents.keys() | new.agents.keys())
    return changed + [f"agents.{name}" for name in names if old.agents.get(name) != new.agents.get(name)]


def without_password(url: str) -> str:
    """Return `url` with any password replaced by `***`."""
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:***@", url)


def read_password(section: BrokerSection, env: Mapping[str, str] | None = None) -> str | None:
    """Return the broker's password from `password_file`, or from systemd's credential `broker-password`.

    Raises ConfigInvalid when the file is named and cannot be read.
    """
    environment = os.environ if env is None else env
    path = section.password_file
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    if not path and credentials and Path(credentials, "broker-password").is_file():
        path = str(Path(credentials, "broker-password"))
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"the broker's password file {path} cannot be read: {error}.", "Correct broker.password_file."
        ) from None


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(
            f"{path} cannot be read: {error}.", "Check it with: novactl config validate"
        ) from None


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
            _refuse_unknown({key: value}, {f.name: f for f in fields(kind)}, f"variable {start}…")
            found.append((section, key, value))
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
    if config.schedule.missed not in ("fire", "skip"):
        raise ConfigInvalid(f"schedule.missed is {config.schedule.missed!r}.", "It is fire or skip.")
    url = config.broker.url
    if url != "embedded" and not url.startswith(SCHEMES):
        raise ConfigInvalid(
            f"broker.url is {without_password(url)!r}.", "Use embedded, redis://, rediss:// or unix://."
        )
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


def _check_numbers(config: Config) -> None:
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("state.keep_days", config.state.keep_days, 0.01, 3650),
        ("broker.mailbox_limit", config.broker.mailbox_limit, 1, 1_000_000),
        ("broker.lease_s", config.broker.lease_s, 1, 3600),
        ("broker.beat_s", config.broker.beat_s, 0.1, config.broker.lease_s / 2),
        ("delivery.max_body_bytes", config.delivery.max_body_bytes, 1, MAX_BODY_BYTES),
        ("delivery.max_attempts", config.delivery.max_attempts, 1, 1000),
        ("delivery.max_exchanges", config.delivery.max_exchanges, 0, 1_000_000),
        ("delivery.pair_rate_per_minute", config.delivery.pair_rate_per_minute, 0, 1_000_000),
        ("delivery.held_warning_s", config.delivery.held_warning_s, 1, 1e9),
        ("delivery.processed_warning_s", config.delivery.processed_warning_s, 1, 1e9),
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
