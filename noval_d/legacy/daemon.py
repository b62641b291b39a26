"""Give a message for an agent to its daemon, and follow it for as long as a caller of a script waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from nova_torch import paths
from nova_torch.errors import (
    AgentNotFound,
    DaemonUnreachable,
    NotDelivered,
    NovaError,
    TimedOut,
    UnknownCall,
)
from nova_torch.ulid import new_ulid
from nova_torch.words import PROVEN, UNDELIVERED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nova_torch.protocol.client import Client

CONNECT_S = 2.0
ACCEPT_S = 10.0
PROOF_S = 0.4  # of a whole call of half a second, as the original's was
TYPED_S = 1.5  # what is typed already is waited for a little longer: its proof is near
ACCEPTED_S = 12.0  # what is in no mailbox yet: a broker that hangs is given up after five seconds
AGAIN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that is in the pane, or safe with the daemon; `note` says what is not proven (yet)."""

    note: str = ""
    waits: bool = False
    """Nothing of it is in the pane: the daemon holds it and goes on by itself."""


def form_of(text: str) -> str:
    """Return how it is dressed: a leading `/` is the agent's command, as it always was for these scripts."""
    return "verbatim" if text.startswith("/") else "raw"


def connected(environment: Mapping[str, str]) -> Client | None:
    """Return a connection to the daemon; None when it is not there. Raises NovaError."""
    path = paths.find_socket(environment)
    if not os.path.exists(path):
        return None
    try:
        from nova_torch.protocol.client import Client
    except ImportError as error:
        if not _answers(path):
            return None
        raise NovaError(
            f"nova-torchd runs, and {sys.executable} cannot speak to it: {error}.",
            "Name Nova-Torch's own Python in NOVA_PYTHON.",
        ) from None
    try:
        return Client.connect(path, CONNECT_S)
    except DaemonUnreachable:
        return None


def _answers(path: str) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def occupies(agent: str, pane: str, node: str, socket_path: str, environment: Mapping[str, str]) -> bool:
    """Tell whether the daemon says that a pane which carries an agent's name is that agent's.

    The name may be left over, or be that of another tmux server's agent. True where nobody can be asked.
    """
    client = connected(environment)
    if client is None:
        return True
    args = {"agent_id": agent, "pane": pane, "tmux": socket_path, "node": node}
    with client:
        try:
            return bool(client.call("occupies", args, ACCEPT_S)["occupies"])
        except (UnknownCall, DaemonUnreachable, TimedOut):
            return True


def by_daemon(agent: str, text: str, environment: Mapping[str, str]) -> Sent | None:
    """Give the message to the daemon; None when it is not there, or knows no such agent any more."""
    client = connected(environment)
    if client is None:
        return None
    args = {
        "id": new_ulid(),
        "target": agent,
        "body": text,
        "form": form_of(text),
        "pane": environment.get("TMUX_PANE") or None,
        "tmux": environment.get("TMUX") or None,
    }
    began = time.monotonic()
    with client:
        try:
            receipt = client.call("send", args, ACCEPT_S)
        except AgentNotFound:
            return None
        except DaemonUnreachable as error:  # it may have been taken: the same id again is safe, tmux is not
            return _judged(again(client.path, "send", args, error, f"novactl trace {args['id']}"))
        except TimedOut as error:
            raise unknown(error, f"novactl trace {args['id']}") from None
        return _judged(_followed(client, receipt, began))


def again(path: str, call: str, args: dict[str, Any], error: DaemonUnreachable, look: str) -> dict[str, Any]:
    """Make a call again, under the same id, whose answer was lost. Raises NotDelivered when that is lost too."""
    from nova_torch.protocol.client import Client

    time.sleep(AGAIN_S)
    try:
        with Client.connect(path, CONNECT_S) as client:
            return dict(client.call(call, args, ACCEPT_S))
    except (DaemonUnreachable, TimedOut):
        raise unknown(error, look) from None


def unknown(error: DaemonUnreachable | TimedOut, look: str) -> NotDelivered:
    """Return the error of a call whose answer never came: it may have been done."""
    return NotDelivered(
        f"{error.message} It may have taken the message.", f"Look, before you repeat it: {look}"
    )


def _followed(client: Client, receipt: dict[str, Any], began: float) -> dict[str, Any]:
    """Follow the message until it is proven or final, but not for long: it goes on by itself."""
    for limit_s in (PROOF_S, TYPED_S, ACCEPTED_S):
        if limit_s is ACCEPTED_S and receipt["state"] != "accepted":
            return receipt
        until = began + limit_s
        try:
            for update in client.stream(
                "follow", {"id": receipt["id"]}, max(until - time.monotonic(), 0.001)
            ):
                receipt = update
                if receipt["final"] or receipt["state"] in PROVEN:
                    return receipt
        except (TimedOut, DaemonUnreachable):
            pass
        if receipt["state"] == "held":
            return receipt
    return receipt


def _judged(receipt: dict[str, Any]) -> Sent:
    state, reason, trace = receipt["state"], receipt.get("reason") or "", f"novactl trace {receipt['id']}"
    if state in UNDELIVERED:
        done = "typed, but not proven to be delivered" if state == "unconfirmed" else "not sent"
        raise NotDelivered(f"{done}: {reason or state}.", f"See: {trace}")
    if state in PROVEN:
        return Sent()
    why = f" ({reason})" if reason else ""
    if state == "typed":
        return Sent(note=f"it is typed{why}, its proof is still to come. See: {trace}")
    return Sent(note=f"it is {state}{why} and goes in by itself. See: {trace}", waits=True)
