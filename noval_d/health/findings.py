"""Join what there is to say of every part: the checks of `doctor`, and the health in `status`."""

from __future__ import annotations

from noval_d.health import agents, bridges, guards, mailboxes, parts
from noval_d.health.check import Check
from noval_d.node.node import Node


def checks(node: Node, *, private: bool) -> list[dict[str, str]]:
    """Return every finding, the good ones too."""
    return [check.to_json() for check in findings(node, private=private)]


def findings(node: Node, *, private: bool) -> list[Check]:
    """Return what there is to say of each part; with `private` also what panes show."""
    return [
        *parts.findings(node),
        *guards.findings(node),
        *mailboxes.findings(node),
        *agents.findings(node, private=private),
        *bridges.findings(node),
    ]
