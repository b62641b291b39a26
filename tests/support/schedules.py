"""Schedules for tests, made with little."""

from __future__ import annotations

from typing import Any

from nova_torch.sections import SigningSection
from nova_torch.signing import Keyring
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, NodeId
from noval_d.mailroom.seals import Seals
from noval_d.schedule.schedule import Mark, Schedule, ScheduleId
from noval_d.schedule.times import Kind, When

BEGAN = 1_790_000_000_000


def seals(node: NodeId, ring: Keyring | None = None) -> Seals:
    """Return seals of a node with these keys, or none, that check nothing."""
    return Seals(
        node,
        SigningSection(),
        ring or Keyring(),
        clock_ms=lambda: BEGAN,
        publish=lambda _: None,
        rejected=lambda *_, **__: None,
    )


def once(at_ms: int, **more: Any) -> Schedule:
    return made(When(kind=Kind.AT, at_ms=at_ms), done_ms=0, **more)


def every(every_ms: int, start_ms: int = BEGAN, **more: Any) -> Schedule:
    return made(When(kind=Kind.EVERY, at_ms=start_ms, every_ms=every_ms), done_ms=start_ms, **more)


def cron(text: str, tz: str, start_ms: int, **more: Any) -> Schedule:
    return made(When(kind=Kind.CRON, at_ms=start_ms, cron=text, tz=tz), done_ms=start_ms, **more)


def made(when: When, *, done_ms: int, **more: Any) -> Schedule:
    given = {
        "id": ScheduleId(new_ulid()),
        "agent": AgentId("alice"),
        "target": "alice",
        "sender": "user:someone",
        "body": "it is time",
        "when": when,
        "origin": NodeId("one"),
        "answers": "@one",
        "created_ms": BEGAN,
        "missed": "fire",
        "late_ms": 3_600_000,
        "mark": Mark(done_ms=done_ms),
        **more,
    }
    return Schedule(**given)
