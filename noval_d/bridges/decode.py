"""Make a draft of what a foreign program wrote: fields of a stream, JSON, msgpack or plain text. No I/O.

Whatever the bytes are, the result is a draft, a refusal with its reason, or nothing to do; nothing is raised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from nova_torch.clean import clean
from nova_torch.values import Kind, Priority
from noval_d.bridges.dialect import Dialect, common
from noval_d.bridges.draft import Decoded, Draft, Ignored, Refusal

MARK = "nova_event"
"""The field that only our own entries have."""
TEXTS = ("text", "message", "content", "body", "task", "prompt", "instructions", "description")
"""Where the words of a message are, in JSON that stands where a text could."""
ENVELOPES = frozenset({"data", "json", "msgpack", "envelope", "message", "payload"})
"""An entry of one field with such a name may hold the whole message."""
MAX_ID_CHARS = 200
OURS = Ignored(reason="written by a bridge")


class _Unreadable(Exception):
    """Why something cannot be read."""


def decode_fields(dialect: Dialect, pairs: Sequence[tuple[bytes, bytes]], *, most_bytes: int) -> Decoded:
    """Return what the fields of a stream's entry are."""
    try:
        return _draft(dialect, unpacked(pairs, most_bytes=most_bytes))
    except _Unreadable as why:
        return Refusal(reason=str(why))


def decode_bytes(dialect: Dialect, data: bytes, *, most_bytes: int) -> Decoded:
    """Return what was published: JSON, msgpack, or a text that is the body itself."""
    if len(data) > most_bytes:
        return Refusal(reason=f"it has {len(data)} bytes, the limit is {most_bytes}")
    try:
        value = _value(data)
        return _draft(dialect, value if isinstance(value, Mapping) else {dialect.body[0]: value})
    except _Unreadable as why:
        return Refusal(reason=str(why))


def read_fields(pairs: Sequence[tuple[bytes, bytes]], *, most_bytes: int) -> Mapping[str, Any] | Refusal:
    """Return the fields of an entry, or why they cannot be read."""
    try:
        return unpacked(pairs, most_bytes=most_bytes)
    except _Unreadable as why:
        return Refusal(reason=str(why))


def unpacked(pairs: Sequence[tuple[bytes, bytes]], *, most_bytes: int) -> Mapping[str, Any]:
    """Return an entry's fields, those of an envelope if there is one. Raises _Unreadable."""
    size = sum(len(name) + len(value) for name, value in pairs)
    if size > most_bytes:
        raise _Unreadable(f"it has {size} bytes, the limit is {most_bytes}")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        try:
            key = name.decode()
        except UnicodeDecodeError:
            raise _Unreadable(f"the name of a field is not UTF-8: {name[:40]!r}") from None
        fields[key] = _readable(value, key)
    if len(fields) == 1:
        ((key, value),) = fields.items()
        inner = _parsed(value) if key in ENVELOPES else value
        if isinstance(inner, Mapping):
            return {str(name): each for name, each in inner.items()}
    return fields


def priority_of(word: Any) -> Priority:
    """Return the priority that a foreign word means; what is not known is normal."""
    return Priority(common().priorities.get(str(word).strip().lower(), "normal"))


def word(value: Any) -> str:
    """Return a foreign name or id as one that can be written down: short, of whole characters, no controls."""
    if not isinstance(value, (str, int, float)):
        return ""
    try:
        return clean(str(value)[:MAX_ID_CHARS]).encode(errors="replace").decode().replace("\n", " ")
    except ValueError:  # a number of thousands of digits
        return ""


def text_of(value: Any) -> str:
    """Return the words of a body: its text, and what else its JSON says below. Raises _Unreadable."""
    value = _parsed(value)
    if isinstance(value, Mapping):
        fields = {str(name): each for name, each in value.items()}
        key = next((k for k in TEXTS if isinstance(fields.get(k), str) and fields[k].strip()), None)
        if key is None:
            return _written(fields) if fields else ""
        rest = {name: each for name, each in fields.items() if name != key and each not in ("", None, [], {})}
        return fields[key] if not rest else f"{fields[key]}\n\n{_written(rest)}"
    if value is None:
        return ""
    return value if isinstance(value, str) else _written(value)


def _draft(dialect: Dialect, fields: Mapping[str, Any]) -> Decoded:
    if MARK in fields:
        return OURS
    parts = [
        text_of(found) for name in (dialect.body, dialect.more) if (found := _find(fields, name)) is not None
    ]
    body = "\n\n".join(part for part in parts if part.strip())
    if not body:
        return Refusal(reason=f"no text in {', '.join(dialect.body)}")
    kind = _word(fields, dialect.type).lower()
    return Draft(
        body=body,
        sender=_word(fields, dialect.sender),
        target=_word(fields, dialect.target),
        correlation=_word(fields, dialect.correlation),
        priority=priority_of(_word(fields, dialect.priority)),
        kind=Kind.TASK if kind in common().tasks else Kind.MESSAGE,
        id=_word(fields, dialect.id),
        asks=kind not in common().tells,
        answers=kind in common().answers,
    )


def _find(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first of these fields that says something; a dot leads into one that holds JSON."""
    for name in names:
        outer, _, inner = name.partition(".")
        value = fields.get(outer)
        if inner:
            try:
                value = _parsed(value)
            except _Unreadable:
                continue
            value = value.get(inner) if isinstance(value, Mapping) else None
        if value not in (None, "", b""):
            return value
    return None


def _word(fields: Mapping[str, Any], names: Sequence[str]) -> str:
    return word(_find(fields, names))


def _value(data: bytes) -> Any:
    """Return what bytes hold: JSON, msgpack, or a text."""
    if not data:
        raise _Unreadable("it is empty")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _msgpack(data)
    return _parsed(text)


def _readable(value: bytes, name: str) -> Any:
    """Return a field's value: a text, or the map that its msgpack holds."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        try:
            return _msgpack(value)
        except _Unreadable:
            raise _Unreadable(f"the field {name[:40]!r} is neither UTF-8 nor msgpack") from None


def _msgpack(data: bytes) -> Any:
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException):
        raise _Unreadable("it is neither UTF-8 nor msgpack") from None
    if not isinstance(value, Mapping):
        raise _Unreadable("it is neither UTF-8 nor a map in msgpack")
    return {str(name): each for name, each in value.items()}


def _parsed(value: Any) -> Any:
    """Return what a text that begins like JSON holds; other texts are themselves."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[", '"')):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        if not value.lstrip().startswith("{"):  # "quoted words", or [a tag]
            return value
        raise _Unreadable(f"it begins like JSON and is none ({type(error).__name__})") from None


def _written(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        raise _Unreadable(f"it cannot be shown ({type(error).__name__})") from None
