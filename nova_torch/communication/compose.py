"""Make a message out of what a sender says, or say why it cannot be one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from nova_torch import arguments
from nova_torch.clean import MAX_BODY_BYTES, checked_body
from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import Form, Kind, Message, MessageId, Priority

MAX_TARGET_CHARS = 256
ANSWERS = ("wanted", "none")


def compose(
    target: str,
    body: str | bytes,
    *,
    now_ms: int,
    message_id: str | None = None,
    sender: str = "",
    priority: str = Priority.NORMAL,
    kind: str = Kind.MESSAGE,
    ttl_s: float | None = None,
    form: str = Form.AUTO,
    correlation_id: str = "",
    reply_to: str = "",
    answer: str = "",
    headers: Mapping[str, str] | None = None,
    max_bytes: int = MAX_BODY_BYTES,
) -> Message:
    """Return the message.

    `now_ms` is milliseconds since the epoch, `ttl_s` the seconds within which it must be typed. `message_id`
    is a ULID of the sender's, so that sending again is the same message; without one it gets a new one.
    `answer` says whether the sender waits for an answer: wanted, none, or nothing said.

    Raises InvalidRequest (naming the argument), InvalidText, BodyEmpty or BodyTooLarge.
    """
    _check_types(target=target, sender=sender, correlation_id=correlation_id, reply_to=reply_to, body=body)
    arguments.optional_text("message_id", message_id)
    ttl_s = arguments.seconds("ttl_s", ttl_s)
    if not target or len(target) > MAX_TARGET_CHARS or not target.isprintable():
        raise InvalidRequest(f"{target[:40]!r} is not a target.", "Name an agent: novactl agents")
    if sender and (len(sender) > MAX_TARGET_CHARS or not sender.isprintable()):
        raise InvalidRequest(f"{sender[:40]!r} is not a sender.", "Give an agent's name, or none.")
    if message_id is not None and not is_ulid(message_id):
        raise InvalidRequest(
            f"{message_id!r} is not a ULID.", "Leave the id away, or give 26 letters of base 32."
        )
    if ttl_s is not None and not 0 < ttl_s < 1e9:
        raise InvalidRequest(f"the time to live is {ttl_s} s.", "Give a positive duration such as 30s or 2h.")
    return Message(
        id=MessageId(message_id or new_ulid(now_ms)),
        sender=sender,
        target=target,
        body=checked_body(body, max_bytes=max_bytes),
        priority=Priority(arguments.choice("priority", priority, Priority)),
        kind=Kind(arguments.choice("kind", kind, Kind)),
        correlation_id=correlation_id,
        reply_to=reply_to,
        created_ms=now_ms,
        expires_ms=None if ttl_s is None else now_ms + int(ttl_s * 1000),
        headers={
            **(headers or {}),
            **({"answer": arguments.choice("answer", answer, ANSWERS)} if answer else {}),
            "form": arguments.choice("form", form, Form),
        },
    )


def _check_types(*, body: object, **named: object) -> None:
    for name, value in named.items():
        arguments.text(name, value)
    if not isinstance(body, (str, bytes)):
        raise InvalidRequest(f"the body must be a text or bytes, not {type(body).__name__}.")
