"""Say what `doctor` finds of agents: what waits too long, who is away, without a driver, at a limit, given up."""

from __future__ import annotations

from nova_torch.durations import spoken
from nova_torch.values import AgentState
from noval_d.agents.attention import opening
from noval_d.health.check import Check
from noval_d.health.held import held
from noval_d.life.plan import Phase
from noval_d.node.node import Node


def findings(node: Node, *, private: bool) -> list[Check]:
    """Return what there is to say; with `private` also what panes show."""
    return [
        *_held(node, private=private),
        *_stopped(node),
        *_agents(node),
        *_limits(node, private=private),
        *_unprocessed(node),
        *_lives(node),
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
