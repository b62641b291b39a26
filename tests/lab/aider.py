"""Run the real aider in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.canary.kinds.aider import KIND
from tests.lab.agent_lab import AgentLab


@dataclass(frozen=True, slots=True)
class AiderLab(AgentLab):
    """One aider in one pane."""

    kind = KIND

    @staticmethod
    def composer(screen: str) -> str | None:
        """What stands behind the last prompt (`> `, `diff> `), None when there is none."""
        rows = screen.rstrip().splitlines()
        mark, found, text = rows[-1].partition(">") if rows else ("", "", "")
        return text.strip() if found and (not mark or mark.isalpha()) else None
