"""Keep the blocking commands that are on their way: who stops waiting for one loses nothing that it took."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

Flight = asyncio.Future[list[Any]]
"""The replies to a blocking command, and to one before it."""


class Flights:
    """What is on its way, by name. A flight is never cancelled but by `give_up`: the server would not know."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __repr__(self) -> str:
        return f"{sorted(self._flights)}"

    def find(self, name: str) -> Flight | None:
        """Return the flight of this name, if somebody left it."""
        return self._flights.get(name)

    def begin(self, name: str, flight: Flight) -> Flight:
        """Keep a flight."""
        self._flights[name] = flight
        return flight

    async def land(self, name: str, flight: Flight, *, takes: bool) -> None:
        """Wait until it has its replies; then it is kept no longer.

        Who is cancelled meanwhile leaves it, for the next one who asks for this name; with `takes` false, when its
        command takes nothing from the server, until its replies are there.
        """
        if not flight.done():
            landed = asyncio.get_running_loop().create_future()
            flight.add_done_callback(partial(_wake, landed))
            try:
                await landed
            except asyncio.CancelledError:
                if not takes:
                    flight.add_done_callback(partial(self._forget, name))
                raise
        self._forget(name, flight)

    async def give_up(self) -> None:
        """Cancel all of them."""
        flights, self._flights = list(self._flights.values()), {}
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _forget(self, name: str, flight: Flight) -> None:
        if not flight.cancelled():
            flight.exception()  # seen, whether somebody waits for it or not
        if self._flights.get(name) is flight:
            del self._flights[name]


def _wake(waiting: asyncio.Future[None], _: object) -> None:
    if not waiting.done():
        waiting.set_result(None)
