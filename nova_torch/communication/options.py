"""The options that every way of sending takes."""

from __future__ import annotations

from typing import TypedDict


class MessageOptions(TypedDict, total=False):
    """What a message may say of itself, wherever it is sent.

    `message_id` is a ULID of the caller's: sent again with it, it is the same message. `priority` is urgent, high,
    normal or low; `ttl_s` the seconds within which it must be typed; `form` auto, raw or command; `sender` the name
    it is sent under, by default the agent in whose pane the program runs, else the user.
    """

    message_id: str | None
    priority: str
    ttl_s: float | None
    form: str
    sender: str
    correlation_id: str
    reply_to: str
