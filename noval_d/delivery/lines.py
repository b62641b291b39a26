"""Put together what the control lines of a delivery hold: conditions on a pane, and its Enter. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from noval_d.agents.driver import Driver
from noval_d.tmux.control import HIDDEN
from noval_d.tmux.panes import PaneFacts
from noval_d.tmux.quoting import quote

KEYS = "@nova_keys"
_COUNT = f"set-option -p -F {KEYS} '#{{e|+:#{{{KEYS}}},1}}'"
_COUNT_AGENTS = f"if-shell -F '#{{@nova_agent}}' {quote(_COUNT)}"
_HOOK = quote("after-send-keys[7713]")
COUNT_KEYS = f"set-hook -g {_HOOK} {quote(_COUNT_AGENTS)}"
"""Have tmux count each `send-keys` into an agent's pane, by whomever.

A hook of the whole server: tmux 3.3a has this one for sessions only. The number keeps those of the user, whose
session may have its own instead: then nothing is counted there, and nothing is demanded.
"""
_DAEMON = f"#{{&&:#{{m:{HIDDEN}*,#{{session_name}}}},#{{session_attached}}}}"
_ONE_DAEMON = f"#{{==:#{{S:#{{?{_DAEMON},x,}}}},x}}"
COUNT_NO_MORE = f"if-shell -F {quote(_ONE_DAEMON)} {quote(f'set-hook -gu {_HOOK}')}"
"""Take that hook away, unless another daemon is there: each has a client at a hidden session of its own."""


def guard(pane: PaneFacts) -> str:
    """Return the tmux condition that this is still the pane that was looked at: alive, no mode, input on.

    It still carries its agent's and its node's name, too: an agent that moves or is unregistered is not typed
    into here.
    """
    command = _plain(pane.command)
    seen = "#{pane_dead} #{pane_in_mode} #{pane_input_off} #{pane_synchronized} #{pane_pid}"
    seen += " #{@nova_agent} #{@nova_node}"
    known = f"0 0 0 {int(pane.synchronized)} {pane.pid} {pane.nova_agent} {pane.nova_node}"
    return f"#{{==:{seen} #{{pane_current_command}},{known} {command}}}"


def cursor_as_seen(pane: PaneFacts) -> str:
    """Return the tmux condition that the pane's cursor is where it was when it was looked at."""
    seen = f"{pane.cursor_x} {pane.cursor_y} {int(pane.cursor_visible)}"
    return f"#{{==:#{{cursor_x}} #{{cursor_y}} #{{cursor_flag}},{seen}}}"


def keys_as_seen(pane: PaneFacts) -> str:
    """Return the tmux condition that nobody else's `send-keys` came since the pane was looked at.

    True as well where they are not counted.
    """
    return f"#{{==:#{{{KEYS}}},{_plain(pane.nova_keys)}}}"


def uncounted(pane: PaneFacts) -> str:
    """Return what follows a `send-keys` of ours that `keys_as_seen` allowed: the count is of others' only."""
    return f"set-option -p -t {pane.pane_id} {KEYS} {quote(pane.nova_keys)}"


def _plain(text: str) -> str:
    return text.replace("#", "##").replace(",", "#,").replace("}", "#}")


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
