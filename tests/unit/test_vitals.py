"""What figures mean: each limit, what is unknown, and which process belongs to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.monitoring.health import HealthCheck, HealthStatus, SystemHealth, overall
from nova_torch.sections import MonitoringSection
from noval_d.vitals.checks import MIB, Readings, drift, judged, of_findings
from noval_d.vitals.lag import PERIOD_S, LoopLag
from noval_d.vitals.processes import grown
from tests.support.aio import run

LIMITS = MonitoringSection()
WELL = Readings(
    broker_problem="",
    broker_ping_ms=0.4,
    broker_warnings=(),
    lease_left_s=18.0,
    lease_s=20.0,
    stale_nodes=(),
    outbox_oldest_s=None,
    outbox_open=0,
    disk_free_bytes=1000 * MIB,
    state_dir="/var/lib/nova",
    rss_bytes=60 * MIB,
    memory_percent=40.0,
    loop_lag_ms=3.0,
)


def by_name(read: Readings) -> dict[str, HealthCheck]:
    return {check.name: check for check in judged(read, LIMITS)}


def test_a_node_that_is_well_is_ok_in_everything() -> None:
    checks = by_name(WELL)
    assert {check.status for check in checks.values()} == {HealthStatus.OK}
    assert list(checks) == ["broker", "lease", "registry", "outbox", "disk", "rss", "memory", "event_loop"]
    assert not any(check.hint for check in checks.values())
    assert all(check.unit and check.message for check in checks.values())


FITS = {"code": "driver_fits", "message": "Claude Code 2 fits.", "at_ms": 1000}
DRIFTS = {"code": "driver_drift", "message": "Codex 3: idle: expected idle, seen busy.", "at_ms": 61_000}


@pytest.mark.parametrize(
    ("tried", "status", "value", "said"),
    [
        (None, "unknown", None, "No driver was tried"),
        ([FITS], "unknown", None, "No driver was tried"),
        (
            {"claude": {"code": "driver_not_tried", "message": "x", "at_ms": 1}, "codex": 5},
            "unknown",
            None,
            "",
        ),
        ({"claude": FITS}, "ok", 0.0, "1 drivers fitted when they were tried, 2m ago at the longest."),
        ({"claude": FITS, "codex": DRIFTS}, "warn", 1.0, "60s ago: Codex 3: idle: expected idle, seen busy."),
    ],
)
def test_what_the_last_trial_of_drivers_found_is_judged(
    tried: object, status: str, value: float | None, said: str
) -> None:
    check = drift(tried, 121_000)
    assert (check.status, check.value) == (status, value)
    assert said in check.message


@pytest.mark.parametrize(
    ("name", "read", "status"),
    [
        ("broker", replace(WELL, broker_ping_ms=None, broker_problem="gone."), "fail"),
        ("broker", replace(WELL, broker_ping_ms=50.1), "warn"),
        ("broker", replace(WELL, broker_ping_ms=50.0), "ok"),
        (
            "broker",
            replace(WELL, broker_warnings=("DragonflyDB 1.39 is older than 1.40.1; update it.",)),
            "warn",
        ),
        ("lease", replace(WELL, lease_left_s=0.0), "fail"),
        ("lease", replace(WELL, lease_left_s=-3.0), "fail"),
        ("registry", replace(WELL, stale_nodes=("far",)), "warn"),
        ("registry", replace(WELL, stale_nodes=None), "unknown"),
        ("outbox", replace(WELL, outbox_oldest_s=300.0, outbox_open=3), "ok"),
        ("outbox", replace(WELL, outbox_oldest_s=300.5, outbox_open=3), "warn"),
        ("disk", replace(WELL, disk_free_bytes=255 * MIB), "warn"),
        ("disk", replace(WELL, disk_free_bytes=63 * MIB), "fail"),
        ("disk", replace(WELL, disk_free_bytes=None), "unknown"),
        ("rss", replace(WELL, rss_bytes=513 * MIB), "warn"),
        ("rss", replace(WELL, rss_bytes=None), "unknown"),
        ("memory", replace(WELL, memory_percent=95.5), "warn"),
        ("event_loop", replace(WELL, loop_lag_ms=251.0), "warn"),
        ("event_loop", replace(WELL, loop_lag_ms=2501.0), "fail"),
        ("event_loop", replace(WELL, loop_lag_ms=None), "unknown"),
    ],
)
def test_each_limit(name: str, read: Readings, status: str) -> None:
    check = by_name(read)[name]
    assert check.status == status
    assert bool(check.hint) <= (status in ("warn", "fail"))


def test_the_worst_counts_and_what_is_unknown_does_not() -> None:
    def check(status: str) -> HealthCheck:
        return HealthCheck(name="x", status=HealthStatus(status), message="")

    assert overall([check("ok"), check("unknown")]) == "ok"
    assert overall([check("ok"), check("fail"), check("warn")]) == "fail"
    assert overall([check("warn"), check("ok")]) == "warn"
    assert overall([check("unknown")]) == "unknown"
    assert overall([]) == "unknown"


def test_findings_become_one_check_with_the_worst_first() -> None:
    check = of_findings(
        "drivers", [("warning", "Second.", "b"), ("error", "First.", "a"), ("ok", "Fine.", "")]
    )
    assert (check.status, check.message, check.hint, check.value) == ("fail", "First. Second.", "a", 2.0)
    assert of_findings("drivers", []).status == "ok"


def test_a_health_document_survives_its_json() -> None:
    health = SystemHealth(
        node="n", at_ms=5, status=HealthStatus.OK, checks=tuple(judged(WELL, LIMITS)), processes=()
    )
    assert SystemHealth.from_json(health.to_json()) == health
    assert health.check("disk").unit == "bytes"
    with pytest.raises(KeyError):
        health.check("nothing")


def test_a_process_counts_for_the_root_that_is_nearest() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 11, 21: 20, 30: 1}
    assert grown(parents, {"node": 10, "agent": 20, "gone": 99}) == {
        "node": [10, 11, 12],
        "agent": [20, 21],
        "gone": [99],
    }


def test_the_lag_is_the_worst_and_one_that_lasts_counts_already() -> None:
    now = 100.0
    lag = LoopLag(lambda: now)
    assert lag.worst_ms is None

    async def measured() -> None:
        nonlocal now
        import asyncio

        task = asyncio.create_task(lag.run())
        await asyncio.sleep(0)
        now += PERIOD_S + 0.25  # as if the loop had been blocked
        while lag.worst_ms is None:  # noqa: ASYNC110 - its own second has to pass
            await asyncio.sleep(0.01)
        assert lag.worst_ms == 250.0
        now += PERIOD_S + 0.75
        assert lag.worst_ms == 750.0
        task.cancel()
        await asyncio.wait([task])

    run(measured())
