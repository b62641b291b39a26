"""The form in which a node is asked for something through the broker, and answers. No I/O.

Nodes ask each other, and programs that have no daemon ask nodes. What is signed is the packed ask or answer, with
the node that is asked and the id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from nova_torch.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for, by which node or program (`lib-…`), when (ms since the epoch), and with what."""

    what: str
    asker: str
    at_ms: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the node that was asked has told so far; `over`: nothing more comes. `error` is as on the wire."""

    steps: Sequence[Mapping[str, Any]]
    over: bool = False
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One event of a node for a program that watches: the `number`-th of this `run` of the node's daemon.

    Without an event: some were lost, since the program or the broker was too slow, and no more come.
    """

    node: str
    run: int
    number: int
    event: Mapping[str, Any] | None


def seal(packed: bytes, signature: str) -> bytes:
    """Return what lies in the broker."""
    return bytes(msgpack.packb([packed, signature]))


def unseal(raw: bytes) -> tuple[bytes, str]:
    """Return what is packed and its signature. Raises InvalidRequest."""
    packed, signature = _list(raw, 2)
    if not isinstance(packed, bytes) or not isinstance(signature, str):
        raise InvalidRequest("it is not sealed")
    return packed, signature


def pack_ask(ask: Ask) -> bytes:
    """Return an ask, packed."""
    return bytes(msgpack.packb([ask.what, ask.asker, ask.at_ms, dict(ask.details)]))


def read_ask(packed: bytes) -> Ask:
    """Return the ask. Raises InvalidRequest."""
    what, asker, at_ms, details = _list(packed, 4)
    if not isinstance(at_ms, int) or not isinstance(details, dict):
        raise InvalidRequest("it is not in the form of an ask")
    return Ask(what=str(what), asker=str(asker), at_ms=at_ms, details=details)


def pack_told(told: Told) -> bytes:
    """Return an answer, packed."""
    error = {} if told.error is None else {"error": dict(told.error)}
    return bytes(msgpack.packb({"steps": [dict(each) for each in told.steps], "over": told.over, **error}))


def read_told(packed: bytes) -> Told:
    """Return the answer. Raises InvalidRequest."""
    answer = _unpacked(packed)
    if not isinstance(answer, dict):
        raise InvalidRequest("it is not in the form of an answer")
    steps, error = answer.get("steps"), answer.get("error")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise InvalidRequest("its steps are no maps")
    if error is not None and not isinstance(error, dict):
        raise InvalidRequest("its error is no map")
    return Told(steps=steps, over=bool(answer.get("over")), error=error)


def pack_news(news: News) -> bytes:
    """Return an event for a program, packed."""
    event = None if news.event is None else dict(news.event)
    return bytes(msgpack.packb([news.node, news.run, news.number, event]))


def read_news(packed: bytes) -> News:
    """Return the event. Raises InvalidRequest."""
    node, run, number, event = _list(packed, 4)
    if not isinstance(run, int) or not isinstance(number, int) or not isinstance(event, (dict, type(None))):
        raise InvalidRequest("it is not in the form of an event")
    return News(node=str(node), run=run, number=number, event=event)


def _list(raw: bytes, length: int) -> list[Any]:
    found = _unpacked(raw)
    if not isinstance(found, list) or len(found) != length:
        raise InvalidRequest(f"it is no list of {length}")
    return found


def _unpacked(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw)
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"it cannot be unpacked: {type(error).__name__}") from None
