"""Bring a text into the pane that a script named: through the daemon when the pane is an agent's, else by tmux."""

from __future__ import annotations

import os
from collections.abc import Mapping

from nova_torch.clean import clean
from nova_torch.errors import BodyEmpty, BodyTooLarge, InvalidText
from noval_d.legacy.asking import Asker, gone, server_of
from noval_d.legacy.daemon import Sent, by_daemon, occupies
from noval_d.legacy.target import find
from noval_d.tmux.targets import Place

MAX_BODY_BYTES = 1 << 20


def pane_of(tmux: Asker, target: str) -> Place:
    """Return the pane that `target` means. Raises PaneNotFound, TmuxUnavailable."""
    current = tmux.current() if not target or target.startswith(":") else None
    places = tmux.places()
    pane = find(places, target, current)
    place = next((place for place in places if place.pane_id == pane), None)
    if place is None:  # the current one is of a hidden session, or has just gone
        raise gone(pane)
    return place


def send(target: str, body: bytes, environment: Mapping[str, str] = os.environ) -> Sent:
    """Send `body` to the pane that `target` means.

    Raises PaneNotFound, TmuxUnavailable, InvalidText, BodyEmpty, BodyTooLarge, and NotDelivered when nothing
    was typed, or something that is not proven to have gone in.
    """
    tmux = Asker(server_of(environment), environment)
    pane = pane_of(tmux, target)
    text = _text(body)
    agent = agent_in(tmux, pane, environment)
    if agent and not clean(text).strip():
        raise BodyEmpty("an empty message would only press Enter in the agent.", "Say something.")
    if agent:
        sent = by_daemon(agent, text, environment)
        if sent is not None:
            return sent
    from noval_d.legacy.plain import type_message  # it loads what the daemon has loaded already

    return type_message(pane.pane_id, target, text, environment, registered=bool(agent))


def type_only(target: str, body: bytes, environment: Mapping[str, str] = os.environ) -> Sent:
    """Type `body` without Enter; one that is the name of a key, such as C-c, presses it. Raises as `send` does."""
    tmux = Asker(server_of(environment), environment)
    pane = pane_of(tmux, target)
    text = _text(body)
    if not text:
        return Sent()
    registered = bool(agent_in(tmux, pane, environment))
    from noval_d.legacy.plain import put_text

    return put_text(pane.pane_id, target, text, environment, registered=registered)


def agent_in(tmux: Asker, pane: Place, environment: Mapping[str, str]) -> str:
    """Return the agent that a pane is registered for; "" for one whose daemon says that it is not there."""
    if pane.agent and not occupies(pane.agent, pane.pane_id, pane.node, tmux.socket.path, environment):
        return ""
    return pane.agent


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
