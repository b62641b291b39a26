"""Write answers and receipts in the dialect that a message came by. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nova_torch.values import MessageId
from noval_d.bridges.dialect import dialects
from noval_d.bridges.draft import Origin, Outward


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What became of a bridged message: a state on the way, a verdict, or (with `body`) an answer."""

    message: MessageId
    key: str
    """Under which it is told once."""
    agent: str
    state: str
    reason: str = ""
    final: bool = False
    body: str | None = None
    at_ms: int

    @property
    def event(self) -> str:
        """What makes it known when it is written again."""
        return f"{self.message}.{self.key}"


def encode(origin: Origin, telling: Telling) -> list[Outward]:
    """Return what is written for the foreign sender of a message."""
    if not origin.replies:
        return []
    dialect = dialects()[origin.dialect]
    parts = parts_of(origin, telling, dialect.types["reply" if telling.body is not None else "receipt"])
    fields = {name: parts[part] for name, part in dialect.out.items()}
    made = [Outward(via=origin.via, name=origin.replies, fields=fields)]
    if origin.notify:
        notice = {
            "id": telling.event,
            "stream": origin.replies,
            "sender_id": telling.agent,
            "timestamp": parts["at_ms"],
        }
        made.append(Outward(via="channel", name=origin.notify, fields=notice))
    return made


def parts_of(origin: Origin, telling: Telling, kind: str) -> dict[str, str]:
    """Return every part of an answer that a dialect may have a field for."""
    text = telling.body if telling.body is not None else telling.state
    payload = {
        "text": text,
        "state": telling.state,
        "reason": "" if telling.body is not None else telling.reason,
        "message_id": telling.message,
        "in_reply_to": origin.entry,
        "final": telling.final,
    }
    return {
        "event": telling.event,
        "agent": telling.agent,
        "sender": origin.sender,
        "type": kind,
        "correlation": origin.correlation or origin.entry,
        "priority": origin.priority,
        "at_s": f"{telling.at_ms / 1000:.3f}",
        "at_ms": str(telling.at_ms),
        "at_iso": iso(telling.at_ms),
        "text": text,
        "payload": json.dumps(payload, ensure_ascii=False),
    }


def published(fields: Mapping[str, str], event: str, mark: str) -> bytes:
    """Return what is published of these fields: a JSON object with the mark that it is ours."""
    return json.dumps({**fields, mark: event}, ensure_ascii=False).encode()


def iso(at_ms: int) -> str:
    """Return a time in ISO 8601, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
