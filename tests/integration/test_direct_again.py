"""Who sends without a daemon, or with one what came another way as well, is told: nothing is waited for in vain."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch import AsyncNovaOrchestrator, NovaOrchestrator
from nova_torch.again import SILENT_S, Again
from nova_torch.ulid import new_ulid
from nova_torch.values import Receipt
from tests.support.aio import run
from tests.support.office import NOWHERE
from tests.support.pair import Pair, pair

LIMIT_S = SILENT_S / 2
"""Sooner than what is merely silent is sent again."""


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture(autouse=True)
def password(both: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NOVA_TORCH_CONFIG", "DRAGONFLY_HOST", "DRAGONFLY_PORT", "TMUX", "TMUX_PANE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NOVA_BROKER_PASSWORD_FILE", str(both.password_file))


def url(both: Pair) -> str:
    return both.server.url_of("default")


def test_what_lay_in_its_mailbox_already_is_asked_for_soon_by_a_daemon_too(both: Pair) -> None:
    message = new_ulid()
    both.far.call("pause", {"agent_id": "there"})
    nova = NovaOrchestrator(socket=NOWHERE, broker=url(both))
    assert nova.send_message("there", "by both ways", message_id=message).state == "queued"
    assert both.near.send("there", "by both ways", id=message)["id"] == message
    both.near.wait_state(message, "queued")
    both.far.call("resume", {"agent_id": "there"})
    assert both.near.wait_state(message, "submitted", timeout_s=LIMIT_S)["final"]
    assert both.there.bytes().count(b"by both ways\r") == 1


def test_what_a_broker_lost_is_sent_again_by_whoever_follows_it_as_soon_as_that_is_back(both: Pair) -> None:
    assert both.far.process is not None
    daemon = both.far.process.pid

    async def through() -> Receipt:
        found: Receipt | None = None
        async with AsyncNovaOrchestrator(socket=NOWHERE, broker=url(both)) as nova:
            message = nova.compose("there", "through a loss")
            async for found in nova.updates(message, "submitted"):
                if found.state == "queued":
                    both.server.kill()
                    both.server.start()
                    os.kill(daemon, signal.SIGCONT)
        assert found is not None
        return found

    os.kill(daemon, signal.SIGSTOP)  # nobody reads the mailbox meanwhile
    try:
        assert run(through(), LIMIT_S).delivered
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert both.there.bytes().count(b"through a loss\r") == 1


def test_when_a_message_is_put_into_its_mailbox_again() -> None:
    again = Again(0.0, twin=False, losses=0)
    assert [again.due(now, 0) for now in (0.0, SILENT_S, SILENT_S + 1)] == [False, False, True]
    assert again.due(0.0, 1)  # the broker lost it
    again.done(1.0, 1, well=False)
    assert [again.due(now, 1) for now in (1.5, 2.5)] == [False, True]  # nobody had the mailbox yet
    again.done(3.0, 1, well=True)
    assert [again.due(now, 1) for now in (4.5, 5.5)] == [False, True]
    again.heard(6.0, 1)
    assert not again.due(7.0, 1)
    again.heard(60.0, 1)  # the same, read once more
    assert again.due(6.0 + SILENT_S, 1)
