"""Talk to one tmux server through one persistent control-mode client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable

from nova_torch.errors import Conflict, TmuxNotAnswering, TmuxUnavailable
from noval_d.tmux.answers import Answer, AnswerParser, Block, Finished, Notification, Overlong
from noval_d.tmux.process import ClientProcess, end_orphan
from noval_d.tmux.quoting import quote
from noval_d.tmux.server import ServerIdentity, TmuxSocket, client_environment, find_socket

__all__ = [
    "Answer",
    "Block",
    "ControlClient",
    "Notification",
    "ServerIdentity",
    "TmuxSocket",
    "find_socket",
    "quote",
    "session_name",
]

MAX_IN_FLIGHT = 64
MAX_LINE_BYTES = 8 << 20
ORPHAN_GRACE_S = 0.25
ORPHAN_LOOK_S = 0.02
CLOSE_S = 0.5
WATCH = "nova-panes"
"""The name of a client's one subscription, if it has any."""
HIDDEN = "_nova-"
"""How the names of the daemons' own sessions begin."""
IDLE_COMMAND = ("sleep", "2147483647")  # what runs in the hidden session

log = logging.getLogger("nova.tmux")


def session_name(node: str) -> str:
    """Return the name of a node's hidden session."""
    return f"{HIDDEN}{node}"


class ControlClient:
    """ONE control-mode client of one server, attached to a hidden session of its own. Made by `connect`.

    Callers may be many and at the same time: requests are pipelined, at most MAX_IN_FLIGHT of them, and each
    gets its own answer, whatever happened to the callers before it.
    """

    def __init__(self, socket: TmuxSocket, session: str) -> None:
        self.socket = socket
        self.session = session.translate({ord("."): "_", ord(":"): "_"})  # as tmux does: they are for targets
        self.server = ServerIdentity(pid=0, started_s=0)
        self._token = f"nova-{secrets.token_hex(8)}-"
        self._parser = AnswerParser(self._token.encode())
        self._numbers = itertools.count(1)
        self._pending: deque[tuple[int, asyncio.Future[Answer]]] = deque()
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._callbacks: list[Callable[[Notification], None]] = []
        self._gone = asyncio.Event()
        self._attached = asyncio.Event()  # or gone
        self._last_words = ""
        self._process: ClientProcess | None = None

    @classmethod
    async def connect(
        cls, socket: TmuxSocket, *, session: str, timeout_s: float | None = 5.0
    ) -> ControlClient:
        """Attach to the server, making the hidden session when it is missing; the server is never started.

        `close` takes the session away again; after a crash it stays, with a `sleep` in it, for the next start.
        Raises TmuxUnavailable (no server, no tmux, no permission) and TmuxNotAnswering (within `timeout_s`;
        None: waits for a stopped server until it goes on).
        """
        client = cls(socket, session)
        try:
            async with asyncio.timeout(timeout_s):
                await client._start(timeout_s)
        except TimeoutError as error:
            await client._abandon()
            raise client._not_answering(timeout_s or 0.0) from error
        except BaseException:
            await client._abandon()
            raise
        log.info(
            "tmux.connected",
            extra={"socket": socket.path, "server_pid": client.server.pid, "client_pid": client.pid},
        )
        return client

    @property
    def pid(self) -> int:
        """The process id of the client."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """False when the client is gone, and a new one must be connected."""
        return not self._gone.is_set()

    @property
    def in_flight(self) -> int:
        """How many requests have no complete answer yet, those of callers who gave up included."""
        return len(self._pending)

    async def run(self, line: str, *, timeout_s: float | None = 5.0) -> Answer:
        """Run one control line (commands joined by ` ; `) and return its whole answer.

        Raises ValueError for an empty line, one with LF or NUL, or one over MAX_LINE_BYTES; TmuxNotAnswering
        when there is no answer within `timeout_s`: the line may still run later, when the server goes on;
        TmuxUnavailable when the client is or goes away: the line may have run. An error of a command is no
        exception: see `Answer.error`.
        """
        data = self._checked(line)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(data)
        except TimeoutError as error:
            raise self._not_answering(timeout_s or 0.0) from error

    def subscribe(self, callback: Callable[[Notification], None]) -> None:
        """Have `callback` called with every notification, in order, from the event loop."""
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[Notification], None]) -> None:
        """Take a callback of `subscribe` back."""
        with contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    async def others(self, *, timeout_s: float = 5.0) -> tuple[int, ...]:
        """Return the pids of the OTHER control clients on the hidden session.

        One that a crashed daemon left may still run what it was sent (DELIVERY 2.3): see `alone`.
        """
        line = f"list-clients -t {quote('=' + self.session)} -F '#{{client_control_mode}} #{{client_pid}}'"
        answer = await self.run(line, timeout_s=timeout_s)
        pids = (int(line.removeprefix(b"1 ")) for line in answer.lines if line.startswith(b"1 "))
        return tuple(pid for pid in pids if pid != self.pid)

    async def alone(self, *, timeout_s: float = 5.0) -> None:
        """Return when nothing that a crashed daemon sent can run any more: its client is gone from the server.

        A client that does not leave by itself is ended: tmux 3.3a keeps one for ever whose last answers nobody
        can read any more. Raises Conflict when a living daemon's client stays, and what `run` raises.
        """
        began = time.monotonic()
        pids = await self.others()
        while pids:
            waited_s = time.monotonic() - began
            if waited_s > timeout_s:
                raise Conflict(
                    f"another daemon uses the tmux session {self.session} (client {pids[0]}).",
                    "Stop it, or give this node another name.",
                )
            for pid in pids:
                if waited_s > ORPHAN_GRACE_S and end_orphan(pid):
                    log.warning("tmux.orphan_ended", extra={"client_pid": pid})
            await asyncio.sleep(ORPHAN_LOOK_S)
            pids = await self.others()

    async def closed(self) -> None:
        """Return when the client is gone, for whatever reason."""
        await self._gone.wait()

    async def close(self, farewell: str = "") -> None:
        """End the client, and its session if nobody else is there; requests under way fail. May be called twice.

        `farewell` is what tmux runs right before it ends that session.
        Its subscription first: of news of one whose client has lost its session tmux 3.3a dies, with every pane.
        """
        if self._process is None:
            return
        try:
            if self._attached.is_set() and not self._gone.is_set():
                await self._take_session_away(farewell)
        finally:
            await self._process.close()

    def __repr__(self) -> str:
        state = "" if self.alive else " gone"
        return f"<ControlClient {self.socket.path} pid={self.pid} in_flight={self.in_flight}{state}>"

    async def _take_session_away(self, farewell: str) -> None:
        target = quote(f"={self.session}:")
        end = " ; ".join(filter(None, (farewell, f"kill-session -t {target}")))
        last = "#{==:#{session_attached},1}"
        with contextlib.suppress(TmuxUnavailable):  # it goes with that very line
            await self.run(
                f"refresh-client -B {WATCH} ; if-shell -F -t {target} '{last}' {quote(end)}",
                timeout_s=CLOSE_S,
            )

    async def _calm(self) -> None:
        """Return when the server has answered a plain client: until then no control client is started.

        tmux 3.3a dies, with every pane, of any notification while a control client has told it only half of what it
        is. A server that was stopped goes on with all that piled up at once: the clients of earlier daemons that
        came or went meanwhile are such notifications (1 in 50 with two clients).
        """
        over = asyncio.Event()
        try:
            process = await ClientProcess.start(
                self.socket.argv("display-message", "-p", "calm"),
                client_environment(),
                on_output=lambda _data: None,
                on_end=over.set,
            )
        except OSError:
            return  # the client says it
        try:
            await over.wait()
        finally:
            process.kill()
            await process.close()

    async def _start(self, timeout_s: float | None) -> None:
        await self._calm()
        # new-session -A attaches when the session is there and makes it otherwise, in one step: no instant at
        # which a user's `destroy-unattached on` could take a session that nobody is attached to yet.
        argv = self.socket.argv(
            "-C", "new-session", "-A", "-E", "-s", self.session, "-n", "nova", "-c", "/",
            "-x", "80", "-y", "24", "-f", "ignore-size,no-output", "--", *IDLE_COMMAND,
        )  # fmt: skip
        try:
            self._process = await ClientProcess.start(
                argv, client_environment(), on_output=self._on_output, on_end=self._on_end
            )
        except OSError as error:
            self._gone.set()
            raise TmuxUnavailable(
                f"cannot run tmux: {error.strerror}.", "Install tmux 3.2 or later."
            ) from error
        await self._attached.wait()
        identity = await self.run("display-message -p '#{pid} #{start_time}'", timeout_s=timeout_s)
        pid, _, started = identity.lines[0].partition(b" ")
        self.server = ServerIdentity(pid=int(pid), started_s=int(started))
        await self._claim(timeout_s)

    async def _claim(self, timeout_s: float | None) -> None:
        """Refuse a session that somebody else made, and keep a user's `destroy-unattached` off ours.

        With that option a client stuck at its end (see `alone`) outlives its session, and the next look at it
        (list-clients is enough) is a segmentation fault of the whole tmux 3.3a server.
        """
        target = quote(f"={self.session}:")
        idle = " ".join(IDLE_COMMAND)
        condition = f"#{{==:#{{session_windows}} #{{window_panes}} #{{pane_start_command}},1 1 {idle}}}"
        keep = f"set-option -t {target} destroy-unattached off"
        answer = await self.run(
            f"if-shell -F -t {target} {quote(condition)} {quote(keep)} 'display-message -p foreign'",
            timeout_s=timeout_s,
        )
        if answer.lines or answer.error is not None:
            raise TmuxUnavailable(
                f"the tmux session {self.session} is not Nova-Torch's own.",
                f"Rename it, or give the node another name. {answer.error or ''}".strip(),
            )

    async def _abandon(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.close()

    async def _ask(self, data: bytes) -> Answer:
        process = self._process
        if process is None:
            raise self._unavailable()
        await self._slots.acquire()
        try:
            await process.writable.wait()
        except BaseException:
            self._slots.release()
            raise
        if self._gone.is_set():
            self._slots.release()
            raise self._unavailable()
        # From here the slot belongs to the answer, not to the caller: it is given back when the answer is in.
        if not self._pending:
            self._parser.forget_strays()
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append((number, future))
        process.write(b"%b\ndisplay-message -p %b%d\n" % (data, self._token.encode(), number))
        return await future

    def _on_output(self, data: bytes) -> None:
        try:
            events = self._parser.feed(data)
        except Overlong as error:
            self._last_words = str(error)
            if self._process is not None:
                self._process.kill()
            return
        for event in events:
            if isinstance(event, Finished):
                self._on_finished(event)
            else:
                self._on_notification(event)

    def _on_finished(self, finished: Finished) -> None:
        while self._pending and self._pending[0][0] <= finished.number:
            number, future = self._pending.popleft()
            self._slots.release()
            if future.done():
                continue  # the caller gave up: its late answer ends here
            if number == finished.number:
                future.set_result(finished.answer)
            else:
                future.set_exception(TmuxUnavailable("tmux did not answer a line that it had read."))

    def _on_notification(self, notification: Notification) -> None:
        if notification.name == "%exit" and notification.rest:
            self._last_words = notification.rest.decode(errors="replace")
        elif notification.name == "%session-changed":
            # tmux reads our lines even before it has run the client's own new-session: none is sent before this.
            self._attached.set()
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            loop.call_soon(callback, notification)  # one that fails must not stop the others, nor the reading

    def _on_end(self) -> None:
        self._gone.set()
        self._attached.set()
        while self._pending:
            _, future = self._pending.popleft()
            self._slots.release()
            if not future.done():
                future.set_exception(self._unavailable())
        log.info("tmux.client_gone", extra={"socket": self.socket.path, "client_pid": self.pid})

    def _unavailable(self) -> TmuxUnavailable:
        complaint = self._process.complaint if self._process is not None else ""
        return self.socket.unavailable(complaint or self._last_words)

    def _not_answering(self, timeout_s: float) -> TmuxNotAnswering:
        return TmuxNotAnswering(
            f"the tmux server at {self.socket.path} did not answer within {timeout_s:g} s.",
            "Is it stopped or under heavy load? See: ps -o pid,stat,args -C tmux",
        )

    @staticmethod
    def _checked(line: str) -> bytes:
        if not line.strip():
            raise ValueError("an empty control line: it would detach the client")
        if "\n" in line or "\0" in line:
            raise ValueError("a control line holds LF or NUL")
        data = line.encode()
        if len(data) > MAX_LINE_BYTES:
            raise ValueError(f"a control line of more than {MAX_LINE_BYTES} bytes")
        return data
