"""Turn messages and hops into bytes and back (msgpack). Unknown fields are ignored, wrong types refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from nova_torch.errors import InvalidRequest
from nova_torch.values import SCHEMA, Hop, Kind, Message, MessageId, NodeId, Priority, State


def encode_message(message: Message) -> bytes:
    """Return the envelope of `message`."""
    return bytes(
        msgpack.packb(
            {
                "id": message.id,
                "sender": message.sender,
                "target": message.target,
                "body": message.body,
                "priority": str(message.priority),
                "kind": str(message.kind),
                "correlation_id": message.correlation_id,
                "reply_to": message.reply_to,
                "created_ms": message.created_ms,
                "expires_ms": message.expires_ms,
                "headers": dict(message.headers),
                "schema": message.schema,
            }
        )
    )


def decode_message(raw: bytes) -> Message:
    """Return the message of an envelope.

    Raises InvalidRequest when `raw` is no envelope, a field is missing or of the wrong type, or the schema is
    newer than this version knows.
    """
    data = _mapping(raw)
    schema = _field(data, "schema", int)
    if schema > SCHEMA:
        raise InvalidRequest(
            f"the message has schema {schema}, this node knows {SCHEMA}.", "Upgrade this node."
        )
    headers = _field(data, "headers", dict)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in headers.items()):
        raise InvalidRequest("the message's headers are not texts.")
    expires = data.get("expires_ms")
    if expires is not None and (not isinstance(expires, int) or isinstance(expires, bool)):
        raise InvalidRequest("the message's expires_ms is not a number.")
    try:
        return Message(
            id=MessageId(_field(data, "id", str)),
            sender=_field(data, "sender", str),
            target=_field(data, "target", str),
            body=_field(data, "body", str),
            priority=Priority(_field(data, "priority", str)),
            kind=Kind(_field(data, "kind", str)),
            correlation_id=_field(data, "correlation_id", str),
            reply_to=_field(data, "reply_to", str),
            created_ms=_field(data, "created_ms", int),
            expires_ms=expires,
            headers=headers,
            schema=schema,
        )
    except ValueError as error:
        raise InvalidRequest(f"the message cannot be read: {error}.") from None


def encode_hop(hop: Hop) -> bytes:
    """Return the receipt that travels back to the sender's node."""
    return bytes(
        msgpack.packb(
            {
                "message": hop.message,
                "at_ms": hop.at_ms,
                "node": hop.node,
                "state": str(hop.state),
                "reason": hop.reason,
                "final": hop.final,
            }
        )
    )


def decode_hop(raw: bytes) -> Hop:
    """Return the hop of a receipt; raises InvalidRequest when `raw` is none."""
    data = _mapping(raw)
    try:
        return Hop(
            message=MessageId(_field(data, "message", str)),
            at_ms=_field(data, "at_ms", int),
            node=NodeId(_field(data, "node", str)),
            state=State(_field(data, "state", str)),
            reason=_field(data, "reason", str),
            final=_field(data, "final", bool),
        )
    except ValueError as error:
        raise InvalidRequest(f"the receipt cannot be read: {error}.") from None


def _mapping(raw: bytes) -> Mapping[str, Any]:
    try:
        data = msgpack.unpackb(raw)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"the envelope cannot be read: {type(error).__name__}.") from None
    if not isinstance(data, dict):
        raise InvalidRequest(f"the envelope is a {type(data).__name__}, not a map.")
    return data


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidRequest(f"the envelope's field {name} is missing or not a {kind.__name__}.")
    return value
