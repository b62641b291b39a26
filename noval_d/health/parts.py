"""Say what `doctor` finds of what a node stands on: broker, tmux, state file."""

from __future__ import annotations

from noval_d import failpoints
from noval_d.health.check import Check
from noval_d.node.misfits import cure, said
from noval_d.node.node import Node
from noval_d.tmux.server import how_to_start


def findings(node: Node) -> list[Check]:
    """Return what there is to say."""
    return [
        *_failpoints(),
        _broker(node),
        *_broker_warnings(node),
        *_misfits(node),
        _tmux(node),
        _store(node),
    ]


def _failpoints() -> list[Check]:
    if not failpoints.ACTIVE:
        return []
    return [
        Check(
            "failpoints",
            "error",
            f"This daemon dies, stops or fails on purpose: {failpoints.VARIABLE}={failpoints.ACTIVE}",
            "That is for tests. Start it without this variable.",
        )
    ]


def _broker(node: Node) -> Check:
    link = node.broker
    if link.state == "up" and not link.problem:
        return Check("broker", "ok", f"The broker answers at {link.url}.")
    if link.superseded:
        return Check("node_superseded", "error", link.superseded.capitalize(), link.cure)
    if link.state == "up":
        return Check(
            "broker_unsteady", "error", f"The broker comes and goes; the last time: {link.problem}", link.cure
        )
    cure = f"{link.cure} Messages for agents of this node go on; the others wait in the outbox.".lstrip()
    return Check("broker_down", "error", f"The broker is not used: {link.problem}", cure)


def _broker_warnings(node: Node) -> list[Check]:
    info = node.broker.info
    return [Check("broker_unfit", "warning", warning) for warning in (info.warnings if info else ())]


def _misfits(node: Node) -> list[Check]:
    return [
        Check("broker_key_unfit", "error", f"T{said(key, type_)[1:]}", cure(key))
        for key, type_ in sorted(node.broker.misfits.found.items())
    ]


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
                "tmux_absent",
                severity,
                f"There is no tmux server at {path}.",
                how_to_start(node.config.tmux.unit),
            )


def _store(node: Node) -> Check:
    if not node.store.failing:
        return Check("state_file", "ok", f"The state file {node.store.path} is written.")
    return Check(
        "state_file_failing",
        "error",
        f"The state file {node.store.path} cannot be written: {node.store.failing}.",
        node.store.cure,
    )
