"""Two nodes on one broker, a sender and an owner of agents, whose daemons are killed and started anew by tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nova_torch.errors import NovaError
from nova_torch.ulid import new_ulid
from noval_d.failpoints import VARIABLE
from tests.support.agents import Raw, Tui, raw, tui
from tests.support.node import TestNode, node, until

LINE, SCREEN = "line", "screen"
RETRY_S = 0.05
RECOVERY_S = 2.0  # within which a restarted daemon comes to its second death, if at all


@dataclass(slots=True)
class FaultStage:
    """What a test of failpoints plays on. `log` holds what each agent must have got, in order."""

    sender: TestNode
    owner: TestNode
    line: Raw
    screen: Tui
    log: dict[str, list[str]] = field(default_factory=lambda: {LINE: [], SCREEN: []})
    unconfirmed: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    messages: list[str] = field(default_factory=list)

    def got(self, kind: str) -> list[str]:
        """Return the bodies that an agent has got, in order."""
        if kind == LINE:
            return self.line.bytes().decode().split("\r")[:-1]
        return self.screen.prompts()

    def restart(self, which: TestNode, points: str = "", *, wait: bool = True) -> None:
        """kill -9 a daemon and start it again, armed with `points`."""
        if which.process is not None and which.process.poll() is None:
            which.kill()
        which.env.pop(VARIABLE, None)
        if points:
            which.env[VARIABLE] = points
        which.start(wait=wait)

    def send(self, kind: str, body: str, message: str, over: threading.Event) -> None:
        """Send until it is accepted, as a program would that gets no answer: with the same id."""
        agent = self.line.name if kind == LINE else self.screen.name
        while not over.is_set():
            try:
                self.sender.call("send", {"target": agent, "body": body, "id": message}, timeout_s=5)
            except NovaError:  # its daemon is dead, or does not know the agent yet: again
                time.sleep(RETRY_S)
            else:
                return

    def strike(self, which: TestNode, kind: str, points: str, then: str = "") -> dict[str, object]:
        """Send a message through `points`, at which the daemon of `which` dies; return its last receipt.

        The daemon is then started without them, or first with `then`, of which it may die once more. Fails unless
        it has died of the first.
        """
        if points.startswith("entered"):
            # what is open as the daemon starts shows soon that this agent has no hook: then the step is not passed
            until(
                lambda: all(self.sender.receipt(each)["final"] for each in self.messages), 20, "the verdicts"
            )
        body = f"message {self.sent} through {points} {then}".rstrip()
        self.sent += 1
        message = new_ulid()
        self.messages.append(message)
        over = threading.Event()
        self.restart(which, points, wait=False)
        sending = threading.Thread(target=self.send, args=(kind, body, message, over), daemon=True)
        sending.start()
        try:
            assert which.process is not None
            code = which.process.wait(30)
            assert code == -signal.SIGKILL, which.log()[-3000:]
            assert f"failpoint {points.partition('=')[0]}=" in which.log()[-3000:]
            if then:
                self.restart(which, then, wait=False)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    which.process.wait(RECOVERY_S)
            self.restart(which)
            sending.join(20)
            assert not sending.is_alive()
        finally:
            over.set()
        receipt = self.settled(message)
        self.log[kind].append(body)
        if receipt["state"] == "unconfirmed":
            self.unconfirmed[f"{points} {then}".rstrip()] += 1
        return receipt

    def settled(self, message: str) -> dict[str, object]:
        """Wait until the sender knows what became of a message.

        It may be final only later, when no hook has told more; that is not waited for.
        """

        def look() -> dict[str, object] | None:
            try:
                receipt = self.sender.receipt(message)
            except NovaError:
                return None
            return receipt if receipt["final"] or receipt["state"] == "submitted" else None

        try:
            return dict(until(look, 30, "a final state"))
        except AssertionError:
            trace = self.sender.call("trace", {"id": message})
            raise AssertionError(
                f"{trace}\n{self.sender.log()[-2000:]}\n{self.owner.log()[-3000:]}"
            ) from None


@contextlib.contextmanager
def fault_stage(folder: Path) -> Iterator[FaultStage]:
    """Give a stage; leave nothing behind."""
    with node() as sender:
        assert sender.capture is not None
        sender.capture.stop()  # it ends with the broker's connection, which these tests cut
        sender.capture = None
        broker = f"unix://{sender.state}/broker/broker.sock"
        with node(start=False, env={"NOVA_NODE": "owner", "NOVA_BROKER_URL": broker}) as owner:
            owner.start()
            owner.wait_up()
            made = FaultStage(sender, owner, raw(owner, folder, "line-1"), tui(owner, folder, "screen-1"))
            until(lambda: len(sender.call("agents")) == 2, 20, "the agents in the registry")
            yield made
            for each in (sender, owner):
                if each.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each.process.pid, signal.SIGCONT)
