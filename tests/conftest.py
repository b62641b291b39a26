"""Fixtures that every test may ask for."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.support.broker", "tests.support.daemon", "tests.support.tmux")

# How long an example takes, or is looked for, says how busy the machine is, and nothing of the program.
# Every run looks for others: half as many find the same in twice as many runs.
settings.register_profile(
    "steady", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
