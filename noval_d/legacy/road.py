"""Bring a text into the pane that a script named: through the daemon when the pane is an agent's, else by tmux."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from nova_torch import paths
from nova_torch.clean import clean
from nova_torch.durations import seconds
from nova_torch.errors import (
    BodyEmpty,
    BodyTooLarge,
    ConfigInvalid,
    DriverInvalid,
    InvalidText,
    NotDelivered,
)
from nova_torch.ulid import new_ulid
from nova_torch.values import UNDELIVERED, Kind, Message, MessageId, PaneId, Priority, State
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers, read_drivers
from noval_d.legacy.daemon import Sent, by_daemon, form_of
from noval_d.legacy.target import find
from noval_d.legacy.tmux import PlainTmux, server_of
from noval_d.legacy.typist import PlainTypist, Verdict

MAX_BODY_BYTES = 1 << 20
HOLD = "5s"
PLAIN = ("generic", "line")  # without these nothing can be typed at all
KEY = re.compile(
    r"(?:[CMS]-)+\S|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right|Home|End|PageUp|PageDown|PgUp|PgDn"
    r"|PPage|NPage|Delete|DC|Insert|IC|F\d{1,2}",
    re.ASCII,
)


def pane_of(tmux: PlainTmux, target: str) -> PaneId:
    """Return the pane that `target` means. Raises PaneNotFound, TmuxUnavailable."""
    current = tmux.current() if not target or target.startswith(":") else None
    return find(tmux.places(), target, current)


def send(target: str, body: bytes, environment: Mapping[str, str] = os.environ) -> Sent:
    """Send `body` to the pane that `target` means.

    Raises PaneNotFound, TmuxUnavailable, InvalidText, BodyEmpty, BodyTooLarge, and NotDelivered when nothing
    was typed, or something that is not proven to have gone in.
    """
    tmux = PlainTmux(server_of(environment), environment)
    pane = pane_of(tmux, target)
    text = _text(body)
    agent = tmux.look(pane).facts.nova_agent
    if agent and not clean(text).strip():
        raise BodyEmpty("an empty message would only press Enter in the agent.", "Say something.")
    if agent:
        sent = by_daemon(agent, text, environment)
        if sent is not None:
            return sent
    return _by_tmux(tmux, pane, target, text, environment)


def _text(body: bytes) -> str:
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(
            f"the message has {len(body)} bytes, the limit is {MAX_BODY_BYTES}.",
            "Put it into a file and send the file's name, or split it.",
        )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidText(f"the message is not UTF-8 (byte {error.start}).", "Encode it as UTF-8.") from None


def _by_tmux(tmux: PlainTmux, pane: PaneId, target: str, text: str, environment: Mapping[str, str]) -> Sent:
    return _told(_typist(tmux, environment).type(pane, _message(target, text)))


def type_only(target: str, body: bytes, environment: Mapping[str, str] = os.environ) -> Sent:
    """Type `body` without Enter; one that is the name of a key, such as C-c, presses it. Raises as `send` does."""
    tmux = PlainTmux(server_of(environment), environment)
    pane = pane_of(tmux, target)
    text = _text(body)
    if not text:
        return Sent()
    key = text if KEY.fullmatch(text) else ""
    return _told(_typist(tmux, environment).put(pane, _message(target, text), key))


def _typist(tmux: PlainTmux, environment: Mapping[str, str]) -> PlainTypist:
    return PlainTypist(
        tmux, drivers_of(environment), hold_s=seconds(environment.get("NOVA_LEGACY_HOLD") or HOLD)
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
        headers={"form": form_of(text).value},
    )


def _told(verdict: Verdict) -> Sent:
    if verdict.state in UNDELIVERED:
        done = "not sent" if verdict.state is State.FAILED else "not proven to be sent"
        raise NotDelivered(f"{done}: {verdict.reason}.")
    return Sent(note=f"{verdict.reason}." if verdict.reason else "")
