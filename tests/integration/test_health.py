"""`novactl health` and the monitor: checks that see what is done to a real node."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from nova_torch import SystemHealth, SystemMonitor
from tests.support.agents import raw, tmux_pid
from tests.support.node import TestNode, node, until

ENV = {"NOVA_MONITORING_LOOP_LAG_MS": "100000", "NOVA_MONITORING_BROKER_PING_MS": "100000"}


def health(site: TestNode) -> SystemHealth:
    return SystemMonitor(socket=site.socket).get_system_health()


def test_health_sees_what_happens_to_a_node(tmp_path: Path) -> None:
    with node(env=ENV) as site:
        agent = raw(site, tmp_path)
        until(lambda: health(site).check("event_loop").status == "ok", what="a measured loop")
        done = site.novactl("health", "--json")
        assert done.returncode == 0, done.stdout
        document = json.loads(done.stdout)
        assert document["status"] == "ok"
        assert {check["name"] for check in document["checks"]} == {
            "broker", "lease", "registry", "outbox", "disk", "rss", "memory", "event_loop", "tmux", "state_file",
            "drivers",
        }  # fmt: skip
        uses = {use["name"]: use for use in document["processes"]}
        assert site.process is not None
        assert uses["node"]["pid"] == site.process.pid
        assert uses["node"]["rss_bytes"] > 10_000_000
        assert uses["raw"]["pid"] == int(site.tmux.value(agent.pane, "pane_pid"))
        assert "ok\tbroker\t" in site.novactl("health").stdout

        broker = int((site.state / "broker" / "broker.pid").read_text())
        os.kill(broker, signal.SIGSTOP)
        try:
            seen = health(site)
        finally:
            os.kill(broker, signal.SIGCONT)
        assert (seen.status, seen.check("broker").status) == ("fail", "fail")
        until(lambda: health(site).check("broker").status == "ok", what="the broker again")

        server = tmux_pid(site)
        os.kill(server, signal.SIGSTOP)
        try:
            until(lambda: health(site).check("tmux").status == "fail", 30, "a tmux that is missed")
            assert site.novactl("health").returncode == 1
        finally:
            os.kill(server, signal.SIGCONT)
        until(lambda: health(site).status == "ok", 30, "a node that is well")


def test_limits_of_the_configuration_hold() -> None:
    limits = {"NOVA_MONITORING_DISK_FREE_MIB": "900000000", "NOVA_MONITORING_RSS_MIB": "1"}
    with node(env={**ENV, **limits}) as site:
        seen = health(site)
        assert (seen.check("disk").status, seen.check("rss").status) == ("fail", "warn")
        assert seen.check("disk").limit == 900_000_000 * (1 << 20)
        assert site.novactl("health").returncode == 1
