"""Two nodes, each behind a proxy of its own, on one real server: one sends, each has an agent."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.agents import Raw, raw
from tests.support.faulty import FaultyProxy, faulty_proxy
from tests.support.node import TestNode, node, until
from tests.support.servers import OwnServer, own_server

BACK_S = 10.0
"""What the way back may take, from the broker's return to the last message."""


@dataclass(slots=True)
class Pair:
    """`near` sends; the agents `here` (its own) and `there` (of `far`) log every byte that they get."""

    server: OwnServer
    near: TestNode
    far: TestNode
    near_way: FaultyProxy
    far_way: FaultyProxy
    here: Raw
    there: Raw
    password_file: Path
    folder: Path
    sent: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {"here": [], "there": []})
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def ways(self) -> tuple[FaultyProxy, FaultyProxy]:
        return self.near_way, self.far_way

    def send(self, agent: str, count: int = 1, **options: object) -> list[str]:
        """Send so many messages from `near`, and remember them."""
        made = []
        for _ in range(count):
            body = f"message {next(self._numbers)}"
            message = str(self.near.send(agent, body, **options)["id"])
            self.sent[agent].append((message, body))
            made.append(message)
        return made

    def finding(self) -> dict[str, str]:
        """Return what `status` of `near` says of the broker; empty when it is well."""
        for check in self.near.call("status")["health"]:
            if check["code"].startswith("broker"):
                return dict(check)
        return {}

    def mode(self) -> str:
        return str(self.near.call("status")["mode"])

    def well(self) -> bool:
        return all(
            (status := one.call("status"))["broker"]["state"] == "up" and not status["health"]
            for one in (self.near, self.far)
        )

    def alive(self) -> None:
        for one in (self.near, self.far):
            assert one.process is not None
            assert one.process.poll() is None, one.log()[-6000:]

    def all_once(self, since: float | None = None) -> None:
        """Wait until everything is submitted; compare both panes with what was sent, byte for byte."""
        began = time.monotonic() if since is None else since
        for agent, log in (("here", self.here), ("there", self.there)):
            for message, _ in self.sent[agent]:
                left_s = max(began + BACK_S - time.monotonic(), 0.1)
                assert self.near.wait_state(message, "submitted", timeout_s=left_s)["final"]
            assert log.bytes() == b"".join(f"{body}\r".encode() for _, body in self.sent[agent])
        self.alive()
        until(self.well, max(began + BACK_S + 5 - time.monotonic(), 0.1), f"health: {self.finding()}")


@contextlib.contextmanager
def pair(
    env: Mapping[str, str] | None = None,
    *,
    user: str = "",
    prepare: Callable[[OwnServer], str | None] = lambda _server: None,
) -> Iterator[Pair]:
    """Run a server, two proxies and two nodes, which log in as `user`.

    `prepare` the server before; the URL that it may return is the nodes' in place of the proxies'.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nova-p-", dir="/tmp")))
        server = stack.enter_context(own_server())
        instead = prepare(server)
        ways = [stack.enter_context(faulty_proxy(server.port)) for _ in range(2)]
        password_file = folder / "password"
        password_file.touch(0o600)
        password_file.write_text(server.password)
        common = {"NOVA_BROKER_PASSWORD_FILE": str(password_file), "NOVA_BROKER_BEAT_S": "0.5", **(env or {})}
        nodes = [
            stack.enter_context(
                node(
                    start=False,
                    env={**common, "NOVA_NODE": name, "NOVA_BROKER_URL": instead or way.url_of(user)},
                )
            )
            for name, way in zip(("near", "far"), ways, strict=True)
        ]
        for made in nodes:
            made.start(wait=False)
        for made in nodes:
            made.wait_ready()
            made.wait_up()
        near, far = nodes
        here, there = raw(near, folder, "here"), raw(far, folder, "there")
        until(lambda: len(near.call("agents")) == 2, what="both agents in the registry")
        yield Pair(server, near, far, ways[0], ways[1], here, there, password_file, folder)
