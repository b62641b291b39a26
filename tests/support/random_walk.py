"""A world of two nodes that a random walk sends messages through and breaks, and what must hold of it in the end.

The model is small: a message that was accepted reaches its pane exactly once, in its sender's order, and its
sender is told so. Only what was on its way to a pane as that pane was killed may be `unconfirmed`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from nova_torch.errors import NovaError
from nova_torch.ulid import new_ulid
from noval_d.failpoints import VARIABLE
from tests.support.agents import Raw, end_pane_program, tmux_pid
from tests.support.broker import ask
from tests.support.fault_stage import LINE, FaultStage
from tests.support.node import TestNode, until

SETTLE_S = 60.0
START_S = 5.0
DELIVERED = {"submitted", "acknowledged"}


@dataclass(slots=True)
class Sent:
    """A message of the model."""

    number: int
    id: str
    agent: str
    sender: str
    body: str
    accepted: int | None = None
    """Its place among those that were accepted."""
    harmed: bool = False
    """A pane of its agent was killed before it was known to be final."""
    state: str = ""


@dataclass(slots=True)
class World:
    """The stage, what was sent, and what was done."""

    stage: FaultStage
    folder: Path
    sent: list[Sent] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    accepted: int = 0

    def __post_init__(self) -> None:
        self.logs.append(self.stage.line.log)

    @property
    def nodes(self) -> dict[str, TestNode]:
        """Both nodes, by what they do."""
        return {"sender": self.stage.sender, "owner": self.stage.owner}

    def note(self, what: str) -> None:
        """Write down a step, for whoever reads a failure."""
        self.done.append(f"{time.monotonic():.2f} {what}")

    # -- steps --

    def send(self, sender: str, kind: str, text: str) -> None:
        """Send a message once; whether it was accepted is seen."""
        number = len(self.sent)
        agent = self.stage.line.name if kind == LINE else self.stage.screen.name
        message = Sent(number, new_ulid(), agent, sender, f"<{number}> {text}".rstrip())
        self.sent.append(message)
        self.note(f"send {number} by {sender} to {agent}")
        self.try_send(message, 1.0)

    def try_send(self, message: Sent, timeout_s: float) -> bool:
        """Send it, or send it again with the same id; False when nobody said that it was accepted."""
        args = {"target": message.agent, "body": message.body, "id": message.id}
        try:
            self.nodes[message.sender].call("send", args, timeout_s=timeout_s)
        except NovaError:
            return False
        if message.accepted is None:
            message.accepted, self.accepted = self.accepted, self.accepted + 1
        return True

    def kill(self, which: str, points: str) -> None:
        """kill -9 a daemon, start it again, armed with `points`, and wait until it answers or has died of them."""
        self.note(f"kill {which}, then {points or 'nothing'}")
        self.resume(which)
        daemon = self.nodes[which]
        self.stage.restart(daemon, points, wait=False)
        ends = time.monotonic() + START_S
        while time.monotonic() < ends and daemon.process is not None and daemon.process.poll() is None:
            try:
                daemon.call("ping", timeout_s=0.5)
            except NovaError:
                time.sleep(0.05)
            else:
                break

    def stop(self, which: str) -> None:
        """SIGSTOP a daemon."""
        process = self.nodes[which].process
        if process is not None and process.poll() is None:
            self.note(f"stop {which}")
            os.kill(process.pid, signal.SIGSTOP)

    def resume(self, which: str) -> None:
        """SIGCONT a daemon."""
        process = self.nodes[which].process
        if process is not None and process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """FLUSHALL."""
        self.note("wipe the broker")
        with contextlib.suppress(OSError):
            ask(str(self.stage.sender.state / "broker" / "broker.sock"), "FLUSHALL")

    def kill_broker(self) -> None:
        """kill -9 the broker; the sender's daemon starts another one."""
        self.note("kill the broker")
        file = self.stage.sender.state / "broker" / "broker.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(file.read_text()), signal.SIGKILL)

    def stall_tmux(self, seconds: float) -> None:
        """Stop the owner's tmux server for a while."""
        self.note(f"stop tmux for {seconds} s")
        pid = tmux_pid(self.stage.owner)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def kill_pane(self, *, program: bool) -> None:
        """kill -9 the line program, or close its pane; another one takes its place, not registered yet."""
        self.note("end the program" if program else "kill the pane")
        agent = self.stage.line
        self._harm(agent.name)
        with agent.log.open("rb") as read_is_written:  # else what it has read may die with it
            fcntl.flock(read_is_written, fcntl.LOCK_EX)
            with contextlib.suppress(RuntimeError):
                if program:
                    end_pane_program(self.stage.owner, agent.pane)
                else:
                    self.stage.owner.tmux.tmux("kill-pane", "-t", agent.pane)
        self._harm(agent.name)
        log = self.folder / f"again-{len(self.logs)}.bytes"
        pane = self.stage.owner.tmux.open_program("rawlog.py", [str(log)])
        self.stage.owner.tmux.wait_for(pane, "READY")
        self.stage.line = Raw(self.stage.owner, agent.name, pane, log)
        self.logs.append(log)

    def _harm(self, agent: str) -> None:
        for message in self.sent:
            message.harmed |= message.agent == agent and not message.state

    def register(self) -> bool:
        """Register the line agent where its program runs now; False when nobody took that."""
        try:
            self.stage.owner.register(self.stage.line.name, self.stage.line.pane)
        except NovaError:
            return False
        return True

    # -- the end --

    def settle(self) -> None:
        """Let everything live again, wait until each message has its last state, and compare."""
        self.note("settle")
        for which, daemon in self.nodes.items():
            self.resume(which)
            if daemon.env.pop(VARIABLE, "") or daemon.process is None or daemon.process.poll() is not None:
                self.stage.restart(daemon)
        for daemon in self.nodes.values():
            daemon.wait_ready()
        until(self._registered, SETTLE_S, "the agents")
        for message in self.sent:
            if message.accepted is None or not message.state:
                until(lambda m=message: self.try_send(m, 5.0), SETTLE_S, f"a taker of {message}")  # type: ignore[misc]
        try:
            until(self._final, SETTLE_S, "the last message")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None
        self.compare()

    def _registered(self) -> bool:
        if not self.register():
            return False
        try:
            found = {row["agent_id"]: row for row in self.stage.sender.call("agents")}
        except NovaError:
            return False
        return {self.stage.line.name, self.stage.screen.name} <= set(found)

    def _final(self) -> bool:
        for message in self.sent:
            if message.state:
                continue
            receipt = self.nodes[message.sender].receipt(message.id)
            if not receipt["final"] and receipt["state"] not in DELIVERED:
                return False
            message.state = receipt["state"]
        return True

    def got(self) -> dict[str, list[int]]:
        """Return the numbers of the messages that each agent has got, in order. Raises on any other text."""
        line = b"".join(log.read_bytes() for log in self.logs if log.exists()).decode()
        found = {
            self.stage.line.name: [text for text in line.split("\r") if text],
            self.stage.screen.name: self.stage.screen.prompts(),
        }
        bodies = {message.body: message.number for message in self.sent}
        for agent, texts in found.items():
            strange = [text for text in texts if text not in bodies]
            assert not strange, f"{agent} got {strange}\n{self.story()}"
        return {agent: [bodies[text] for text in texts] for agent, texts in found.items()}

    def compare(self) -> None:
        """Hold what the panes got against what the senders were told."""
        got = self.got()
        for message in self.sent:
            times = Counter(got[message.agent])[message.number]
            if message.state in DELIVERED:
                assert times == 1, f"{message}: {times} times\n{self.whole_story(message)}"
            else:
                assert message.state == "unconfirmed", f"{message}\n{self.story()}"
                assert message.harmed, (
                    f"{message}: nothing that cannot be told apart has happened\n{self.story()}"
                )
                assert times <= 1, f"{message}: {times} times\n{self.story()}"
        for agent, numbers in got.items():
            for sender in self.nodes:
                mine = [self.sent[n].accepted or 0 for n in numbers if self.sent[n].sender == sender]
                assert mine == sorted(mine), f"{agent}, from {sender}: {mine}\n{self.story()}"

    @property
    def unconfirmed(self) -> int:
        """How many messages ended so."""
        return sum(message.state == "unconfirmed" for message in self.sent)

    def whole_story(self, message: Sent) -> str:
        """Return the story with everything that is known of one message."""
        found = [self.story()]
        found += [f"{log.name}: {log.read_bytes()[-2000:]!r}" for log in self.logs if log.exists()]
        for name, daemon in self.nodes.items():
            found.append(f"{name}'s log:\n{daemon.log()[-12000:]}")
            with contextlib.closing(sqlite3.connect(daemon.state / "state.db")) as file:
                rows = file.execute("SELECT * FROM hops WHERE message = ?", (message.id,)).fetchall()
                columns = "id, phase, attempt, pane, state, reason, updated_ms"
                known = file.execute(f"SELECT {columns} FROM ledger WHERE id = ?", (message.id,)).fetchall()
            found.append(f"{name}: hops {rows}, ledger {known}")
        return "\n".join(found)

    def story(self) -> str:
        """Return what was done and what the nodes tell, for people."""
        open_ones = [message for message in self.sent if message.state not in DELIVERED][:3]
        traces = []
        for message in open_ones:
            with contextlib.suppress(NovaError):
                traces.append(str(self.nodes[message.sender].call("trace", {"id": message.id})))
        logs = [daemon.log()[-1500:] for daemon in self.nodes.values()]
        return "\n".join([*self.done, *traces, *logs])
