"""Say when a schedule is due: once, every so often, or by a cron expression in a time zone. No clock of its own.

All times are milliseconds since the epoch. A cron expression is read by `cronsim`, which treats changed clocks as
Debian's cron does: what falls into the hour that is left out runs once right after it, a time that comes twice
counts the first time, and what runs every hour or more often follows real time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from nova_torch.errors import InvalidRequest
from nova_torch.nearest import suggestion

MAX_TEXT = 200
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\Z")
_FIELDS = 5
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The short words of crontab(5), which the library does not know. There is no @reboot: nothing here boots."""
CRON_CURE = 'Minute, hour, day of the month, month, day of the week, such as "0 9 * * MON-FRI".'
LAST_MS = 221_845_392_000_000
"""The year 9000: later times are no times, so that a calendar never ends while one is looked for."""


class Kind(StrEnum):
    """How often a schedule is due."""

    AT = "at"
    EVERY = "every"
    CRON = "cron"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a schedule is due. `tz` is the name of the zone that it was meant in."""

    kind: Kind
    at_ms: int
    """`at`: the time. `every`: the time from which on the periods are counted."""
    every_ms: int = 0
    cron: str = ""
    tz: str = "UTC"

    @property
    def once(self) -> bool:
        """Whether it is due only once."""
        return self.kind is Kind.AT


def after(when: When, mark_ms: int) -> int | None:
    """Return the first time later than `mark_ms`, or None when none comes."""
    match when.kind:
        case Kind.AT:
            return when.at_ms if when.at_ms > mark_ms else None
        case Kind.EVERY:
            turns = max((mark_ms - when.at_ms) // when.every_ms, 0) + 1
            return when.at_ms + turns * when.every_ms
        case Kind.CRON:
            return next(_cron(when, mark_ms), None)


def latest(when: When, after_ms: int, until_ms: int) -> int | None:
    """Return the last time later than `after_ms` and not later than `until_ms`, or None."""
    if until_ms <= after_ms:
        return None
    match when.kind:
        case Kind.AT:
            return when.at_ms if after_ms < when.at_ms <= until_ms else None
        case Kind.EVERY:
            turns = (until_ms - when.at_ms) // when.every_ms
            due = when.at_ms + turns * when.every_ms
            return due if turns > 0 and due > after_ms else None
        case Kind.CRON:
            found: int | None = None
            for due in _cron(when, after_ms):
                if due > until_ms:
                    break
                found = due
            return found


def zone(name: str) -> tzinfo:
    """Return the time zone of this name. Raises InvalidRequest with the nearest one."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        cure = suggestion(name[:64], available_timezones(), otherwise="Such as Europe/Berlin or UTC.")
        raise InvalidRequest(f"there is no time zone {name[:64]!r}.", cure) from None


def read_at(text: str, tz: str, now_ms: int) -> int:
    """Return the time that `text` names: `17:30` (the next one), `2026-12-01 09:00`, or with its own offset.

    A time that comes twice, as clocks go back, is the first one. Raises InvalidRequest, also for a time that the
    clocks leave out and for one that is past.
    """
    home = zone(tz)
    words = text.strip()
    if not words or len(words) > MAX_TEXT or not words.isprintable():
        raise InvalidRequest(f"{words[:40]!r} is not a time.", "Write 17:30 or 2026-12-01 09:00.")
    now = _moment(now_ms, home)
    clock = _TIME_OF_DAY.match(words)
    try:
        if clock is not None:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            day = now.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
            meant = day if _ms(day) > now_ms else day + timedelta(days=1)
        else:
            meant = datetime.fromisoformat(words)
            if not re.search(r"\d{2}:?\d{2}", words[8:]):
                raise InvalidRequest(f"{words} is a day without a time.", f"Write: {words} 09:00")
            meant = meant if meant.tzinfo is not None else meant.replace(tzinfo=home)
        at_ms = _ms(meant)
        back = _moment(at_ms, meant.tzinfo or home)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{words!r} is not a time.", "Write 17:30 or 2026-12-01 09:00.") from None
    if back.replace(tzinfo=None) != meant.replace(tzinfo=None, fold=0).replace(microsecond=back.microsecond):
        raise InvalidRequest(
            f"{words} does not exist in {tz} on that day: the clocks go forward then.",
            f"After that it is {back:%H:%M}.",
        )
    if at_ms <= now_ms:
        raise InvalidRequest(f"{words} ({shown(at_ms, tz)}) is past.", "Give a later --at, or --in 5m.")
    return at_ms


def read_cron(text: str, tz: str, now_ms: int) -> When:
    """Return when a cron expression of five fields, or a word such as @daily, is due.

    Raises InvalidRequest with the reason.
    """
    zone(tz)
    words = " ".join(text.split())
    if words.startswith("@"):
        words = _NAMED.get(words.lower()) or _unknown(words)
    if len(words) > MAX_TEXT or len(words.split()) != _FIELDS:
        raise InvalidRequest(
            f"{words[:40]!r} is no cron expression: it does not have {_FIELDS} fields.",
            CRON_CURE,
        )
    when = When(kind=Kind.CRON, at_ms=now_ms, cron=words, tz=tz)
    if after(when, now_ms) is None:
        raise InvalidRequest(f"{words!r} is never due.", "Such a day does not come.")
    return when


def _unknown(word: str) -> str:
    cure = suggestion(word[:40].lower(), _NAMED, otherwise=f"There are: {', '.join(_NAMED)}.")
    raise InvalidRequest(f"{word[:40]!r} is no short word of cron.", cure)


def explained(when: When) -> str:
    """Return in words when it is due, as far as it repeats."""
    if when.kind is not Kind.CRON:
        return ""
    return str(_sim(when, datetime.fromtimestamp(when.at_ms / 1000, UTC)).explain())


def shown(at_ms: int, tz: str) -> str:
    """Return a time for people, in this zone: `2026-12-01 09:00:00 CET`."""
    return f"{_moment(min(at_ms, LAST_MS), zone(tz)):%Y-%m-%d %H:%M:%S %Z}"


def _cron(when: When, mark_ms: int) -> Iterator[int]:
    sim = _sim(when, _moment(mark_ms, zone(when.tz)))
    for moment in sim:
        due = _ms(moment)
        if due > mark_ms:  # within the hour that comes twice the first 02:30 is found although it is past
            yield due


def _sim(when: When, start: datetime) -> CronSim:
    try:
        return CronSim(when.cron, start)
    except CronSimError as error:
        raise InvalidRequest(
            f"{when.cron[:40]!r} is no cron expression: {_lower(str(error))}.", CRON_CURE
        ) from None


def _moment(at_ms: int, home: tzinfo) -> datetime:
    seconds, millis = divmod(at_ms, 1000)
    return datetime.fromtimestamp(seconds, home).replace(microsecond=millis * 1000)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
