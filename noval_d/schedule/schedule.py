"""What a schedule is: what never changes of it, and a mark that only moves forward. No I/O.

Copies of one schedule lie on several nodes and in the broker. What is asked for never changes, and of two marks the
greater one holds (`later`), so copies are put together in any order: a broker that was wiped, or came back from an
old snapshot, takes nothing back. Each time that a schedule is due has its own message id, made from the schedule's
id and that time: whoever sends it, it is one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NewType

import msgpack

from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AGENT_ID, AgentId, Form, MessageId, NodeId, Priority
from noval_d.schedule.times import LAST_MS, Kind, When, after

ScheduleId = NewType("ScheduleId", str)

SCHEMA = 1
MISSED = ("fire", "skip")
_TURNS, _DIGITS = 6, 16
MARK_FIELDS = 6
_CURSOR = 1 + _TURNS + _DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a schedule is: every time up to `done_ms` is decided. An `ended` one is over for good.

    `turn` counts how often the clock was set back so far that the mark had to follow.
    """

    done_ms: int = 0
    turn: int = 0
    ended: str = ""
    """Why it is over: finished, missed, failed or cancelled."""
    fired: int = 0
    last_ms: int = 0
    last_id: str = ""
    note: str = ""
    """Why it last did not fire, or failed."""

    def packed(self) -> str:
        """Return the mark as a text; of two, the greater text is the later mark, in Lua too."""
        cursor = f"{int(bool(self.ended))}{self.turn:0{_TURNS}d}{self.done_ms:0{_DIGITS}d}"
        note = self.note.replace("|", "/")
        return f"{cursor}|{self.ended}|{self.fired}|{self.last_ms}|{self.last_id}|{note}"

    @classmethod
    def unpacked(cls, text: str) -> Mark:
        """Read what `packed` wrote. Raises InvalidRequest."""
        try:
            cursor, ended, fired, last_ms, last_id, note = text.split("|")
            _hold(len(cursor) == _CURSOR and cursor.isdigit() and (cursor[0] == "1") == bool(ended))
            return cls(
                turn=int(cursor[1 : 1 + _TURNS]),
                done_ms=_time(int(cursor[1 + _TURNS :])),
                ended=ended,
                fired=int(fired),
                last_ms=int(last_ms),
                last_id=last_id,
                note=note,
            )
        except ValueError:
            raise InvalidRequest(f"{text[:40]!r} is no mark of a schedule.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A message that is sent later. All but `mark` is fixed when it is added."""

    id: ScheduleId
    agent: AgentId
    target: str
    """What was named: the agent, or a pane that was its."""
    sender: str
    body: str
    when: When
    origin: NodeId
    """The node where it was added, which keeps it."""
    answers: str
    """The mailbox for answers to its messages."""
    created_ms: int
    missed: str
    late_ms: int
    """How late a missed one may be sent."""
    priority: Priority = Priority.NORMAL
    form: Form = Form.AUTO
    ttl_s: float | None = None
    mark: Mark = Mark()

    def __repr__(self) -> str:
        over = f" {self.mark.ended}" if self.mark.ended else ""
        return f"<Schedule {self.id} {self.when.kind} {self.sender}->{self.agent} done={self.mark.done_ms}{over}>"

    @property
    def next_ms(self) -> int | None:
        """When it is due next; None when it is over."""
        return None if self.mark.ended else after(self.when, self.mark.done_ms)

    def marked(self, **changes: Any) -> Schedule:
        """Return it with these fields of its mark changed."""
        return replace(self, mark=replace(self.mark, **changes))

    def later(self, mark: Mark) -> Schedule:
        """Return it with the later of its own mark and `mark`."""
        return replace(self, mark=mark) if mark.packed() > self.mark.packed() else self

    def message_id(self, due_ms: int) -> MessageId:
        """Return the id of the message for the time `due_ms`: the same whoever sends it, and whenever."""
        if self.when.once:
            return MessageId(self.id)
        digest = hashlib.sha256(f"nova-torch schedule {self.id} {due_ms}".encode()).digest()
        return MessageId(new_ulid(due_ms, digest[:10]))

    def same_as(self, other: Schedule) -> bool:
        """Tell whether the two ask for the same, so that adding one again is not another.

        The body of one that is over is not at hand, and not compared.
        """
        mine = (self.agent, self.target, self.sender, self.when.kind, self.when.cron)
        theirs = (other.agent, other.target, other.sender, other.when.kind, other.when.cron)
        return mine == theirs and (bool(self.mark.ended) or self.body == other.body)


def asked(schedule: Schedule) -> dict[str, Any]:
    """Return all of a schedule but its mark; of one that is over without the body, which nobody will send."""
    when = schedule.when
    return {
        "schema": SCHEMA,
        "id": schedule.id,
        "agent": schedule.agent,
        "target": schedule.target,
        "sender": schedule.sender,
        "body": "" if schedule.mark.ended else schedule.body,
        "kind": str(when.kind),
        "at_ms": when.at_ms,
        "every_ms": when.every_ms,
        "cron": when.cron,
        "tz": when.tz,
        "origin": schedule.origin,
        "answers": schedule.answers,
        "created_ms": schedule.created_ms,
        "missed": schedule.missed,
        "late_ms": schedule.late_ms,
        "priority": str(schedule.priority),
        "form": str(schedule.form),
        "ttl_s": schedule.ttl_s,
    }


def pack(schedule: Schedule, signature: str = "") -> bytes:
    """Return what `asked` gives as bytes, with its signature if there is one."""
    return bytes(msgpack.packb({**asked(schedule), **({"sig": signature} if signature else {})}))


def signature_in(raw: bytes) -> str:
    """Return the signature in what `pack` wrote, of which `unpack` has said that it is that; empty without one."""
    signature = msgpack.unpackb(raw).get("sig")
    return signature if isinstance(signature, str) else ""


def unpack(raw: bytes, mark: str) -> Schedule:
    """Read what `pack` wrote, wherever it comes from. Raises InvalidRequest when it is not that."""
    try:
        data = msgpack.unpackb(raw)
        _hold(isinstance(data, Mapping) and int(data["schema"]) <= SCHEMA)
        when = When(
            kind=Kind(data["kind"]),
            at_ms=_time(data["at_ms"]),
            every_ms=_time(data["every_ms"]),
            cron=_text(data["cron"]),
            tz=_text(data["tz"]),
        )
        ttl_s = data["ttl_s"]
        _hold(is_ulid(_text(data["id"])) and AGENT_ID.match(_text(data["agent"])) is not None)
        _hold(data["missed"] in MISSED and (when.kind is not Kind.EVERY or when.every_ms > 0))
        _hold(ttl_s is None or isinstance(ttl_s, (int, float)))
        return Schedule(
            id=ScheduleId(data["id"]),
            agent=AgentId(data["agent"]),
            target=_text(data["target"]),
            sender=_text(data["sender"]),
            body=_text(data["body"]),
            when=when,
            origin=NodeId(_text(data["origin"])),
            answers=_text(data["answers"]),
            created_ms=_time(data["created_ms"]),
            missed=data["missed"],
            late_ms=_time(data["late_ms"]),
            priority=Priority(data["priority"]),
            form=Form(data["form"]),
            ttl_s=ttl_s,
            mark=Mark.unpacked(mark),
        )
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"a schedule cannot be read: {error}.", "Upgrade this node.") from None


def _hold(true: bool) -> None:
    if not true:
        raise ValueError("a field is wrong")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _time(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LAST_MS:
        raise ValueError("no time")
    return value
