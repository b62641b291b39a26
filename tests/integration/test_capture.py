"""The capture sees what runs on a server, inside scripts and without MONITOR's help."""

from __future__ import annotations

import pytest

from nova_torch.broker import EmbeddedBroker
from tests.support.broker import Site, ask, capture_commands


def test_what_is_allowed_passes_and_is_seen(site: Site) -> None:
    with capture_commands(site.server.socket_path) as capture:
        ask(
            site.server.socket_path,
            "EVAL",
            "return redis.call('SET', KEYS[1], '1')",
            "1",
            f"{site.prefix}:{{t}}",
        )
    assert {"EVAL", "SET"} <= capture.seen


def outside(server: EmbeddedBroker, *words: str) -> None:
    with pytest.raises(AssertionError, match="commands outside"), capture_commands(server.socket_path):
        ask(server.socket_path, *words)


def test_what_is_not_allowed_fails_the_block(uncaptured_server: EmbeddedBroker) -> None:
    outside(uncaptured_server, "GEOADD", "k", "1", "2", "a")
    outside(uncaptured_server, "SET", "k", "2", "KEEPTTL")
    outside(uncaptured_server, "EVAL", "return redis.call('INCR', KEYS[1])", "1", "{t}:k")
    outside(uncaptured_server, "EVAL", "return redis.call('GET', '{t}:other')", "1", "{t}:k")


def test_an_administrative_command_that_monitor_hides_is_caught(uncaptured_server: EmbeddedBroker) -> None:
    outside(uncaptured_server, "CONFIG", "SET", "maxmemory", "0")
