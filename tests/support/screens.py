"""The recorded screens of the drivers that come along."""

from __future__ import annotations

from importlib import resources

from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers
from noval_d.agents.record import Recording, expectation, read_recording
from noval_d.agents.sight import look

DRIVERS = load_drivers(None)
CLAUDE = DRIVERS["claude"]


def recordings(driver: str) -> dict[str, Recording]:
    """Return the screens of one driver by name."""
    directory = resources.files("noval_d.agents") / "drivers" / driver
    if not directory.is_dir():
        return {}
    return {
        entry.name.removesuffix(".screen"): read_recording(entry.read_text(encoding="utf-8"))
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".screen")
    }


CLAUDE_SCREENS = recordings("claude")


def misjudged(driver: Driver) -> list[str]:
    """Return the names of Claude's screens that `driver` does not see as expected."""
    return [
        name
        for name, recording in CLAUDE_SCREENS.items()
        if expectation(look(driver, recording.screen)) != recording.expect
    ]
