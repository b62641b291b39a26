"""Try one agent: start it, have it work and ask, send messages meanwhile, and compare what is seen and claimed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_torch.errors import NotFound, NovaError
from noval_d.agents.driver import Driver
from noval_d.canary.kinds.kind import PAGE, Kind
from noval_d.canary.model.sse import TOOL_FILE
from noval_d.canary.results import Check, Outcome, Result, Screen, claimed, drift, not_run, ok, spoken
from noval_d.canary.stage import OutOfTime, Stage

START_LIMIT_S = 60.0
READY_S = 4.0  # an idle machine has any of them ready within about this; limits grow with what it takes more
SEEN_LIMIT_S = 10.0
PROOF_LIMIT_S = 45.0
HELD_S = 1.0  # so long nothing happens to a message that is held
SLOW_S = 3600.0  # an answer that does not come before it is let go
PANE_DEAD = "Pane is dead"  # tmux's own words
UNPROVEN = frozenset({"unconfirmed", "failed", "expired", "dead"})

Told = Callable[[Check], None]


class Stop(Exception):
    """What follows cannot be checked. Says why."""


def slowness(ready_s: float) -> float:
    """Return how many times longer to wait for what an agent does which took `ready_s` to be ready; 1 at least.

    An opencode that a busy machine had ready after 38 s asked the model first 10 s after its prompt was gone.
    """
    return max(1.0, ready_s / READY_S)


@dataclass(slots=True, kw_only=True)
class Trial:
    """One agent on its stage."""

    on: Stage
    kind: Kind
    driver: Driver
    program: str
    hooks: str = ""
    """Why its hooks are not installed; nothing: they are, or it has none."""
    pane: str = ""
    _count: int = field(default=0)

    def run(self, tell: Told) -> Iterator[Result]:
        """Yield a result for each check, in their order; `tell` is told of each before it begins."""
        left = list(Check)
        why = ""
        try:
            for step in (self._ready, self._proof, self._busy, self._dialog):
                tell(left[0])
                for result in step():
                    left.remove(result.check)
                    yield result
        except Stop as stop:
            why = str(stop)
        except OutOfTime:
            why = "its time was over (--timeout)"
        except NovaError as error:
            why = error.message
        yield from (not_run(check, why) for check in left)

    # -- the checks --

    def _ready(self) -> Iterator[Result]:
        on, driver = self.on, self.driver
        if self.kind.hooked:
            self.hooks = on.run_novactl("hooks", "install", self.kind.name)
        spawned = {
            "role": "canary",
            "agent_id": self.kind.name,
            "driver": driver.name,
            "command": [self.program, *driver.start.command[1:]],
            "cwd": str(on.work),
            "env": {**self.kind.environment(on.stub.url), "PATH": on.environment["PATH"]},
            "allow": [dialog.name for dialog in driver.start.dialogs],
        }
        expected = "an empty input box"
        began = time.monotonic()
        try:
            on.follow("spawn", spawned, START_LIMIT_S)
            on.slow = slowness(time.monotonic() - began)
            self.pane = self._record()["pane"]
        except NovaError as error:
            yield self._unready(error, expected)
            raise Stop("it did not become ready") from None
        screen = self._wait_idle()
        if not screen.empty:
            yield drift(Check.READY, expected, str(screen), screen)
            raise Stop("its empty input box is not seen")
        yield ok(Check.READY)

    def _unready(self, error: NovaError, expected: str) -> Result:
        """Say of an agent that did not become ready whether it is there."""
        try:
            record = self._record()
            self.pane = record["pane"]
            screen = self._screen()
        except NovaError:
            return not_run(Check.READY, error.message)
        if record["state"] in ("exited", "lost"):
            return not_run(Check.READY, f"{error.message} {self._last_words()}".strip(), screen)
        return drift(Check.READY, expected, str(screen), screen)

    def _proof(self) -> Iterator[Result]:
        marker, message = self._send("Good morning: a short answer, please.")
        result = self._claimed(Check.PROOF, marker, message)
        if self.hooks and result.outcome is Outcome.OK:
            result = drift(Check.PROOF, "hooks that can be installed", self.hooks, None)
        yield result
        self._expect_idle()

    def _busy(self) -> Iterator[Result]:
        on = self.on
        on.stub.delay_s = SLOW_S
        marker, first = self._send("Take your time for this one.")
        if on.stub.wait_received(marker, timeout_s=on.left(PROOF_LIMIT_S)) == 0:
            raise Stop(f"the model did not get a message ({self._state(first)})")
        screen = on.wait(self._screen, lambda seen: bool(seen.seen.get("busy")), SEEN_LIMIT_S)
        if not screen.seen.get("busy"):
            yield drift(Check.BUSY, "that it works", str(screen), screen)
            yield not_run(Check.QUEUE, "that it works is not seen")
        else:
            yield ok(Check.BUSY)
            yield self._queue()
        on.stub.delay_s = 0.0
        self._settled(first)
        self._expect_idle()

    def _queue(self) -> Result:
        on = self.on
        marker, message = self._send("One more thing.")
        gone = ("typed", "submitted", *self._wanted, *UNPROVEN)
        queues, api = self.driver.queues_while_busy, bool(self.driver.api_kind)

        def as_expected(seen: Mapping[str, Any]) -> bool:
            """Its API takes one at any time, its input box as the driver says."""
            typed, held = seen["state"] in gone, seen["reason"] == "busy"
            return typed or held if api else typed if queues else held

        receipt = on.wait(lambda: self._receipt(message), as_expected, SEEN_LIMIT_S)
        if not as_expected(receipt):
            expected = "typed while it works" if queues else "held: busy"
            return drift(Check.QUEUE, expected, spoken(receipt), self._screen())
        on.stub.delay_s = 0.0
        return self._claimed(Check.QUEUE, marker, message)

    def _dialog(self) -> Iterator[Result]:
        on = self.on
        on.stub.mode = "tool"
        asking = self._ask(self.kind.ask.format(url=on.stub.url))
        screen = on.wait(self._screen, lambda seen: bool(seen.seen.get("dialog")), SEEN_LIMIT_S)
        if not screen.seen.get("dialog"):
            sent = f"; the message that should open it: {self._state(asking)}" if asking else ""
            yield drift(Check.DIALOG, "the dialog that asks for a permission", f"{screen}{sent}", screen)
            raise Stop("the dialog is not seen")
        yield ok(Check.DIALOG)
        marker, message = self._send("When that is done: a short answer, please.")
        receipt = on.wait(
            lambda: self._receipt(message), lambda seen: seen["reason"] == "dialog", SEEN_LIMIT_S
        )
        if receipt["reason"] == "dialog":  # and it stays so
            receipt = on.wait(lambda: self._receipt(message), lambda seen: seen["reason"] != "dialog", HELD_S)
        if receipt["reason"] != "dialog":
            yield drift(Check.HELD, "held: dialog", spoken(receipt), self._screen())
            return
        on.stub.mode = "text"
        on.press(self.pane, self.kind.refuse)
        result = self._claimed(Check.HELD, marker, message)
        if asking:
            self._settled(asking)
        if (on.work / TOOL_FILE).exists() or PAGE in on.stub.strays:
            result = drift(Check.HELD, "nothing approved", "the dialog was approved", self._screen())
        yield result

    # -- what they are made of --

    @property
    def _wanted(self) -> tuple[str, ...]:
        """The states of a proven message: by its own hook where it has any, by its API once that is found."""
        if self.kind.hooked and not self.hooks:
            return ("acknowledged",)
        return ("submitted", "acknowledged") if self.driver.api_kind else ("submitted",)

    def _send(self, text: str) -> tuple[str, str]:
        """Send a marked message; return the marker, and the message's id."""
        self._count += 1
        marker = f"[[canary-{self._count}]]"
        return marker, self.on.call("send", {"target": self.kind.name, "body": f"{marker} {text}"})["id"]

    def _ask(self, text: str) -> str:
        """Enter the prompt that makes it ask; return the message that carries it, "" when it was typed."""
        if not self.kind.by_hand:
            return self._send(text)[1]
        self.on.press(self.pane, ("-l", text))
        self.on.wait(self._screen, lambda seen: bool(seen.seen.get("composer")), SEEN_LIMIT_S)
        self.on.press(self.pane, ("Enter",))
        return ""

    def _receipt(self, message: str) -> dict[str, Any]:
        return dict(self.on.call("follow", {"id": message}))

    def _state(self, message: str) -> str:
        return spoken(self._receipt(message))

    def _settled(self, message: str) -> dict[str, Any]:
        """Wait until a message is proven, or will never be."""
        done = UNPROVEN.union(self._wanted)
        return self.on.wait(lambda: self._receipt(message), lambda seen: seen["state"] in done, PROOF_LIMIT_S)

    def _claimed(self, check: Check, marker: str, message: str) -> Result:
        """Wait for a message's proof, and compare it with what the model got."""
        receipt = self._settled(message)
        self.on.stub.wait_received(marker, timeout_s=self.on.left(SEEN_LIMIT_S))
        return claimed(check, self._wanted, receipt, self.on.stub.received(marker), self._screen())

    def _record(self) -> dict[str, Any]:
        for agent in self.on.call("agents"):
            if agent["agent_id"] == self.kind.name:
                return dict(agent)
        raise NotFound(f"the agent {self.kind.name} is not there.")

    def _last_words(self) -> str:
        """Return the last line that an agent which has ended left in its pane."""
        lines = self.on.history(self.pane)
        said = [line.strip() for line in lines if line.strip() and not line.startswith(PANE_DEAD)]
        return f"it said: {said[-1]}" if said else ""

    def _screen(self) -> Screen:
        return self.on.screen(self.pane, self.driver.name)

    def _wait_idle(self) -> Screen:
        return self.on.wait(self._screen, lambda seen: seen.empty, SEEN_LIMIT_S)

    def _expect_idle(self) -> None:
        if not (screen := self._wait_idle()).empty:
            raise Stop(f"it does not come to rest: {screen}")
