"""A fake daemon for the tests of novactl: the real control server in a thread, with canned answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from nova_torch.errors import NovaError, UnknownCall
from noval_d.control.calls import Access, Call, Peer
from noval_d.control.peers import Permissions
from noval_d.control.server import ControlServer

Answer = Any
"""A value; an error to raise; a list of items for a stream, None in it: go on without an end; or a function
of the arguments that returns one of these."""

CALLS = (
    "agents", "register", "unregister", "inbox", "trace", "peek", "pause", "resume", "dead_list", "dead_retry",
    "dead_drop", "hook", "doctor", "config", "reload", "stop",
)  # fmt: skip
STREAMS = ("send", "send_group", "watch", "status", "count")


class Stream(list[Any]):
    """The items of a stream; HANG as the last keeps it open, an error is raised."""


HANG = object()


class FakeDaemon:
    """Answers calls with what `answers` says and remembers them in `seen`."""

    def __init__(self, path: str, answers: Mapping[str, Answer]) -> None:
        self.path = path
        self.answers = {"ping": {"node": "fake", "version": "9.9.9", "pid": os.getpid()}, **answers}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def asked(self, call: str) -> list[dict[str, Any]]:
        """Return the arguments of every call of that name."""
        return [args for name, args in self.seen if name == call]

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        names = {*self.answers, *CALLS, *STREAMS}
        calls = {name: self._call(name, streams=name in STREAMS) for name in names}
        async with ControlServer(self.path, calls, Permissions.of()):
            self._ready.set()
            await self._stop.wait()

    def _call(self, name: str, *, streams: bool) -> Call:
        async def plain(_peer: Peer, args: Mapping[str, Any]) -> Any:
            found = self._answer(name, args)
            if found is HANG:
                await asyncio.Event().wait()
            return found

        async def stream(_peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Any]:
            found = self._answer(name, args)
            for item in found if isinstance(found, Stream) else [found]:
                if item is HANG:
                    await asyncio.Event().wait()
                if isinstance(item, NovaError):
                    raise item
                yield item

        return Call(handler=stream if streams else plain, access=Access.READ, streams=streams)

    def _answer(self, name: str, args: Mapping[str, Any]) -> Any:
        self.seen.append((name, dict(args)))
        found = self.answers.get(name, UnknownCall(f"the test gave no answer for {name}."))
        if isinstance(found, Callable):  # type: ignore[arg-type]
            found = found(args)
        if isinstance(found, NovaError):
            raise found
        return found


@contextlib.contextmanager
def fake_daemon(**answers: Answer) -> Iterator[FakeDaemon]:
    """Run a fake daemon at a short path; `path` says where."""
    with tempfile.TemporaryDirectory(prefix="nv", ignore_cleanup_errors=True) as directory:
        daemon = FakeDaemon(f"{directory}/c", answers)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


Capture = pytest.CaptureFixture[str]
ID = "01JD3ZK8Q5W9X2Y4V6B8N0M1P3"


def receipt(state: str, *, reason: str = "", final: bool = False) -> dict[str, Any]:
    return {
        "id": ID,
        "target": "a",
        "state": state,
        "reason": reason,
        "agent": "a",
        "node": "fake",
        "final": final,
        "timings_ms": {"accepted": 0},
    }


AGENT = {
    "agent_id": "a", "role": "tester", "skills": ["x", "y"], "node": "fake", "driver": "claude", "pane": "%1",
    "session": "s", "window": "w", "state": "idle", "state_since_ms": 0, "queued": 2, "last_seen_ms": 0,
    "current_task": "",
}  # fmt: skip


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    for name in os.environ:
        if name.startswith(("NOVA_", "TMUX", "XDG_")):
            monkeypatch.delenv(name)
    with fake_daemon(send=receipt("accepted")) as running:
        monkeypatch.setenv("NOVA_SOCKET", running.path)
        yield running
