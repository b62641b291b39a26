"""The lab's agent with one fault of `--fault`: `dialog`, `enter` or `exit`; it happens once, at the first paste.

`dialog`: a dialog opens and swallows the paste. `enter`: the first Enter after it is swallowed. `exit`: it ends.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # started as a script: its neighbours are found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.lab.programs import agent_tui
from tests.lab.programs.tui_keys import Event, Key, Paste
from tests.lab.programs.tui_model import Agent, Happened


@dataclass(slots=True, kw_only=True)
class FaultyAgent(Agent):
    """An agent whose fault waits for its first paste."""

    fault: str
    pasted: bool = False

    def handle(self, event: Event, now: float) -> list[Happened]:
        """Take one input event, or fail at it."""
        self.pasted = self.pasted or isinstance(event, Paste)
        fault = self.fault
        if (
            not self.pasted
            or fault not in {"dialog", "enter", "exit"}
            or (fault == "enter" and event != Key("enter"))
        ):
            return Agent.handle(self, event, now)
        self.fault = ""
        if fault == "dialog":
            self.prompt, self.dialog_open = "a tool of its own", True
        return [Happened("quit", "crash")] if fault == "exit" else []


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
