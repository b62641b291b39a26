"""Find an agent's input box on a screen. Pure. One module a strategy; a driver names its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from noval_d.agents.composer import Composer
from noval_d.agents.driver import Driver
from noval_d.agents.finders.above_footer import above_footer
from noval_d.agents.finders.at_prompt import at_prompt
from noval_d.agents.finders.beside_bar import beside_bar
from noval_d.agents.finders.between_rules import between_rules
from noval_d.agents.finders.cursor_line import cursor_line
from noval_d.agents.finders.prompt_box import prompt_box
from noval_d.tmux.screen import Screen


def find_composer(driver: Driver, screen: Screen) -> Composer | str:
    """Return the composer that has the cursor, or in words why there is none."""
    if driver.cursor_visible is not None and screen.cursor_visible is not driver.cursor_visible:
        return "the cursor is not that of the input box"
    return FINDERS[driver.strategy](driver, screen)


def _none(driver: Driver, screen: Screen) -> Composer | str:
    return f"the driver {driver.name} has no input box"


FINDERS: Mapping[str, Callable[[Driver, Screen], Composer | str]] = {
    "above_footer": above_footer,
    "at_prompt": at_prompt,
    "beside_bar": beside_bar,
    "between_rules": between_rules,
    "cursor_line": cursor_line,
    "none": _none,
    "prompt_box": prompt_box,
}
