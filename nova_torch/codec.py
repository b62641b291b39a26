"""Turn messages and hops into bytes and back (msgpack). Unknown fields are ignored, wrong types refused.

A signature (`signing`) is a field beside the others, `sig`; nodes that know none pass it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from nova_torch.errors import InvalidRequest, MessageNewer
from nova_torch.ulid import is_ulid
from nova_torch.values import SCHEMA, Form, Hop, Kind, Message, MessageId, NodeId, Priority, State

MAX_MS = 1 << 53
_FORMS = frozenset(Form)


def encode_message(message: Message, signature: str = "") -> bytes:
    """Return the envelope of `message`, with its signature if there is one."""
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
                **({"sig": signature} if signature else {}),
            }
        )
    )


def decode_message(raw: bytes) -> Message:
    """Return the message of an envelope, whoever signed it. Raises InvalidRequest, as `decode_signed`."""
    return decode_signed(raw)[0]


def decode_signed(raw: bytes) -> tuple[Message, str]:
    """Return the message of an envelope and its signature, empty when it has none.

    Raises InvalidRequest when `raw` is no envelope, a field is missing or of the wrong type, the id is no ULID,
    or the form is newer than this version knows; MessageNewer when the schema is.
    """
    data = _mapping(raw)
    schema = _field(data, "schema", int)
    if schema > SCHEMA:
        raise MessageNewer(
            f"the message has schema {schema}, this node knows {SCHEMA}.", "Upgrade this node."
        )
    headers = _field(data, "headers", dict)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in headers.items()):
        raise InvalidRequest("the message's headers are not texts.")
    if headers.get("form", Form.AUTO) not in _FORMS:
        raise InvalidRequest("the message's form is unknown here.", "Upgrade this node.")
    try:
        message = Message(
            id=_id(data, "id"),
            sender=_field(data, "sender", str),
            target=_field(data, "target", str),
            body=_field(data, "body", str),
            priority=Priority(_field(data, "priority", str)),
            kind=Kind(_field(data, "kind", str)),
            correlation_id=_field(data, "correlation_id", str),
            reply_to=_field(data, "reply_to", str),
            created_ms=_time(data, "created_ms"),
            expires_ms=None if data.get("expires_ms") is None else _time(data, "expires_ms"),
            headers=headers,
            schema=schema,
        )
    except ValueError as error:
        raise InvalidRequest(f"the message cannot be read: {error}.") from None
    return message, _signature(data)


def encode_hop(hop: Hop, signature: str = "") -> bytes:
    """Return the receipt that travels back to the sender's node, with its signature if there is one."""
    return bytes(
        msgpack.packb(
            {
                "message": hop.message,
                "at_ms": hop.at_ms,
                "node": hop.node,
                "state": str(hop.state),
                "reason": hop.reason,
                "final": hop.final,
                **({"of": hop.of} if hop.of else {}),
                **({"sig": signature} if signature else {}),
            }
        )
    )


def decode_hop(raw: bytes) -> Hop:
    """Return the hop of a receipt; raises InvalidRequest when `raw` is none."""
    return decode_signed_hop(raw)[0]


def decode_signed_hop(raw: bytes) -> tuple[Hop, str]:
    """Return the hop of a receipt and its signature; raises InvalidRequest when `raw` is none."""
    data = _mapping(raw)
    try:
        hop = Hop(
            message=_id(data, "message"),
            at_ms=_time(data, "at_ms"),
            node=NodeId(_field(data, "node", str)),
            state=State(_field(data, "state", str)),
            reason=_field(data, "reason", str),
            final=_field(data, "final", bool),
            of=_field(data, "of", str) if "of" in data else "",
        )
    except ValueError as error:
        raise InvalidRequest(f"the receipt cannot be read: {error}.") from None
    return hop, _signature(data)


def _mapping(raw: bytes) -> Mapping[str, Any]:
    try:
        data = msgpack.unpackb(raw)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"the envelope cannot be read: {type(error).__name__}.") from None
    if not isinstance(data, dict):
        raise InvalidRequest(f"the envelope is a {type(data).__name__}, not a map.")
    return data


def _signature(data: Mapping[str, Any]) -> str:
    signature = data.get("sig")
    return signature if isinstance(signature, str) else ""


def _id(data: Mapping[str, Any], name: str) -> MessageId:
    """Return a message's id: a word of tmux commands, of file names and of the terminal, so never any text."""
    value = _field(data, name, str)
    if not is_ulid(value):
        raise InvalidRequest(f"the envelope's field {name} is no ULID.")
    return MessageId(value)


def _time(data: Mapping[str, Any], name: str) -> int:
    value = int(_field(data, name, int))
    if not 0 <= value < MAX_MS:
        raise InvalidRequest(f"the envelope's field {name} is no time.")
    return value


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if type(value) is kind:
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidRequest(f"the envelope's field {name} is missing or not a {kind.__name__}.")
    return value
