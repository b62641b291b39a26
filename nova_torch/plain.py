"""Run one asynchronous call from a program without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from nova_torch.errors import InvalidRequest

T = TypeVar("T")


def run(coro: Coroutine[Any, Any, T], *, name: str) -> T:
    """Run `coro` and return its result. Raises InvalidRequest inside a running event loop.

    `name` is the class whose twin `Async…` is meant for that.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        inside = False
    else:
        inside = True
    if not inside:  # out of the `except`, so that errors show no other one before them
        return asyncio.run(coro)
    coro.close()
    raise InvalidRequest(f"{name} was called inside a running event loop.", f"Use Async{name} and await it.")
