"""Decide who may answer a message, whether it can be answered, and where the answer goes. Pure."""

from __future__ import annotations

from nova_torch.errors import Conflict, InvalidRequest, NotAllowed, NovaError
from nova_torch.values import AGENT_ID, AgentId, Form, Kind, Message, MessageId, NodeId
from noval_d.delivery.template import from_agent

SILENT_KINDS = (Kind.EVENT, Kind.CONTROL)


def box_of(node: NodeId) -> AgentId:
    """Return the mailbox in which a node keeps what is for people: no agent can have such a name."""
    return AgentId(f"@{node}")


def is_box(agent: str) -> bool:
    """Tell whether this is the mailbox of a node's people, not of an agent."""
    return agent.startswith("@")


def addressee(question: Message, mailbox: AgentId) -> str:
    """Return who was sent a message that lay in `mailbox`: an agent, or a person (`user:NAME`)."""
    return question.target if is_box(mailbox) else mailbox


def refusal(question: Message, *, to: str, sender: str, given: MessageId | None) -> NovaError | None:
    """Return why `sender` cannot answer `question`, which was sent to `to` and has the answer `given`."""
    cure = f'Write to its sender: novactl send {question.sender} "..."' if from_agent(question) else ""
    if sender != to:
        return NotAllowed(f"message {question.id} was sent to {to}, not to {sender}.", cure)
    if question.kind in SILENT_KINDS or question.form is Form.COMMAND:
        what = "a command" if question.form is Form.COMMAND else f"of the kind {question.kind}"
        return InvalidRequest(f"message {question.id} is {what}: nobody reads an answer to it.", cure)
    if question.headers.get("answer") == "none":
        return InvalidRequest(f"message {question.id} wants no answer.", cure)
    if given is not None:
        return Conflict(f"message {question.id} was answered already, with {given}.", cure)
    return None


def mailbox_for(question: Message) -> AgentId:
    """Return the mailbox that an answer goes into: the asking agent's, else that of the people of its node.

    What the question says of it is another node's word. Raises InvalidRequest when it names no place.
    """
    named = question.headers.get("answers", "")
    sender = question.sender if from_agent(question) else ""
    for name in (named, sender, box_of(question.origin)):
        if AGENT_ID.match(name.removeprefix("@")):
            return AgentId(name)
    raise InvalidRequest(f"message {question.id} does not say where an answer should go.")


def answer_life_s(question: Message) -> float | None:
    """Return how long an answer can be taken, for a program that asked without a daemon; None: for ever.

    Nobody empties the place that such a program has left: its answer must end by itself.
    """
    told = question.headers.get("answers_s", "")
    return float(told) if told.isascii() and told.isdigit() and 0 < len(told) < 8 and int(told) else None


def is_node(name: str) -> bool:
    """Tell whether `name`, which another node wrote, can be a node's."""
    return bool(AGENT_ID.match(name))
