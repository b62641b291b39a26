"""When a start is over: by the agent's own hook, or by an input box that has stood for a while."""

from __future__ import annotations

import pytest

from noval_d.agents.driver_file import load_drivers
from noval_d.agents.readiness import past_start
from noval_d.agents.sight import begun
from tests.support.screens import recordings

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
        ("gemini", 5.0, 2.9, False),
        ("gemini", 2.9, 5.0, False),
        ("gemini", 3.0, 3.0, True),
        ("gemini", 9.9, None, False),
        ("gemini", 10.0, None, True),
        ("aider", 0.5, None, False),
        ("aider", 0.6, None, True),
        ("codex", 9.9, None, False),
    ],
)
def test_an_agent_is_ready(driver: str, stood_s: float | None, told_s: float | None, ready: bool) -> None:
    assert past_start(DRIVERS[driver], stood_s=stood_s, told_s=told_s, age_s=5.0) is ready


def test_an_old_process_is_past_its_start_when_its_box_is_seen() -> None:
    assert past_start(DRIVERS["claude"], stood_s=0.0, told_s=None, age_s=61.0)
    assert not past_start(DRIVERS["claude"], stood_s=None, told_s=None, age_s=61.0)


def test_a_hook_that_tells_of_the_start_says_nothing_of_a_first_prompt_that_is_still_to_be_taken() -> None:
    claude = DRIVERS["claude"]
    assert not past_start(claude, stood_s=0.5, told_s=0.4, age_s=1.0, prompted=True)
    assert past_start(claude, stood_s=0.5, told_s=0.4, age_s=1.0, prompted=False)
    assert past_start(
        claude, stood_s=3.0, told_s=2.9, age_s=4.0, prompted=True
    )  # one without hooks takes it, too


def test_a_box_beside_the_sign_that_the_start_is_over_is_ready_at_once() -> None:
    assert past_start(DRIVERS["codex"], stood_s=0.0, told_s=None, age_s=1.0, begun=True)
    assert not past_start(DRIVERS["codex"], stood_s=None, told_s=None, age_s=1.0, begun=True)


@pytest.mark.parametrize(
    ("driver", "screen", "argv", "over"),
    [
        ("codex", "start_blank", "codex", False),
        ("codex", "start_first_paint", "codex", False),  # its dialog for hooks may come yet
        ("codex", "hooks_dialog", "codex", False),
        ("codex", "trust_dialog", "codex", False),
        ("codex", "start", "codex", True),
        ("codex", "idle_60x10", "codex resume 0a1b", True),
        ("gemini", "start_first_paint", "node gemini", False),
        ("gemini", "idle", "node gemini", True),
        ("gemini", "idle", "node gemini --resume latest", False),  # it draws its conversation anew yet
        ("gemini", "idle", "node gemini -r", False),
        ("gemini", "idle_after_output_static_title", "node gemini --resume=latest", True),
        ("gemini", "command_resume", "node gemini --resume latest", False),
        ("gemini", "start_resumed_head", "node gemini --resume latest", False),
        ("gemini", "start_resuming", "node gemini --resume latest", False),
        ("gemini", "start_resumed", "node gemini --resume latest", True),
    ],
)
def test_what_a_screen_shows_of_a_start(driver: str, screen: str, argv: str, over: bool) -> None:
    assert begun(DRIVERS[driver], recordings(driver)[screen].screen, argv.split()) is over
