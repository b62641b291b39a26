"""Measure the control socket: a call on an open connection, a whole connection, what importing the client costs.

`python -m benchmarks control` shows it; this module alone prints every time as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import uvloop

from benchmarks.figures import Report, median, ms, percentile
from nova_torch.protocol.client import Client
from noval_d.control.calls import Access, Call, Peer
from noval_d.control.peers import Permissions
from noval_d.control.server import ControlServer

STARTS = 40
CALLS = 5000
BODY = b"x" * (1 << 20)


async def _ping(peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": "here", "version": "0", "pid": os.getpid()}


async def _take(peer: Peer, args: Mapping[str, Any]) -> int:
    return len(args["body"])


def _report(name: str, times_s: list[float]) -> None:
    print(json.dumps([name, times_s]), flush=True)


def run() -> list[Report]:
    """Run this module as a process of its own, the server's, and shape what it and its client print."""
    argv = [sys.executable, "-m", "benchmarks.control", str(CALLS)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
    report = Report(title="The control socket", columns=("n", "p50 ms", "p99 ms"))
    for line in done.stdout.splitlines():
        name, times = json.loads(line)
        report.add(name, str(len(times)), ms(median(times)), ms(percentile(times, 0.99)))
    report.notes.append("Client and server are two processes; the calls do nothing but answer.")
    return [report]


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
    calls_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    if len(sys.argv) > 2:
        ask(sys.argv[2], calls_wanted)
    else:
        uvloop.run(serve(calls_wanted))
        starts()
