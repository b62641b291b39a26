"""Serve the control socket: admit peers, keep the number of connections bounded, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from nova_torch.errors import Busy, NovaError
from nova_torch.protocol.frames import pack
from noval_d.control.audit import Audit
from noval_d.control.calls import Access, Call, Limits, Peer
from noval_d.control.connection import Connection
from noval_d.control.lock import BACKLOG, Listener, listen, listen_again
from noval_d.control.peers import Credentials, Permissions, read_credentials

log = logging.getLogger("nova.control")

NO_ROOM_S = 1.0  # how long to leave waiting connections alone when the process has no file descriptor left
LOOK_S = 2.0  # how often it is looked whether the socket's file is still there: a stat
FLUSH_S = 1.0  # for the last answers to leave when the server stops


class ControlServer:
    """The control socket at `path`. `credentials` reads who connected; tests give their own."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        calls: Mapping[str, Call],
        may: Permissions,
        *,
        limits: Limits | None = None,
        audit: Audit | None = None,
        settled: Callable[[], Awaitable[object]] | None = None,
        credentials: Callable[[socket.socket], Credentials] = read_credentials,
    ) -> None:
        self.path = os.fspath(path)
        self.refused = 0  # connections, since the start
        self._calls = calls
        self._may = may
        self._limits = limits or Limits()
        self._audit = audit
        self._settled = settled
        self._credentials = credentials
        self._listener: Listener | None = None
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._resume: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._problem = ""

    def __repr__(self) -> str:
        state = "closed" if self._listener is None else "open"
        return (
            f"<ControlServer {self.path} {state} connections={len(self._connections)} refused={self.refused}>"
        )

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises Conflict, StoreFailed, ConfigInvalid (see `lock.listen`)."""
        self._listener = listen(self.path, self._may)
        self.path = self._listener.path
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener.sock.fileno(), self._accept)
        self._look = loop.call_later(LOOK_S, self._keep_in_place)
        log.info("control.listening", extra={"path": self.path, "mode": oct(self._may.mode)})

    async def stop(self) -> None:
        """Stop in order: no new connections, streams end, calls in flight get their grace, lock released."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        try:
            for timer in (self._resume, self._look):
                if timer is not None:
                    timer.cancel()
            asyncio.get_running_loop().remove_reader(listener.sock.fileno())
            listener.stop_listening()
            await self._finish_calls()
            await self._close_connections()
        finally:
            listener.close()
            log.info("control.closed", extra={"path": self.path})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _finish_calls(self) -> None:
        for connection in self._connections:
            connection.desk.stop()
        work = self._tasks()
        if work:
            await asyncio.wait(work, timeout=self._limits.grace_s)
        for connection in self._connections:
            connection.desk.abandon()
        for task in self._work:
            task.cancel()
        work = self._tasks()
        if work:
            await asyncio.wait(work, timeout=FLUSH_S)

    async def _close_connections(self) -> None:
        for connection in tuple(self._connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._all_lost()
        for connection in tuple(self._connections):
            connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._all_lost()

    async def _all_lost(self) -> None:
        while self._connections:
            self._empty.clear()
            await self._empty.wait()

    def _tasks(self) -> set[asyncio.Task[None]]:
        found = {task for task in self._work if not task.done()}
        for connection in self._connections:
            found.update(connection.desk.tasks)
        return found

    def _keep_in_place(self) -> None:
        """Make the socket's file again when somebody removed it: nobody could reach the daemon otherwise."""
        listener = self._listener
        if listener is None:
            return
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(LOOK_S, self._keep_in_place)
        if listener.in_place:
            return
        loop.remove_reader(listener.sock.fileno())
        try:
            self._listener = listener = listen_again(listener, self._may)
            self._problem = ""
            log.warning("control.listening_again", extra={"path": self.path})
        except NovaError as error:
            if error.message != self._problem:
                log.warning("control.lost", extra={"path": self.path, "problem": error.message})
            self._problem = error.message
        loop.add_reader(listener.sock.fileno(), self._accept)

    # -- connections

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            if self._listener is None:
                return
            try:
                sock, _address = self._listener.sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._no_room(error)
                return
            sock.setblocking(False)
            try:
                who = self._credentials(sock)
            except OSError:  # gone before it could be asked who it is
                sock.close()
                continue
            try:
                peer = self._admit(who)
            except NovaError as error:
                self._turn_away(sock, who, error)
            else:
                self._open(sock, peer)

    def _admit(self, who: Credentials) -> Peer:
        peer = self._may.admit(who)
        limits = self._limits
        readers = sum(connection.peer.access is Access.READ for connection in self._connections)
        full = len(self._connections) >= limits.connections
        if full or (peer.access is Access.READ and readers >= limits.reader_connections):
            raise Busy(
                f"nova-torchd serves {len(self._connections)} connections, it takes no more.",
                "Close one, or try again.",
            )
        return peer

    def _turn_away(self, sock: socket.socket, who: Credentials, error: NovaError) -> None:
        self.refused += 1
        if self._audit is not None:
            self._audit.turned_away(who.uid, who.pid, error.code)
        if self.refused & (self.refused - 1) == 0:  # the 1st, 2nd, 4th, ...: nobody fills the disk this way
            log.warning("control.turned_away", extra={"code": error.code, "count": self.refused})
        with contextlib.suppress(OSError):
            sock.send(pack({"id": None, "err": error.to_wire()}), socket.MSG_NOSIGNAL)
        sock.close()

    def _open(self, sock: socket.socket, peer: Peer) -> None:
        connection = Connection(
            peer=peer,
            calls=self._calls,
            limits=self._limits,
            on_lost=self._lost,
            audit=self._audit,
            settled=self._settled,
        )
        self._connections.add(connection)
        task = asyncio.create_task(self._attach(sock, connection), name="control accept")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _attach(self, sock: socket.socket, connection: Connection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            log.warning("control.accept_failed", extra={"error": str(error)})
            sock.close()
            self._lost(connection)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for task in connection.desk.tasks:  # plain calls go on; keep them from being collected
            self._work.add(task)
            task.add_done_callback(self._work.discard)
        if not self._connections:
            self._empty.set()

    def _no_room(self, error: OSError) -> None:
        """Without a free descriptor the socket stays readable: look away for a while, do not spin."""
        log.error("control.accept_failed", extra={"error": error.strerror})
        loop = asyncio.get_running_loop()
        if self._listener is None:
            return
        loop.remove_reader(self._listener.sock.fileno())
        self._resume = loop.call_later(NO_ROOM_S, self._look_again)

    def _look_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.sock.fileno(), self._accept)
