"""Say what `doctor` finds of mailboxes: not claimed, without an owner, with messages of a newer version."""

from __future__ import annotations

from nova_torch.version import VERSION
from noval_d.health.check import Check
from noval_d.node.node import Node
from noval_d.talk.answering import is_box


def findings(node: Node) -> list[Check]:
    """Return what there is to say."""
    return [*_claims(node), *_ownerless(node), *_newer(node)]


def _claims(node: Node) -> list[Check]:
    if node.broker.state != "up":
        return []
    return [
        Check(
            "mailbox_not_claimed",
            "warning",
            f"{node.broker.taken_by(agent)} Nothing is typed into it here."
            if node.broker.taken(agent)
            else f"The mailbox of {agent} is not claimed.",
            "Unregister it on one of them: novactl unregister"
            if node.broker.taken(agent)
            else "It is claimed with the next beat.",
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


def _newer(node: Node) -> list[Check]:
    return [
        Check(
            "message_newer",
            "warning",
            f"{len(messages)} messages for {agent} are of a newer version than this node reads (it is {VERSION}).",
            "Upgrade this node: they wait in the mailbox.",
        )
        for agent, messages in node.inbox.newer.items()
        if messages and agent in node.roster.agents
    ]
