"""The node runs out of descriptors or memory, or its readers do not read: it refuses, goes on, and recovers."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import DaemonUnreachable, NovaError
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import hello, pack, request
from tests.support.agents import raw
from tests.support.machine import cpu_s, descriptors, hold, let, limit_descriptors, memory_kb
from tests.support.node import TestNode, node, until


@pytest.fixture
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def pid_of(running: TestNode) -> int:
    assert running.process is not None
    assert running.process.poll() is None, running.log()[-3000:]
    return running.process.pid


def answered(running: TestNode, timeout_s: float = 0.3) -> bool:
    with contextlib.suppress(NovaError), Client.connect(running.socket, timeout_s) as client:
        return bool(client.call("ping"))
    return False


def test_without_a_free_descriptor_who_is_connected_is_served_and_nothing_is_lost(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    hold(agent)
    pid = pid_of(running)
    with Client.connect(running.socket) as client, contextlib.ExitStack() as idle:
        limit_descriptors(pid, descriptors(pid) + 5)
        with contextlib.suppress(DaemonUnreachable):
            while True:
                idle.enter_context(Client.connect(running.socket, 0.5))
        sent = [str(client.call("send", {"target": "raw", "body": f"message {n}"})["id"]) for n in range(3)]
        let(agent)
        before = cpu_s(pid)
        time.sleep(2.0)
        assert cpu_s(pid) - before < 0.6, "it spins"
        assert client.call("status")["node"] == "test-node"
        idle.close()
        until(lambda: answered(running), 45, "an answer to a new connection")
        for message in sent:
            running.wait_state(message, "submitted")
    assert agent.bytes() == b"message 0\rmessage 1\rmessage 2\r"
    assert running.log().count("control.accept_failed") < 10
    pid_of(running)


def test_a_broker_that_is_lost_while_no_descriptor_is_free_is_come_back_to_later(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    pid = pid_of(running)
    with Client.connect(running.socket) as client:
        limit_descriptors(pid, 3)  # nothing can be opened
        broker = running.state / "broker" / "broker.pid"
        old = int(broker.read_text())
        os.kill(old, signal.SIGKILL)
        until(lambda: client.call("status")["broker"]["state"] == "down", what="the loss")
        sent = str(client.call("send", {"target": "raw", "body": "meanwhile"})["id"])
        time.sleep(1.0)
        limit_descriptors(pid, 1024)
        until(lambda: client.call("status")["broker"]["state"] == "up", 45, "the broker")
        running.wait_state(sent, "submitted")
    assert agent.bytes() == b"meanwhile\r"
    pid_of(running)


def said(sock: socket.socket) -> bytes:
    """What a peer says next; nothing when it was cut off. TimeoutError: it is served still."""
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(65_536)
    return b""


def test_readers_that_do_not_read_cost_neither_memory_nor_time(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    pid = pid_of(running)
    dead = []
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(running.socket)
            sock.sendall(pack(hello()) + pack(request(1, "watch", {}, more=True)))
            dead.append(sock)
        bodies = [f"{n} " + "x" * 400 for n in range(260)]
        sent = [running.send("raw", body)["id"] for body in bodies[:50]]
        running.wait_state(sent[-1], "submitted")
        before = memory_kb(pid)
        worst_s = 0.0
        with Client.connect(running.socket) as client:
            for body in bodies[50:]:
                sent.append(client.call("send", {"target": "raw", "body": body})["id"])
                began = time.monotonic()
                client.call("ping")
                worst_s = max(worst_s, time.monotonic() - began)
        running.wait_state(sent[-1], "submitted")
        grown = memory_kb(pid) - before
        assert grown < 8_000, f"{grown} kB"
        assert worst_s < 10.0
        for sock in dead:  # told, or cut off after as long as a frame may take
            sock.settimeout(5)
            data = b""
            while b"lagged" not in data and (more := said(sock)):
                data += more
    assert agent.bytes() == b"".join(body.encode() + b"\r" for body in bodies)


def test_a_node_that_may_have_no_more_memory_refuses_or_is_started_again_and_loses_nothing(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    hold(agent)
    pid = pid_of(running)
    bodies = [f"{number} " + "x" * (900_000 if number > 3 else 90) for number in range(16)]
    accepted, refused = [(str(running.send("raw", body)["id"]), body) for body in bodies[:4]], 0
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size + 8 * 1024 * 1024, resource.RLIM_INFINITY))
    for body in bodies[4:]:
        try:
            accepted.append((str(running.send("raw", body)["id"]), body))
        except NovaError:
            refused += 1
    assert running.process is not None
    assert refused
    assert running.process is not None
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    process = running.process
    until(lambda: answered(running) or process.poll() is not None, 45, "an answer, or its end")
    if process.poll() is not None:  # a part of it could not go on
        assert process.returncode != 0
        running.start()
        running.wait_up()
    let(agent)
    for message, _ in accepted:
        running.wait_state(message, "submitted", timeout_s=60)
    running.wait_state(running.send("raw", "and more")["id"], "submitted")
    *got, end = agent.bytes().decode().split("\r")
    assert end == ""
    assert len(set(got)) == len(got) <= len(accepted) + refused + 1
    told = [body for _, body in accepted] + ["and more"]
    assert [body for body in got if body in told] == told
    assert set(got) <= {*bodies, "and more"}  # one whose answer was lost may have come all the same
