"""Keep ONE control-mode client on the node's tmux server: connect, notice its end, connect again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable

from nova_torch.errors import NovaError, TmuxNotAnswering, TmuxUnavailable
from noval_d.node.pulse import idle
from noval_d.tmux.control import ControlClient
from noval_d.tmux.server import TmuxSocket

log = logging.getLogger("nova.tmux")

ATTEND_S = 2.0
PROBE_S = 0.5  # how often an absent server's socket is looked for; a stat, no process
SILENT_S = 5.0  # a server that has not answered by then is said not to
SETTLES_S = 3.0  # at most so long it is waited for what panes there are

Place = tuple[int, int, int]
"""Which socket it is."""


class TmuxLink:
    """The node's way to tmux. `state` is absent, up or not_answering; `client` raises while it is not up."""

    def __init__(self, socket: TmuxSocket, session: str) -> None:
        self.socket = socket
        self.session = session
        self.state = "absent"
        self.problem = ""
        self._client: ControlClient | None = None
        self._up = asyncio.Event()
        self._found = asyncio.Event()
        """It was found out what panes there are, or that there is no server; not between two clients."""
        self._place: Place | None = None
        """The socket that was looked at last."""
        self._look = asyncio.Event()
        """It is to be looked again at once."""
        self._on_up: list[Callable[[ControlClient], Awaitable[None]]] = []
        self._on_down: list[Callable[[], None]] = []
        self.farewell = ""
        """What tmux runs as an orderly stop of the node takes its hidden session away."""

    def __repr__(self) -> str:
        return f"<TmuxLink {self.socket.path} {self.state}>"

    @property
    def client(self) -> ControlClient:
        """The control client. Raises TmuxUnavailable while there is none."""
        if self._client is None:
            raise TmuxUnavailable(
                f"no tmux server answers at {self.socket.path}. {self.problem}".strip(),
                "Start your agents in tmux, or one with novactl spawn.",
            )
        return self._client

    def on_up(self, callback: Callable[[ControlClient], Awaitable[None]]) -> None:
        """Call (and await) `callback` with each new client before anybody else may use it."""
        self._on_up.append(callback)

    def on_down(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client is gone."""
        self._on_down.append(callback)

    async def wait_up(self) -> ControlClient:
        """Return the client as soon as there is one."""
        while self._client is None:
            self._up.clear()
            await idle(self._up.wait)
        return self._client

    async def settled(self) -> bool:
        """Wait until it is known which panes there are: until then nobody can say in which one a process runs.

        False when that is not known in time. A socket that has come since the last look is looked at now: whoever
        starts a server and names one of its panes does not wait in between.
        """
        if self._client is None and _socket_at(self.socket.path) not in (None, self._place):
            self._found.clear()
            self._look.set()
        if not self._found.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLES_S):
                    await self._found.wait()
        return self._found.is_set()

    async def run(self) -> None:
        """Keep the client connected until cancelled."""
        try:
            while True:
                self._look.clear()
                await self._once()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_S):
                        await self._look.wait()
        finally:
            self._found.set()  # nothing more is found out
            if self._client is not None:
                await self._client.close()

    def answered(self, well: bool) -> None:
        """Note whether the server answered in time, for `status`."""
        if self._client is not None:
            self.state = "up" if well else "not_answering"

    async def _once(self) -> None:
        place = self._place = _socket_at(self.socket.path)
        if place is None:
            self.state, self.problem = "absent", "There is no socket."
            self._found.set()
            return
        try:
            client = await self._connect(place)
        except TmuxUnavailable as error:
            if error.message != self.problem:
                log.info("tmux.unavailable", extra={"problem": error.message})
            self.state, self.problem = "absent", error.message
            self._found.set()
            return
        try:
            await client.alone()  # what a dead daemon had in its pipe may still run (DELIVERY 2.3)
            for callback in self._on_up:
                await callback(client)
        except NovaError as error:
            log.warning("tmux.setup_failed", extra={"problem": error.message})
            self.state, self.problem = "not_answering", error.message
            self._found.set()
            await client.close()
            return
        except BaseException:  # cancelled: nobody else knows of it yet
            await client.close()
            raise
        self._client, self.state, self.problem = client, "up", ""
        log.info("tmux.up", extra={"socket": self.socket.path, "server": client.server.pid})
        self._up.set()
        self._found.set()
        try:
            await self._attend(client)
        finally:
            self._found.clear()
            self._client, self.state = None, "absent"
            for notify in self._on_down:
                notify()
            await client.close(self.farewell)
        log.warning("tmux.down", extra={"socket": self.socket.path})

    async def _connect(self, place: Place) -> ControlClient:
        """Connect; a silent server is waited for until it goes on, ends or is replaced."""
        connecting = asyncio.create_task(
            ControlClient.connect(self.socket, session=self.session, timeout_s=None), name="tmux connect"
        )
        try:
            while not (await asyncio.wait((connecting,), timeout=SILENT_S))[0]:
                if _socket_at(self.socket.path) != place:
                    raise self.socket.unavailable("its socket was replaced")
                self.state, self.problem = "not_answering", f"It has been silent for {SILENT_S:g} s."
            return connecting.result()
        finally:
            connecting.cancel()
            await asyncio.wait((connecting,))

    async def _attend(self, client: ControlClient) -> None:
        """Return when the client is gone; ask the server now and then, so that `state` is true without traffic."""
        while client.alive:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ATTEND_S):
                    await client.closed()
                    return
            try:
                await client.run("display-message -p here", timeout_s=ATTEND_S)
            except TmuxNotAnswering:
                self.answered(well=False)
            except TmuxUnavailable:
                continue
            else:
                self.answered(well=True)


def _socket_at(path: str) -> Place | None:
    """Return which socket is at `path`, None when none is. One that replaces another may get its inode."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns) if stat.S_ISSOCK(found.st_mode) else None
