"""Type a text into a pane by plain tmux, where no daemon does it, under the same rules."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from nova_torch import paths
from nova_torch.clean import clean
from nova_torch.durations import seconds
from nova_torch.errors import ConfigInvalid, DriverInvalid, NotDelivered
from nova_torch.ulid import new_ulid
from nova_torch.values import UNDELIVERED, Kind, Message, MessageId, PaneId, Priority, State
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers, read_drivers
from noval_d.legacy.asking import server_of
from noval_d.legacy.daemon import Sent, form_of
from noval_d.legacy.tmux import PlainTmux
from noval_d.legacy.typist import PlainTypist, Verdict

HOLD = "5s"
PLAIN = ("generic", "line")  # without these nothing can be typed at all
KEY = re.compile(
    r"(?:[CMS]-)+\S|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right|Home|End|PageUp|PageDown|PgUp|PgDn"
    r"|PPage|NPage|Delete|DC|Insert|IC|F\d{1,2}",
    re.ASCII,
)


def type_message(
    pane: PaneId, target: str, text: str, environment: Mapping[str, str], *, registered: bool
) -> Sent:
    """Type `text` and press Enter; `target` is what the user called the pane.

    `registered` panes carry an agent's name. Raises NotDelivered when nothing was typed, or something that is
    not proven to have gone in; PaneNotFound, TmuxUnavailable.
    """
    return _told(_typist(environment, registered=registered).type(pane, _message(target, text)))


def put_text(
    pane: PaneId, target: str, text: str, environment: Mapping[str, str], *, registered: bool
) -> Sent:
    """Type `text` without Enter; the name of a key, such as C-c, presses it. Raises as `type_message`."""
    key = text if KEY.fullmatch(text) else ""
    return _told(_typist(environment, registered=registered).put(pane, _message(target, text), key))


def _typist(environment: Mapping[str, str], *, registered: bool) -> PlainTypist:
    return PlainTypist(
        PlainTmux(server_of(environment), environment),
        drivers_of(environment),
        hold_s=seconds(environment.get("NOVA_LEGACY_HOLD") or HOLD),
        registered=registered,
    )


def drivers_of(environment: Mapping[str, str]) -> Mapping[str, Driver]:
    """Return the drivers, those of the configuration's own directory over the built-in ones."""
    configured = any(os.path.exists(path) for path in paths.config_candidates(environment))
    if not configured and not environment.get("NOVA_DELIVERY_DRIVERS_DIR"):
        return load_drivers()
    from nova_torch.config import load

    try:
        own = load(None, environment).delivery.drivers_dir
        drivers, _broken = read_drivers(Path(own).expanduser() if own else None)
    except (ConfigInvalid, DriverInvalid):  # what the daemon complains about does not stop a message
        return load_drivers()
    return {**{name: driver for name, driver in load_drivers().items() if name in PLAIN}, **drivers}


def _message(target: str, text: str) -> Message:
    now_ms = time.time_ns() // 1_000_000
    return Message(
        id=MessageId(new_ulid(now_ms)),
        sender="",
        target=target,
        body=clean(text),
        priority=Priority.NORMAL,
        kind=Kind.MESSAGE,
        correlation_id="",
        reply_to="",
        created_ms=now_ms,
        expires_ms=None,
        headers={"form": form_of(text)},
    )


def _told(verdict: Verdict) -> Sent:
    if verdict.state in UNDELIVERED:
        done = "not sent" if verdict.state is State.FAILED else "not proven to be sent"
        raise NotDelivered(f"{done}: {verdict.reason}.")
    return Sent(note=f"{verdict.reason}." if verdict.reason else "")
