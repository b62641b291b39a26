"""Say what `doctor` finds of audit log, signatures, policy, secrets, configuration, draining. Changes nothing."""

from __future__ import annotations

from nova_torch.config import doubts
from nova_torch.rejections import CURE
from nova_torch.secret_files import readable_by
from noval_d.health.check import Check
from noval_d.mailroom.seals import SHOWN_MS
from noval_d.node.node import Node

SHOWN = 3
"""So many nodes are named, the others counted."""


def findings(node: Node) -> list[Check]:
    """Return what there is to say."""
    return [
        *_audit(node),
        *_seals(node),
        *_keyless(node),
        *_policy(node),
        *_secrets(node),
        *_config(node),
        *_draining(node),
    ]


def _keyless(node: Node) -> list[Check]:
    strict = node.others.strict_nodes
    if node.guard.seals.signs or not strict:
        return []
    nodes = ", ".join(strict[:SHOWN]) + (f" and {len(strict) - SHOWN} more" if len(strict) > SHOWN else "")
    return [
        Check(
            "signing_key_missing",
            "warning",
            f"This node signs nothing, and nodes of the fleet take only what is signed: {nodes}."
            " Nothing for their agents is accepted here.",
            f"{CURE}.",
        )
    ]


def _seals(node: Node) -> list[Check]:
    tally = node.guard.seals.tally
    if not tally.count or node.clock_ms() - tally.at_ms > SHOWN_MS:
        return []
    if node.guard.seals.strict:
        return [
            Check(
                "signature_rejected",
                "warning",
                f"{tally.count} entries of the broker were not taken; the last: {tally.what}.",
                "Is a node without the fleet's keys sending, or does somebody write to the broker?"
                " See: novactl audit",
            )
        ]
    return [
        Check(
            "signature_missing",
            "warning",
            f"{tally.count} entries of the broker were taken although they are not the fleet's; the last:"
            f" {tally.what}.",
            "Give every node the keys; then signing.mode can be require.",
        )
    ]


def _audit(node: Node) -> list[Check]:
    if not node.guard.audit.failing:
        return []
    return [
        Check(
            "audit_failing",
            "warning",
            f"The audit log {node.guard.audit.path} is not written: {node.guard.audit.failing};"
            f" {node.guard.audit.lost} calls are missing in it.",
            "Make room, or remove what is in its place; calls go on meanwhile.",
        )
    ]


def _policy(node: Node) -> list[Check]:
    if not node.guard.policy_problem:
        return []
    return [
        Check(
            "policy_broken",
            "warning",
            f"The policy file cannot be used, the one before it holds: {node.guard.policy_problem}",
            "Correct it, and reload: novactl rpc reload",
        )
    ]


def _secrets(node: Node) -> list[Check]:
    broker, signing = node.config.broker, node.config.signing
    named = (
        ("broker.password_file", broker.password_file),
        ("broker.tls_key_file", broker.tls_key_file),
        ("signing.key_file", signing.key_file),
    )
    return [
        Check(
            "secret_open",
            "warning",
            f"The file of {key}, {path}, can be read by {who}.",
            f"Close it: chmod 600 {path}; and if somebody else may have read it, change what is in it.",
        )
        for key, path in named
        if path and (who := readable_by(path))
    ]


def _config(node: Node) -> list[Check]:
    return [Check("config_doubtful", "warning", doubt.message, doubt.hint) for doubt in doubts(node.config)]


def _draining(node: Node) -> list[Check]:
    if node.draining.drain is None:
        return []
    left = node.draining.open()
    told = f"Not done yet: {', '.join(left)}." if left else "Nothing is open any more."
    return [
        Check(
            "draining",
            "warning",
            f"The node drains and takes nothing new. {told}",
            f"Take it back: novactl node resume {node.name}",
        )
    ]
