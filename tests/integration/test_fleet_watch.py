"""A program that watches the fleet without a daemon, and is late to say that it still does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from nova_torch import AsyncNovaOrchestrator
from nova_torch.errors import Lagged
from tests.support.aio import run
from tests.support.office import NOWHERE, at_home, office

FLEET_WATCH = "nova_torch.communication.fleet_watch"


def test_what_happened_while_a_watch_had_lapsed_is_told_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{FLEET_WATCH}.HOLDS_S", 1)
    monkeypatch.setattr(f"{FLEET_WATCH}.AGAIN_S", 2.5)

    async def watching() -> None:
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=site.broker) as nova:

            async def sending() -> None:
                while True:
                    await nova.send_message("agent_123", "is it seen?", wait="submitted", timeout_s=20)

            async def seeing() -> None:
                async with aclosing(nova.events(agent="agent_123")) as flow:
                    async for event in flow:
                        assert event.agent == "agent_123"
                        seen.append(event.id)

            seen: list[str] = []
            sender = asyncio.create_task(sending())
            try:
                with pytest.raises(Lagged, match="were lost on the way"):
                    await seeing()
            finally:
                sender.cancel()
                await asyncio.wait([sender])
            assert seen

    with office(tmp_path) as site:
        at_home(site, monkeypatch)
        run(watching(), 40)
