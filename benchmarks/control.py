"""Measure the control socket: a call on an open connection, a whole connection, what importing the client costs.

Run: python -m benchmarks.control [calls]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import uvloop

from nova_torch.protocol.client import Client
from noval_d.control.calls import Access, Call, Peer
from noval_d.control.peers import Permissions
from noval_d.control.server import ControlServer

STARTS = 40
BODY = b"x" * (1 << 20)


async def _ping(peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": "here", "version": "0", "pid": os.getpid()}


async def _take(peer: Peer, args: Mapping[str, Any]) -> int:
    return len(args["body"])


def _report(name: str, times_s: list[float]) -> None:
    times = sorted(times_s)
    p50, p99 = times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6
    print(f"{name:44} n={len(times):6} p50={p50:9.0f} us  p99={p99:9.0f} us")


def _timed(name: str, count: int, act: Callable[[], object]) -> None:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    _report(name, times)


def _whole(path: str) -> None:
    with Client.connect(path) as client:
        client.call("ping")


def ask(path: str, count: int) -> None:
    """Measure as a client of the server at `path`."""
    with Client.connect(path) as client:
        _timed("ping on an open connection", count, lambda: client.call("ping"))
        _timed("1 MiB body on an open connection", 100, lambda: client.call("take", {"body": BODY}))
    _timed("connect, hello, ping, close", count, lambda: _whole(path))


def starts() -> None:
    """Measure whole processes, in turn, so that the machine's mood hits all alike."""
    cases = ["pass", "import msgpack", "import nova_torch.protocol.client"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(STARTS):
        for case in cases:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", case], check=True, env=environment)
            times[case].append(time.perf_counter() - started)
    for case in cases:
        _report(f"python -c '{case}'", times[case])


async def serve(count: int) -> None:
    """Serve one client process."""
    calls = {
        "ping": Call(handler=_ping, access=Access.READ),
        "take": Call(handler=_take, access=Access.WRITE),
    }
    with tempfile.TemporaryDirectory(prefix="nv") as directory:
        async with ControlServer(f"{directory}/c", calls, Permissions.of()) as server:
            argv = [sys.executable, "-m", "benchmarks.control", str(count), server.path]
            process = await asyncio.create_subprocess_exec(*argv)
            await process.wait()


if __name__ == "__main__":
    calls_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if len(sys.argv) > 2:
        ask(sys.argv[2], calls_wanted)
    else:
        uvloop.run(serve(calls_wanted))
        starts()
