"""Run the real opencode in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.canary.kinds.opencode import KIND
from noval_d.canary.model.stub_model import StubModel
from tests.lab.agent_lab import AgentLab


@dataclass(frozen=True, slots=True)
class OpencodeLab(AgentLab):
    """One opencode in one pane. Its `bash` tool asks for permission."""

    kind = KIND

    @staticmethod
    def composer(screen: str) -> str | None:
        """What stands beside the bar above the last foot, None when there is no foot (a dialog, a blank start)."""
        rows = screen.splitlines()
        foot = max((index for index, row in enumerate(rows) if "╹▀▀▀" in row), default=-1)
        if foot < 0:
            return None
        first = foot
        while first > 0 and "┃" in rows[first - 1]:
            first -= 1
        return "\n".join(row.partition("┃")[2].strip() for row in rows[first : foot - 2]).strip()

    def submit(self, text: str) -> None:
        """Paste a prompt, see it land, and press Enter."""
        before = self.composer(self.capture())
        self.server.paste(self.pane, text)
        self.wait_for(lambda screen: self.composer(screen) not in (None, before))
        self.server.press(self.pane, "Enter")


@dataclass(frozen=True, slots=True)
class OpencodeApiLab(OpencodeLab):
    """The same, serving its HTTP API on a port that it chooses."""

    @classmethod
    def arguments(cls, stub: StubModel) -> tuple[str, ...]:
        return ("--port", "0")
