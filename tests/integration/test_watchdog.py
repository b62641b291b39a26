"""systemd's watchdog is fed while every part of the daemon moves, and by nothing else."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.manager import manager
from tests.support.node import node
from tests.support.stuck_daemon import STUCK

BRIDGES = """
[bridges]
dialects = ["torch", "dot", "wake", "colon", "boomerang", "registry", "monitoring"]
"""
LIMIT_S = 5.0  # two of the parts wait two seconds for the broker


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_an_idle_node_feeds_until_it_is_stopped(tmp_path: Path, abstract: bool) -> None:
    """Also one with every part that the configuration can add."""
    config = tmp_path / "config.toml"
    config.write_text(BRIDGES if abstract else "")
    with manager(abstract=abstract) as heard:
        env = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": str(int(LIMIT_S * 1e6))}
        with node(env={**env, "NOVA_TORCH_CONFIG": str(config)}) as made:
            assert heard.fed(LIMIT_S)
            assert heard.fed(LIMIT_S)
            assert made.process is not None
            made.process.send_signal(signal.SIGSTOP)
            try:
                assert not heard.fed(LIMIT_S)
            finally:
                made.process.send_signal(signal.SIGCONT)
            assert heard.fed(LIMIT_S)
            assert made.stop() == 0
            assert "STOPPING=1" in heard.drain()


def test_one_stuck_part_stops_the_food_and_is_named_while_the_rest_goes_on() -> None:
    with manager() as heard:
        env = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": str(int(LIMIT_S * 1e6))}
        with node(start=False, env=env) as made:
            made.module = "tests.support.stuck_daemon"
            made.start()
            assert heard.fed(LIMIT_S)
            (made.state / STUCK).touch()
            assert "stuck: lag" in heard.status("stuck")
            assert not heard.fed(LIMIT_S)
            assert made.call("ping")["node"] == "test-node"
            assert "node.part_stuck parts=lag" in made.log()


@pytest.mark.parametrize(
    "env",
    [{"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "often"}],
    ids=["another process", "off", "no number"],
)
def test_nothing_is_fed_when_systemd_does_not_ask_this_process(env: dict[str, str]) -> None:
    with manager() as heard, node(env={"NOTIFY_SOCKET": heard.address, **env}):
        assert not heard.fed(1.0)
