"""Dress a message for the agent that gets it: what is typed, to the last character. Pure. DELIVERY 2.5 and 2.6."""

from __future__ import annotations

from nova_torch.clean import clean
from nova_torch.values import Form, Kind, Message
from noval_d.agents.driver import Driver


def dress(driver: Driver, message: Message) -> str:
    """Return the text that is pasted for `message`.

    A `line` driver adds nothing. For a composer a message from an agent starts with a line that names sender and
    id; another body starts with the driver's visible prefix unless its first character is harmless; a command
    goes in as it is. One trailing space closes pickers and a trailing backslash.
    """
    body = clean(message.body)
    if driver.kind == "line":
        return body
    if message.form is Form.COMMAND:
        return body + driver.trailing
    if message.form is Form.AUTO and from_agent(message):
        return f"{_headline(message)}\n{body}{driver.trailing}"
    if body[:1] in driver.harmless or (body[:1].isalnum() and body[:1].isascii()):
        return body + driver.trailing
    return driver.prefix + body + driver.trailing


def from_agent(message: Message) -> bool:
    """Tell whether an agent sent it; people are `user:NAME`."""
    return bool(message.sender) and ":" not in message.sender


def _headline(message: Message) -> str:
    # the sender's name is another node's word: a control character in it would be typed
    sender = " ".join(clean(message.sender).split())
    first = f"[nova {message.id} from {sender}]"
    if message.kind is Kind.TASK or message.headers.get("answer") == "wanted":
        return f'{first} Answer with: novactl reply {message.id} "..."'
    return first
