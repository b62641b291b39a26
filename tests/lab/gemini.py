"""Run the real Gemini CLI in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novactl.hooks.gemini import entries
from noval_d.canary.kinds.gemini import KIND
from tests.lab.agent_lab import AgentLab
from tests.lab.tmux import LabTimeout

PASTE_WINDOW_S = 0.3  # Gemini CLI makes a line feed of an Enter within 40 ms of a paste; starved, within 200
TAKEN_S = 2.0
TOP, BOTTOM = "▄" * 10, "▀" * 10


@dataclass(frozen=True, slots=True)
class GeminiLab(AgentLab):
    """One Gemini CLI in one pane."""

    kind = KIND

    @classmethod
    def settle(cls, home: Path, settings: Mapping[str, Any]) -> None:
        """Put them over Gemini CLI's own settings."""
        file = home / ".gemini" / "settings.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | dict(settings)), encoding="utf-8")

    @classmethod
    def hook_settings(cls) -> dict[str, Any]:
        """What `novactl hooks install gemini` writes."""
        return {"hooks": {event: [{"hooks": [entry]}] for event, entry in entries().items()}}

    @staticmethod
    def composer(screen: str) -> str | None:
        """What stands between the last two edges, None when that is no composer (a dialog, a start screen)."""
        rows = screen.splitlines()
        bottom = max((n for n, row in enumerate(rows) if row.startswith(BOTTOM)), default=-1)
        top = max((n for n, row in enumerate(rows[: max(bottom, 0)]) if row.startswith(TOP)), default=-1)
        inside = rows[top + 1 : bottom] if top >= 0 else []
        return "\n".join(inside) if inside and inside[0].lstrip()[:1] in {">", "*", "!"} else None

    def submit(self, text: str) -> None:
        """Paste a prompt, see it land, press Enter after the paste window; again, if that became a line feed."""
        before = self.composer(self.capture())
        self.server.paste(self.pane, text)
        self.wait_for(lambda screen: self.composer(screen) not in (None, before))
        for _ in range(3):
            time.sleep(PASTE_WINDOW_S)
            landed = (self.composer(self.capture()) or "").strip()
            self.server.press(self.pane, "Enter")
            with contextlib.suppress(LabTimeout):
                self.wait_for(lambda screen: landed not in (self.composer(screen) or ""), TAKEN_S)  # noqa: B023
                return
        raise LabTimeout(f"Gemini CLI did not take {text[:60]!r}")
