"""Put together what the control lines of a delivery hold: conditions on a pane, and its Enter. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from noval_d.agents.driver import Driver
from noval_d.tmux.panes import PaneFacts


def guard(pane: PaneFacts) -> str:
    """Return the tmux condition that this is still the pane that was looked at: alive, no mode, input on.

    It still carries its agent's and its node's name, too: an agent that moves or is unregistered is not typed
    into here.
    """
    command = pane.command.replace("#", "##").replace(",", "#,").replace("}", "#}")
    seen = "#{pane_dead} #{pane_in_mode} #{pane_input_off} #{pane_synchronized} #{pane_pid}"
    seen += " #{@nova_agent} #{@nova_node}"
    known = f"0 0 0 {int(pane.synchronized)} {pane.pid} {pane.nova_agent} {pane.nova_node}"
    return f"#{{==:{seen} #{{pane_current_command}},{known} {command}}}"


def cursor_as_seen(pane: PaneFacts) -> str:
    """Return the tmux condition that the pane's cursor is where it was when it was looked at."""
    seen = f"{pane.cursor_x} {pane.cursor_y} {int(pane.cursor_visible)}"
    return f"#{{==:#{{cursor_x}} #{{cursor_y}} #{{cursor_flag}},{seen}}}"


def all_of(conditions: Sequence[str]) -> str:
    """Return the condition that all of `conditions` are true."""
    joined = conditions[0]
    for condition in conditions[1:]:
        joined = f"#{{&&:{joined},{condition}}}"
    return joined


def enter_key(driver: Driver, pane: PaneFacts) -> str:
    """Return what presses Enter; keys fan out to synchronised panes, pastes do not (DELIVERY 2.8)."""
    if driver.enter == "paste" or pane.synchronized:
        return f'set-buffer -b nova-cr "\\r" ; paste-buffer -r -d -b nova-cr -t {pane.pane_id}'
    return f"send-keys -t {pane.pane_id} Enter"
