"""Run the control-mode client process: bytes in, bytes out, and its end. Knows nothing of tmux's language."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import cast

KEPT_STDERR_BYTES = 4096
EXIT_GRACE_S = 1.0
KILL_GRACE_S = 5.0
PARENT = "NOVA_CLIENT_OF"  # in the child's environment: the daemon that started it


def end_orphan(pid: int) -> bool:
    """Kill the client of a daemon that is dead; return whether it was one.

    It is one when its environment names the daemon that started it and another process is its parent by now.
    """
    import psutil  # 2 MB and 10 ms that only the start after a crash needs

    try:
        process = psutil.Process(pid)
        parent = process.environ().get(PARENT, "")
        if not parent or parent == str(process.ppid()):
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return True


class ClientProcess(asyncio.SubprocessProtocol):
    """One child with three pipes. Its end (exit, or end of its output) is told once, through `on_end`."""

    def __init__(self, on_output: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_output = on_output
        self._on_end = on_end
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._stderr = bytearray()
        self._ended = False
        self._exited = asyncio.Event()
        self._pipes_closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> ClientProcess:
        """Start the child in a session of its own, so that a Ctrl-C for the daemon does not end it first.

        It still ends with the daemon, even by kill -9: its standard input does. Raises OSError.
        """
        loop = asyncio.get_running_loop()
        _, process = await loop.subprocess_exec(
            lambda: cls(on_output, on_end),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment, PARENT: str(os.getpid())},
            cwd="/",
            start_new_session=True,
        )
        return process

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._transport.get_pid() if self._transport is not None else 0

    @property
    def ended(self) -> bool:
        """True when the child is of no use any more."""
        return self._ended

    @property
    def complaint(self) -> str:
        """What the child wrote to its standard error."""
        return self._stderr.decode(errors="replace").strip()

    def write(self, data: bytes) -> None:
        """Queue bytes for the child; never blocks. Wait for `writable` before, to keep the queue short."""
        if self._stdin is not None and not self._ended and not self._stdin.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop's word for a pipe just closed; the end follows
                self._stdin.write(data)

    def kill(self) -> None:
        """End the child at once."""
        self._end()
        if self._transport is not None and not self._exited.is_set():
            # Not by the transport: it would reap the child under the loop's own watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the child: the end of its input first, a signal after EXIT_GRACE_S. Leaves nothing.

        Who is cancelled meanwhile kills it and still waits for its end: a loop that ended before would leave it.
        """
        self._end()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_GRACE_S):
                    await self._exited.wait()
        finally:
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_GRACE_S):
                    await self._exited.wait()
                    await self._pipes_closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the child's transport; called by the loop."""
        self._transport = cast(asyncio.SubprocessTransport, transport)  # uvloop's is no subclass of it
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass the child's output on; called by the loop."""
        if fd == 1:
            self._on_output(data)
        elif len(self._stderr) < KEPT_STDERR_BYTES:
            self._stderr += data[:KEPT_STDERR_BYTES]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Take the end of the child's input or output for its end; called by the loop."""
        if fd in {0, 1}:
            self._end()

    def process_exited(self) -> None:
        """Note that the child has been reaped; called by the loop."""
        self._exited.set()
        self._end()
        if self._transport is not None:
            # A stopped tmux server keeps the other ends of the pipes: do not wait for it to close them.
            asyncio.get_running_loop().call_soon(self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that every pipe is closed; called by the loop when the child has exited as well."""
        self._pipes_closed.set()

    def pause_writing(self) -> None:
        """Hold writers; called by the loop when the child reads too slowly."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on; called by the loop."""
        self.writable.set()

    def _end(self) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.abort()
        if not self._ended:
            self._ended = True
            self.writable.set()
            self._on_end()
