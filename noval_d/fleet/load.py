"""Measure what the machine has to do, now and then."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib import import_module

from nova_torch.nodes import Load
from noval_d.node.pulse import rest

log = logging.getLogger("nova.node")

EVERY_S = 15.0
ROUGH = 5.0  # per cent: what is told of a machine is no measurement


class Meter:
    """The last measurement."""

    def __init__(self) -> None:
        self.load = Load()

    def __repr__(self) -> str:
        return f"<Meter {self.load}>"

    async def run(self) -> None:
        """Measure until cancelled. The first figure of the processors is that since the start of the machine."""
        await asyncio.to_thread(import_module, "psutil")  # 10 ms; a measurement is done in 0.1 ms
        while True:
            try:
                self.load = measured()
            except OSError as error:
                log.info("node.load_unknown", extra={"problem": str(error)})
            await rest(EVERY_S)


def measured() -> Load:
    """Return the load since the last call."""
    import psutil

    return Load(
        cpu_percent=_rough(psutil.cpu_percent(None)),
        memory_percent=_rough(psutil.virtual_memory().percent),
        load_1m=round(os.getloadavg()[0], 1),
        cores=os.cpu_count(),
    )


def _rough(percent: float) -> float:
    return round(percent / ROUGH) * ROUGH
