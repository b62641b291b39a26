"""Open the connection that a command asks the daemon through, with its limits. Light."""

from __future__ import annotations

import os

from nova_torch import paths
from nova_torch.durations import seconds, spoken
from nova_torch.errors import NotFound, TimedOut
from nova_torch.protocol.client import Client
from novactl import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from novactl.options import Values

CONNECT_S = 5.0
CALL_S = 10.0


def limit_s(values: Values, default_s: float) -> float:
    """Return the seconds of --timeout, or `default_s`. Raises InvalidRequest."""
    given = values.get("timeout")
    return default_s if given is None else seconds(given)


def socket_path(values: Values) -> str:
    """Return the control socket that these options, the environment or the configuration name."""
    return paths.find_socket(explicit=values.get("socket") or "")


def connect(values: Values, timeout_s: float = CALL_S) -> Client:
    """Connect to the daemon; calls that name no limit take `timeout_s`. Raises DaemonUnreachable."""
    client = Client.connect(socket_path(values), min(timeout_s, CONNECT_S))
    client.timeout_s = timeout_s
    return client


def followed(
    values: Values, call: str, args: dict[str, Any] | None = None, *, endless: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield what a stream of the daemon tells, until the daemon, the reader or --timeout ends it.

    Of an `endless` one it is said, on standard error, that it has ended.
    Raises TimedOut: when nothing came, and when --timeout was over.
    """
    limit = None if values["timeout"] is None else limit_s(values, 0)
    heard = False
    with connect(values, CALL_S) as client:
        try:
            for item in client.stream(call, args or {}, limit):
                heard = True
                yield item
        except TimedOut:
            if not heard or limit is None:
                raise
            raise TimedOut(f"it was shown for {spoken(limit)}, as --timeout says.") from None
        if endless:
            out.note("the daemon has ended", quiet=bool(values["quiet"]))


def ask(values: Values, call: str, args: dict[str, Any] | None = None) -> Any:
    """Make one call and return its answer."""
    with connect(values, limit_s(values, CALL_S)) as client:
        return client.call(call, given(args or {}))


def given(args: dict[str, Any]) -> dict[str, Any]:
    """Return `args` without those that were not given."""
    return {
        name: value
        for name, value in args.items()
        if value is not None and value != [] and value is not False
    }


def caller() -> dict[str, str | None]:
    """Return the pane this process runs in, by which the daemon knows the agent that calls."""
    return {"pane": os.environ.get("TMUX_PANE") or None, "tmux": os.environ.get("TMUX") or None}


def explain_none(values: Values) -> bool:
    """Say of a list that is empty, on stderr, when nobody is who it was narrowed to: its agent, or its role.

    Return whether that was said.
    """
    told = ""
    if values["agent"] is not None:
        try:
            ask(values, "presence", {"name": values["agent"]})
        except NotFound as error:
            told = f"{error.message} {error.hint}"
    elif values.get("role") is not None:
        page = ask(values, "agents_page", {"role": values["role"], "limit": 1})
        told = f"{page['why']} {page['cure']}"
    if told.strip():
        out.note(out.safe(told), quiet=values["quiet"])
    return bool(told.strip())
