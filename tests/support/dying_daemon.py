"""Run the daemon, and kill -9 it at one moment of a schedule's sending: the first time that it comes there.

`NOVA_TEST_DIE` names the moment, `NOVA_TEST_DIED` a file that says that it has happened.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from noval_d.__main__ import main
from noval_d.mailroom.outbox import Outbox
from noval_d.schedule.clockwork import Clockwork

MOMENTS = ("before it is written", "after it is written", "after the broker knows")


def _die() -> None:
    died = Path(os.environ["NOVA_TEST_DIED"])
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _around(method: Callable[..., Awaitable[Any]], *, before: bool = False) -> Any:
    async def wrapped(self: Any, *args: Any, **more: Any) -> Any:
        if before:
            _die()
        done = await method(self, *args, **more)
        _die()
        return done

    return wrapped


def _of_schedules(accept: Callable[..., Awaitable[Any]], dying: Any) -> Any:
    def chosen(self: Any, *args: Any, **more: Any) -> Awaitable[Any]:
        scheduled = str(more.get("reason")).startswith("schedule")
        return (dying if scheduled else accept)(self, *args, **more)

    return chosen


if __name__ == "__main__":
    moment = os.environ["NOVA_TEST_DIE"]
    if moment == MOMENTS[2]:
        Clockwork._send = _around(Clockwork._send)  # type: ignore[method-assign]
    else:
        dying = _around(Outbox.accept, before=moment == MOMENTS[0])
        Outbox.accept = _of_schedules(Outbox.accept, dying)  # type: ignore[method-assign]
    sys.exit(main())
