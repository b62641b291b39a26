"""Run the real Claude Code in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novactl.hooks.claude import EVENTS, command
from noval_d.canary.kinds.claude import KIND
from tests.lab.agent_lab import AgentLab
from tests.lab.install import AGENTS

PASTE_WINDOW_S = 0.15  # Claude joins an Enter within 100 ms to the paste
RULE = "─" * 10


def find_claude() -> Path | None:
    """The binary: `$NOVA_CLAUDE_BIN`, else the one installed under `.lab`, else None."""
    return AGENTS["claude"].find()


@dataclass(frozen=True, slots=True)
class ClaudeLab(AgentLab):
    """One Claude Code in one pane. At its first paint it may swallow an Enter; 16 of 16 were taken even there."""

    kind = KIND

    @classmethod
    def settle(cls, home: Path, settings: Mapping[str, Any]) -> None:
        """Write them into Claude Code's own settings."""
        (home / ".claude").mkdir()
        (home / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def hook_settings(cls) -> dict[str, Any]:
        """What `novactl hooks install claude` writes."""
        hooks = {
            event: [{"hooks": [{"type": "command", "command": command(event), "timeout": 5}]}]
            for event in EVENTS
        }
        return {"hooks": hooks}

    @staticmethod
    def composer(screen: str) -> str | None:
        """What stands between the last two rules, None when that is no composer (a dialog, a start screen)."""
        rows = screen.splitlines()
        rules = [index for index, row in enumerate(rows) if row.startswith(RULE)]
        inside = rows[rules[-2] + 1 : rules[-1]] if len(rules) > 1 else []
        return "\n".join(inside) if inside and inside[0].startswith("❯") else None

    def submit(self, text: str) -> None:
        """Paste a prompt, see it land, and press Enter after Claude's paste window."""
        before = self.composer(self.capture())
        self.server.paste(self.pane, text)
        self.wait_for(lambda screen: self.composer(screen) not in (None, before))
        time.sleep(PASTE_WINDOW_S)
        self.server.press(self.pane, "Enter")
