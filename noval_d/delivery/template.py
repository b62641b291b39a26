"""Dress a message for the agent that gets it: what is typed, to the last character. Pure. DELIVERY 2.5 and 2.6."""

from __future__ import annotations

import re

from nova_torch.clean import clean
from nova_torch.ulid import is_ulid
from nova_torch.values import Form, Kind, Message
from noval_d.agents.driver import Driver

ODD = re.compile(r"[^\w.:@-]+")
SENDER_CHARS = 80
BRIDGE = "bridge:"
"""How a sender begins whom only a foreign program names: no agent's name has a colon, and no person's this."""


def plain(message: Message) -> str:
    """Return the text that is handed to an agent which takes every character as it is: no prefix is needed."""
    body = clean(message.body)
    headed = message.form is Form.AUTO and (from_machine(message) or message.wants_answer)
    return f"{_headline(message)}\n{body}" if headed else body


def dress(driver: Driver, message: Message) -> str:
    """Return the text that is pasted for `message`.

    A `line` driver adds nothing. For a composer a message from an agent or a bridge, or one that wants an answer,
    starts with a line that names sender and id, and the command that answers; another body starts with the
    driver's visible prefix unless its first character is harmless; a command goes in as it is. One trailing space
    closes pickers and a trailing backslash.
    """
    body = clean(message.body)
    if driver.kind == "line":
        return body
    as_command = message.form is Form.VERBATIM and driver.accepts_commands
    if message.form is Form.COMMAND or as_command:
        return body + driver.trailing
    if (headed := plain(message)) != body:
        return headed + driver.trailing
    if body[:1] in driver.harmless or (body[:1].isalnum() and body[:1].isascii()):
        return body + driver.trailing
    return driver.prefix + body + driver.trailing


def from_agent(message: Message) -> bool:
    """Tell whether an agent sent it; people are `user:NAME`."""
    return is_agent(message.sender)


def from_machine(message: Message) -> bool:
    """Tell whether an agent sent it, or somebody unknown through a bridge (`bridge:NAME:SENDER`)."""
    return from_agent(message) or message.sender.startswith(BRIDGE)


def is_agent(sender: str) -> bool:
    """Tell whether this is an agent's name; people are `user:NAME`, foreign senders `bridge:NAME:SENDER`."""
    return bool(sender) and ":" not in sender


def _headline(message: Message) -> str:
    # the sender's name is another node's word: it is no place for control characters, brackets or quotes
    sender = ODD.sub("?", clean(message.sender))[:SENDER_CHARS] or "?"
    answers = message.reply_to if message.kind is Kind.REPLY and is_ulid(message.reply_to) else ""
    first = f"[nova {message.id} from {sender}{f', answers {answers}' if answers else ''}]"
    return f'{first} Answer with: novactl reply {message.id} "..."' if message.wants_answer else first
