"""When a start is over: by the agent's own hook, or by an input box that has stood for a while."""

from __future__ import annotations

import pytest

from noval_d.agents.driver_file import load_drivers
from noval_d.agents.readiness import past_start

DRIVERS = load_drivers()


@pytest.mark.parametrize(
    ("driver", "stood_s", "told_s", "ready"),
    [
        ("claude", None, 0.0, True),
        ("claude", 2.9, None, False),
        ("claude", 3.0, None, True),
        ("claude", None, None, False),
        # Gemini CLI draws its conversation anew after its hook
        ("gemini", None, 5.0, False),
        ("gemini", 5.0, 0.7, False),
        ("gemini", 0.7, 5.0, False),
        ("gemini", 0.8, 0.8, True),
        ("gemini", 3.0, None, True),
        ("aider", 0.5, None, False),
        ("aider", 0.6, None, True),
        ("codex", 2.0, None, False),
    ],
)
def test_an_agent_is_ready(driver: str, stood_s: float | None, told_s: float | None, ready: bool) -> None:
    assert past_start(DRIVERS[driver], stood_s=stood_s, told_s=told_s, age_s=5.0) is ready


def test_an_old_process_is_past_its_start_when_its_box_is_seen() -> None:
    assert past_start(DRIVERS["claude"], stood_s=0.0, told_s=None, age_s=61.0)
    assert not past_start(DRIVERS["claude"], stood_s=None, told_s=None, age_s=61.0)
