"""Run the real Codex CLI in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novactl.hooks.codex import entries
from novactl.hooks.codex_trust import trust
from noval_d.canary.kinds.codex import KIND
from noval_d.canary.model.stub_model import StubModel
from tests.lab.agent_lab import AgentLab

SETTLE_S = 0.15


@dataclass(frozen=True, slots=True)
class CodexLab(AgentLab):
    """One Codex in one pane."""

    kind = KIND

    @classmethod
    def settle(cls, home: Path, settings: Mapping[str, Any]) -> None:
        """Write the hooks, and have Codex trust them."""
        hooks = home / ".codex" / "hooks.json"
        hooks.write_text(json.dumps(settings), encoding="utf-8")
        trust(str(hooks), str(cls.installed().find()))

    @classmethod
    def hook_settings(cls) -> dict[str, Any]:
        """What `novactl hooks install codex` writes."""
        return {"hooks": {event: [{"hooks": [entry]}] for event, entry in entries().items()}}

    @classmethod
    def arguments(cls, stub: StubModel) -> tuple[str, ...]:
        return ("--no-daemon",)  # hooks of the server that several share do not know their pane

    @staticmethod
    def composer(screen: str) -> str | None:
        """The bottom-most row behind `›`, None when that is a choice of a dialog or there is none."""
        rows = [row for row in screen.splitlines() if row.startswith("›")]
        return rows[-1] if rows and not rows[-1][2:4].rstrip(".").isdigit() else None

    def submit(self, text: str) -> None:
        """Paste a prompt, see it land, and press Enter."""
        before = self.composer(self.capture())
        self.server.paste(self.pane, text)
        self.wait_for(lambda screen: self.composer(screen) not in (None, before))
        time.sleep(SETTLE_S)
        self.server.press(self.pane, "Enter")
