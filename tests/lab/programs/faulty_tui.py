"""The lab's agent with one fault of `--fault`; it happens once, at the first paste.

`dialog`: a dialog opens and swallows the paste. `enter`: the first Enter after it is swallowed. `exit`: it ends.
`drop`: the paste is lost whole, as Claude loses one; `drop-all`: each is. `late`: it acts on nothing for a while
after it has read the paste. `fuse`: half of the paste goes in at once, as one prompt with somebody else's words.
`sent`: what is in the box goes in right before the first Home, as if somebody's Enter had come first.
`sends`: it goes in right behind the first End, as if one had come at once.
`slow`: it has read what somebody types, and draws it half a second later, each time, from the start.
`linger`: what the first Enter after it sends is drawn in the box for a while longer, as Claude draws it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # started as a script: its neighbours are found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.lab.programs import agent_tui
from tests.lab.programs.tui_keys import Event, Key, Paste, Typed
from tests.lab.programs.tui_model import Agent, Happened

FAULTS = {"dialog", "enter", "exit", "drop", "drop-all", "late", "fuse", "linger", "sent", "sends", "slow"}
AT_KEY = {"enter": "enter", "linger": "enter", "sent": "home", "sends": "end"}
LATE_S = 4.0
SLOW_S = 0.5
LINGER_S = 3.0


@dataclass(slots=True, kw_only=True)
class FaultyAgent(Agent):
    """An agent whose fault waits for its first paste."""

    fault: str
    pasted: bool = False
    lingers_until: float | None = None

    def handle(self, event: Event, now: float) -> list[Happened]:
        """Take one input event, or fail at it."""
        if self.fault == "slow":
            if isinstance(event, Typed):
                time.sleep(SLOW_S)
            return Agent.handle(self, event, time.monotonic())
        self.pasted = self.pasted or isinstance(event, Paste)
        fault = self.fault
        if (
            not self.pasted
            or fault not in FAULTS
            or (fault in AT_KEY and event != Key(AT_KEY[fault]))
            or (fault == "drop-all" and not isinstance(event, Paste))
        ):
            return Agent.handle(self, event, now)
        if fault == "drop-all":
            return []
        if fault == "linger":
            return self._linger(event, now)
        self.fault = ""
        if fault in {"sent", "sends"}:
            events = [Key("enter"), event] if fault == "sent" else [event, Key("enter")]
            return [one for each in events for one in Agent.handle(self, each, now + 1.0)]
        if fault == "late":
            time.sleep(LATE_S)
            return Agent.handle(self, event, time.monotonic())
        if fault == "fuse" and isinstance(event, Paste):
            self.draft = f"theirs {event.text[: len(event.text) // 2]}"
            return Agent.handle(self, Key("enter"), now)
        if fault == "dialog":
            self.prompt, self.dialog_open = "a tool of its own", True
        return [Happened("quit", "crash")] if fault == "exit" else []

    def _linger(self, event: Event, now: float) -> list[Happened]:
        draft = self.draft
        happened = Agent.handle(self, event, now)
        if happened:
            self.fault, self.draft, self.lingers_until = "", draft, now + LINGER_S
        return happened

    def tick(self, now: float) -> list[Happened]:
        """Do what is due."""
        if self.lingers_until is not None and now >= self.lingers_until:
            self.draft, self.lingers_until = "", None
        return Agent.tick(self, now)

    def deadline(self) -> float | None:
        """When there is something to do next."""
        due = [at for at in (Agent.deadline(self), self.lingers_until) if at is not None]
        return min(due, default=None)


def main() -> None:
    """Take `--fault` off the command line and run the rest as agent_tui does."""
    at = sys.argv.index("--fault")
    fault = sys.argv[at + 1]
    del sys.argv[at : at + 2]

    def faulty(*, busy_s: float) -> Agent:
        return FaultyAgent(busy_s=busy_s, fault=fault)

    setattr(agent_tui, "Agent", faulty)  # noqa: B010 - a fault is put in from outside
    agent_tui.main()


if __name__ == "__main__":
    main()
