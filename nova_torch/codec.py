"""Turn messages and hops into bytes and back (msgpack). Unknown fields are ignored, wrong types refused.

A signature (`signing`) is a field beside the others, `sig`; nodes that know none pass it over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import msgpack

from nova_torch.errors import InvalidRequest, MessageNewer
from nova_torch.ulid import is_ulid
from nova_torch.values import SCHEMA, Form, Hop, Kind, Message, MessageId, NodeId, Priority, State

MAX_MS = 1 << 53
_FORMS = frozenset(Form)
_PRIORITIES = {priority.value: priority for priority in Priority}
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}
_TEXTS = {str}


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
    if not {*map(type, headers), *map(type, headers.values())} <= _TEXTS:
        raise InvalidRequest("the message's headers are not texts.")
    if headers.get("form", Form.AUTO) not in _FORMS:
        raise InvalidRequest("the message's form is unknown here.", "Upgrade this node.")
    id_, sender, target, body, priority, kind, correlation_id, reply_to, created_ms = _message_fields(data)
    try:
        message = Message(
            id=_id(id_, "id"),
            sender=sender,
            target=target,
            body=body,
            priority=_PRIORITIES.get(priority) or Priority(priority),
            kind=_KINDS.get(kind) or Kind(kind),
            correlation_id=correlation_id,
            reply_to=reply_to,
            created_ms=_time(created_ms, "created_ms"),
            expires_ms=None
            if data.get("expires_ms") is None
            else _time(_field(data, "expires_ms", int), "expires_ms"),
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
    message, at_ms, node, state, reason, final = _hop_fields(data)
    try:
        hop = Hop(
            message=_id(message, "message"),
            at_ms=_time(at_ms, "at_ms"),
            node=NodeId(node),
            state=_STATES.get(state) or State(state),
            reason=reason,
            final=final,
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


def _id(value: str, name: str) -> MessageId:
    """Return a message's id: a word of tmux commands, of file names and of the terminal, so never any text."""
    if not is_ulid(value):
        raise InvalidRequest(f"the envelope's field {name} is no ULID.")
    return MessageId(value)


def _time(value: int, name: str) -> int:
    if not 0 <= value < MAX_MS:
        raise InvalidRequest(f"the envelope's field {name} is no time.")
    return value


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if type(value) is not kind:
        raise InvalidRequest(f"the envelope's field {name} is missing or not a {kind.__name__}.")
    return value


def _fields(**kinds: type) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return what reads these fields, each of its kind, all at once."""
    pick, wanted = itemgetter(*kinds), list(kinds.values())

    def read(data: Mapping[str, Any]) -> tuple[Any, ...]:
        try:
            values: tuple[Any, ...] = pick(data)
        except KeyError:
            values = ()
        if list(map(type, values)) != wanted:
            return tuple(
                [_field(data, name, kind) for name, kind in kinds.items()]
            )  # which says what is wrong
        return values

    return read


_message_fields = _fields(
    id=str,
    sender=str,
    target=str,
    body=str,
    priority=str,
    kind=str,
    correlation_id=str,
    reply_to=str,
    created_ms=int,
)
_hop_fields = _fields(message=str, at_ms=int, node=str, state=str, reason=str, final=bool)
