"""Say how a node is: `status`, and the checks of `doctor`. Reads, decides, changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from nova_torch.durations import spoken
from nova_torch.values import AgentState
from nova_torch.version import VERSION
from noval_d.agents.attention import opening
from noval_d.delivery.worker import Worker
from noval_d.life.plan import Phase
from noval_d.node.node import Node
from noval_d.talk.answering import is_box

BRIDGE_HIT_MS = 3_600_000  # how long what a bridge dropped is a warning


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; severity is ok, warning or error."""

    code: str
    severity: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the object that `status` and `doctor` show."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "hint": self.hint}


def status(node: Node, *, private: bool) -> dict[str, Any]:
    """Return the object of `status --json`; with `private` also what panes show."""
    info = node.broker.info
    return {
        "node": node.name,
        "version": VERSION,
        "uptime_s": round((node.clock_ms() - node.started_ms) / 1000, 1),
        "mode": node.dispatch.mode,
        "broker": {
            "url": node.broker.url,
            "kind": info.kind if info is not None else "",
            "version": info.version if info is not None else "",
            "state": node.broker.state,
        },
        "tmux": [{"socket": node.tmux.socket.path, "state": node.tmux.state}],
        "agents": dict(Counter(agent.state.value for agent in node.roster.agents.values())),
        "outbox": node.outbox.depth(),
        "schedules": schedules(node),
        "paused": sorted(agent.id for agent in node.roster.agents.values() if agent.paused),
        "states": states(node),
        "attention": attention_rows(node, private=private),
        "held": held(node, private=private),
        "bridges": node.bridges.rows(),
        "health": [check.to_json() for check in findings(node, private=private) if check.severity != "ok"],
    }


def schedules(node: Node) -> dict[str, Any]:
    """Return how many schedules this node knows that are not over, and the next one."""
    active = node.schedules.book.active()
    next_ms, first = min(node.schedules.book.upcoming(), key=lambda pair: pair[0], default=(None, None))
    return {
        "active": len(active),
        "next_ms": next_ms,
        "next_id": None if first is None else first.id,
        "next_agent": None if first is None else first.agent,
    }


def states(node: Node) -> list[dict[str, Any]]:
    """Return the state of every agent of this node, and who told of it."""
    return [
        {
            "agent": agent.id,
            "state": agent.state.value,
            "source": agent.standing.source.value,
            "since_ms": agent.state_since_ms,
            "detail": agent.standing.detail,
        }
        for _, agent in sorted(node.roster.agents.items())
    ]


def attention_rows(node: Node, *, private: bool) -> list[dict[str, Any]]:
    """Return the agents that need a person, what for, and the command that opens each."""
    rows: list[dict[str, Any]] = []
    for _, agent in sorted(node.roster.agents.items()):
        needs = agent.attention
        if needs is None:
            continue
        rows.append(
            {
                "agent": agent.id,
                "reason": needs.reason,
                "detail": needs.detail,
                "since_ms": agent.attention_since_ms,
                "open": opening(agent.id),
                **({"shown": needs.shown} if private else {}),
            }
        )
    return rows


def held(node: Node, *, private: bool) -> list[dict[str, Any]]:
    """Return the messages that wait at the head of an agent's queue, with the reason."""
    rows: list[dict[str, Any]] = []
    now = node.clock_ms()
    for agent_id, worker in sorted(node.roster.workers.items()):
        rows += _limited(worker, agent_id, now)
        item = worker.current
        if item is None:
            continue
        state, reason = item.told
        if worker.hold is not None:
            reason, detail, since = worker.hold.reason.value, worker.hold.detail, worker.hold_since_ms
            if private and worker.hold.shown:
                detail += f": {worker.hold.shown}"
        elif state == "typed" and reason:
            detail, since = "typed, waiting for it to be taken", worker.hold_since_ms or now
        else:
            continue
        rows.append(
            {
                "id": item.message.id,
                "agent": agent_id,
                "reason": reason,
                "detail": detail,
                "held_s": round((now - since) / 1000, 1),
                "waiting": worker.in_hand,
            }
        )
    return rows


def _limited(worker: Worker, agent: str, now_ms: int) -> list[dict[str, Any]]:
    """Return the messages that a limit of conversations keeps back, of each sender the first."""
    return [
        {
            "id": limited.item.message.id,
            "agent": agent,
            "reason": limited.hold.reason.value,
            "detail": limited.hold.detail,
            "held_s": round((now_ms - limited.since_ms) / 1000, 1),
            "waiting": worker.in_hand,
        }
        for limited in worker.limited.values()
    ]


def checks(node: Node, *, private: bool) -> list[dict[str, str]]:
    """Return every finding, the good ones too."""
    return [check.to_json() for check in findings(node, private=private)]


def findings(node: Node, *, private: bool) -> list[Check]:
    """Return what there is to say of each part."""
    return [
        _broker(node),
        *_broker_warnings(node),
        _tmux(node),
        _store(node),
        *_claims(node),
        *_ownerless(node),
        *_held(node, private=private),
        *_stopped(node),
        *_agents(node),
        *_limits(node, private=private),
        *_unprocessed(node),
        *_lives(node),
        *_bridges(node),
    ]


def _broker(node: Node) -> Check:
    link = node.broker
    if link.state == "up":
        return Check("broker", "ok", f"The broker answers at {link.url}.")
    return Check(
        "broker_down",
        "error",
        f"The broker does not answer: {link.problem}",
        "Messages for agents of this node go on; the others wait in the outbox.",
    )


def _broker_warnings(node: Node) -> list[Check]:
    info = node.broker.info
    return [Check("broker_unfit", "warning", warning) for warning in (info.warnings if info else ())]


def _tmux(node: Node) -> Check:
    path = node.tmux.socket.path
    match node.tmux.state:
        case "up":
            return Check("tmux", "ok", f"The tmux server answers at {path}.")
        case "not_answering":
            return Check(
                "tmux_not_answering",
                "error",
                f"The tmux server at {path} exists and does not answer.",
                "Is it stopped? Continue its process (kill -CONT).",
            )
        case _:
            severity = "error" if node.roster.agents else "warning"
            return Check(
                "tmux_absent", severity, f"There is no tmux server at {path}.", "Start your agents in tmux."
            )


def _store(node: Node) -> Check:
    if not node.store.failing:
        return Check("state_file", "ok", f"The state file {node.store.path} is written.")
    return Check(
        "state_file_failing",
        "error",
        f"The state file cannot be written: {node.store.failing}.",
        "Make room.",
    )


def _claims(node: Node) -> list[Check]:
    if node.broker.state != "up":
        return []
    return [
        Check(
            "mailbox_not_claimed",
            "warning",
            f"The mailbox of {agent} is not claimed.",
            "Another node may own it.",
        )
        for agent in node.roster.agents
        if not node.broker.claimed(agent)
    ]


def _ownerless(node: Node) -> list[Check]:
    if node.broker.state != "up":
        return []
    return [
        Check(
            "no_mailbox",
            "warning",
            f"{waiting} messages wait for {agent}, which no node serves now.",
            "They are answers for people there: start that node again."
            if is_box(agent)
            else "Register it again; a message with a time to live ends by itself.",
        )
        for agent, waiting in node.outbox.ownerless().items()
    ]


def _held(node: Node, *, private: bool) -> list[Check]:
    limit_s = node.config.delivery.held_warning_s
    return [
        Check(
            "held_long",
            "warning",
            f"A message for {row['agent']} has waited {spoken(row['held_s'])}: {row['detail']}.",
            f"Look: novactl peek {row['agent']}",
        )
        for row in held(node, private=private)
        if row["held_s"] > limit_s
    ]


def _stopped(node: Node) -> list[Check]:
    return [
        Check(
            "conversation_stopped",
            "warning",
            f"The conversation {hit.conversation} was stopped at a message from {hit.sender} to {hit.agent}"
            f" ({node.config.delivery.max_exchanges} is the limit, delivery.max_exchanges).",
            f"Type it all the same: novactl dead retry {hit.message}",
        )
        for hit in node.talk.stopped()
    ]


def _agents(node: Node) -> list[Check]:
    found: list[Check] = [
        Check(
            "driver_broken",
            "error",
            error.message,
            f"{error.hint} Try it: novactl driver test; then restart.",
        )
        for error in node.broken_drivers.values()
    ]
    for agent in node.roster.agents.values():
        waiting = node.roster.workers[agent.id].in_hand
        keeper = node.lives.keepers.get(agent.id)
        # one that was given up is told of once, below; one that comes back needs no word
        cared_for = keeper is not None and (keeper.life.gave_up or keeper.life.phase is Phase.WAITING)
        if agent.state in (AgentState.EXITED, AgentState.LOST) and waiting and not cared_for:
            where = (
                "its pane is gone" if agent.state is AgentState.LOST else "it has exited to another program"
            )
            found.append(
                Check(
                    "agent_away",
                    "warning",
                    f"{waiting} messages wait for {agent.id}, and {where}.",
                    "Start it again, or: novactl unregister " + agent.id,
                )
            )
        if agent.spec.driver not in (*node.roster.drivers, *node.broken_drivers):
            found.append(
                Check(
                    "driver_missing", "error", f"The driver {agent.spec.driver} of {agent.id} is not there."
                )
            )
        if agent.driver.hooks and not agent.hooked and agent.present:
            found.append(
                Check(
                    "hooks_silent",
                    "ok",
                    f"No hook of {agent.id} has reported yet: its messages end as submitted, not acknowledged.",
                    "novactl hooks status claude",
                )
            )
    return found


def _limits(node: Node, *, private: bool) -> list[Check]:
    return [
        Check(
            "usage_limit",
            "warning",
            f"The usage limit of {agent.id} is reached" + (f": {agent.standing.limit}" if private else "."),
            f"Look: {opening(agent.id)}",
        )
        for agent in node.roster.agents.values()
        if agent.standing.limit
    ]


def _unprocessed(node: Node) -> list[Check]:
    return [
        Check(
            "not_processed",
            "warning",
            f"{agent.id} acknowledged the message {taken.message}"
            f" {spoken(node.clock() - taken.at)} ago and shows no sign of work since.",
            f"Look: {opening(agent.id)}",
        )
        for agent in node.roster.agents.values()
        if (taken := agent.taken) is not None and taken.warned
    ]


def _lives(node: Node) -> list[Check]:
    return [
        Check(
            "agent_given_up",
            "warning",
            f"{keeper.life.agent} is not started again: {keeper.life.gave_up}.",
            f"See why: novactl peek {keeper.life.agent}; then: novactl restart {keeper.life.agent}",
        )
        for keeper in node.lives.keepers.values()
        if keeper.life.gave_up
    ]


def _bridges(node: Node) -> list[Check]:
    """Return each bridge that cannot be read or has dropped something within the hour; the others are well."""
    found: list[Check] = []
    for row in node.bridges.rows():
        name = f"The bridge {row['name']} ({row['via']} {row['key']})"
        if row["problem"]:
            found.append(
                Check(
                    "bridge_unreadable",
                    "warning",
                    f"{name} does not work: {row['problem']}.",
                    "The others go on. Look at its type and at the rights of the broker's user.",
                )
            )
        if row.get("dropped") and node.clock_ms() - row["dropped_ms"] < BRIDGE_HIT_MS:
            found.append(
                Check(
                    "bridge_dropped",
                    "warning",
                    f"{name} has dropped {row['dropped']}; the last: {row['reason']}.",
                    f"They are kept in the stream {node.config.broker.prefix}:{{br}}:dead of the broker.",
                )
            )
    if node.bridges.names and not found:
        found.append(Check("bridges", "ok", f"{len(node.bridges.names)} streams and channels are bridged."))
    return found
