"""The sections of the configuration: their keys, with their defaults. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from nova_torch.clean import MAX_BODY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSection:
    """Who this node is."""

    name: str = ""
    """Name of the node; the host's name when empty."""
    labels: tuple[str, ...] = ()
    """What agents may be placed by: words (`gpu`) and values (`zone=eu`)."""
    max_agents: int = 0
    """Agents that the node has at most; 0 for no limit."""


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
class AuditSection:
    """The audit log of the control socket, in the state directory."""

    file_mib: int = 16
    files: int = 4
    """How many files of that size are kept; 0: no audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSection:
    """The broker: `embedded`, or the URL of a DragonflyDB (or Redis, Valkey) server."""

    url: str = field(default="embedded", repr=False)  # it may hold a password
    prefix: str = "nova"
    password_file: str = ""
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    mailbox_limit: int = 1000
    """Messages that may wait for one agent; the next one is an error to its sender."""
    lease_s: float = 20.0
    beat_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSection:
    """Signatures on what nodes write into the broker."""

    mode: str = "off"
    """`off` signs if there is a key and checks nothing, `warn` says what is not signed, `require` refuses it."""
    key_file: str = ""
    """The fleet's keys, a line each; systemd's credential `fleet-keys` when empty."""
    max_age_s: float = 0.0
    """An older message is not taken; 0: what the ledger may have forgotten (state.keep_days) is not."""
    max_skew_s: float = 300.0
    """How far ahead of this node's clock a message may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """Who may do what."""

    file: str = ""
    """Rules: who may send what to whom, spawn, stop, adopt, answer dialogs. Without it what holds is as ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TmuxSection:
    """The tmux server whose panes this node serves."""

    socket: str = ""
    """Name (`tmux -L`) or path (`tmux -S`) of the server's socket; the user's default server when empty."""
    unit: str = ""
    """The systemd unit that keeps this server: `spawn` waits for it and never starts a server of its own."""


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
class LimitsSection:
    """What one sender may have and send; 0 is no limit."""

    sender_per_minute: int = 0
    """Messages a minute of one sender: the next is an error; from another node or a bridge it is held."""
    sender_open: int = 10_000
    """Messages of one sender without a verdict."""
    pair_open: int = 0
    """Messages of one sender for one agent without a verdict."""


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
class TasksSection:
    """Work that is given to idle agents."""

    take: bool = True
    """Whether this node takes tasks for its agents."""
    retries: int = 3
    """How often a task is given again, unless it says otherwise."""
    max_open: int = 10_000
    """Tasks of the fleet that are not over; the next one is an error."""
    max_body_bytes: int = 65536
    """Of what an agent is told, and of a result."""
    remind_s: float = 60.0
    """For so long an agent has been idle with its task when it is reminded of it, once; 0: never."""


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


SECTIONS: dict[str, type] = {
    "node": NodeSection,
    "state": StateSection,
    "control": ControlSection,
    "audit": AuditSection,
    "broker": BrokerSection,
    "signing": SigningSection,
    "policy": PolicySection,
    "tmux": TmuxSection,
    "delivery": DeliverySection,
    "limits": LimitsSection,
    "life": LifeSection,
    "schedule": ScheduleSection,
    "tasks": TasksSection,
    "monitoring": MonitoringSection,
}
