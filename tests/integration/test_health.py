"""`novactl health` and the monitor: checks that see what is done to a real node."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from nova_torch import AgentRegistry, SystemHealth, SystemMonitor
from nova_torch.performance import Performance
from tests.support.agents import raw, tmux_pid, tui
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
            "drivers", "driver_drift",
        }  # fmt: skip
        found = {
            "claude": {"code": "driver_drift", "message": "Claude Code 9: busy was not seen.", "at_ms": 1}
        }
        (site.state / "drivers.json").write_text(json.dumps(found))
        drifted = health(site)
        assert (drifted.status, drifted.check("driver_drift").value) == ("warn", 1.0)
        assert "Claude Code 9: busy was not seen." in drifted.check("driver_drift").message
        (site.state / "drivers.json").unlink()
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
            until(lambda: health(site).check("tmux").status == "fail", 45, "a tmux that is missed")
            assert site.novactl("health").returncode == 1
        finally:
            os.kill(server, signal.SIGCONT)
        until(lambda: health(site).status == "ok", 45, "a node that is well")


def test_an_agents_performance_is_what_became_of_its_messages(tmp_path: Path) -> None:
    with node(env=ENV) as site:
        registry = AgentRegistry(socket=site.socket)

        def figures(agent: str) -> Performance:
            (found,) = (record for record in registry.list_agents() if record.agent_id == agent)
            return found.performance

        raw(site, tmp_path)
        hooked = tui(site, tmp_path, "hooked", hooks=True)
        assert figures("raw") == Performance()
        assert figures("raw").success_rate is None
        for text in ("one", "two", "three"):
            site.send_wait("raw", text)
            site.send_wait("hooked", text, wait="acknowledged")
        site.tmux.tmux("copy-mode", "-t", hooked.pane)
        late = site.send("hooked", "nobody sees it", ttl_s=0.3)["id"]
        site.wait_state(late, "expired")
        for _ in range(2):  # and the same once more, read back from the ledger by a new daemon
            assert (figures("raw").messages, figures("raw").submitted) == (3, 3)
            mine = figures("hooked")
            assert (mine.messages, mine.acknowledged, mine.failed, mine.success_rate) == (4, 3, 1, 0.75)
            assert mine.ack_median_s is not None
            assert 0 < mine.ack_median_s < 30
            site.kill()
            site.start()
            site.wait_up()


def test_limits_of_the_configuration_hold() -> None:
    limits = {"NOVA_MONITORING_DISK_FREE_MIB": "900000000", "NOVA_MONITORING_RSS_MIB": "1"}
    with node(env={**ENV, **limits}) as site:
        seen = health(site)
        assert (seen.check("disk").status, seen.check("rss").status) == ("fail", "warn")
        assert seen.check("disk").limit == 900_000_000 * (1 << 20)
        assert site.novactl("health").returncode == 1
