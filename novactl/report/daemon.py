"""Ask the daemon for a report, as a reader: what a body or a pane holds is not shown to readers.

One connection for all of it: what the first call meets, a daemon that is dead or does not answer, the others do not
try again.
"""

from __future__ import annotations

from typing import Any

from nova_torch.errors import DaemonUnreachable, NovaError, TimedOut
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import READING

HISTORY_ROWS = 200


class Daemon:
    """The daemon of a place; connected at the first call."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._gone: NovaError | None = None

    def __repr__(self) -> str:
        return f"<Daemon {self._path} {'gone' if self._gone else 'asked' if self._client else 'new'}>"

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()

    def ask(self, call: str, **args: Any) -> Any:
        """Return the answer to a call. Raises NovaError: the same for all calls when there is no daemon."""
        if self._gone is not None:
            raise self._gone
        client = self._open()
        try:
            return client.call(call, args)
        except (DaemonUnreachable, TimedOut) as error:
            self._gone = error
            raise

    def events(self) -> dict[str, Any]:
        """Return the last messages, whole ways of them, and what was not delivered."""
        return {
            "history": self.ask("history", limit=HISTORY_ROWS),
            "dead": self.ask("dead_list", limit=HISTORY_ROWS),
        }

    def _open(self) -> Client:
        if self._client is None:
            try:
                self._client = self._reader()
            except NovaError as error:
                self._gone = error
                raise
        return self._client

    def _reader(self) -> Client:
        client = Client.connect(self._path, self._timeout_s, reading=True)
        if client.access == READING:
            return client
        client.close()
        raise NovaError(
            f"the daemon is {client.server_version} and cannot leave out what panes show.",
            "Restart it with this version: novactl down && novactl up",
        )
