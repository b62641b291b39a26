"""Run the real opencode in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.agent_lab import AgentLab
from tests.lab.stub_model import StubModel


@dataclass(frozen=True, slots=True)
class OpencodeLab(AgentLab):
    """One opencode in one pane. Its `bash` tool asks for permission."""

    name = "opencode"

    @classmethod
    def environment(cls, stub: StubModel) -> dict[str, str]:
        quiet = (
            "OPENCODE_DISABLE_AUTOUPDATE",
            "OPENCODE_DISABLE_LSP_DOWNLOAD",
            "OPENCODE_DISABLE_MODELS_FETCH",
        )
        return dict.fromkeys(quiet, "1")

    @classmethod
    def furnish(
        cls, home: Path, directory: Path, stub: StubModel, settings: Mapping[str, Any] | None
    ) -> None:
        model = {"name": "Stub Model", "limit": {"context": 1_000_000, "output": 8000}}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Stub",
            "options": {"baseURL": f"{stub.url}/v1", "apiKey": "stub"},
            "models": {"stub-model": model},
        }
        mine = {
            "autoupdate": False,
            "share": "disabled",
            "model": "stub/stub-model",
            "small_model": "stub/stub-model",
            "provider": {"stub": provider},
            "permission": {"bash": "ask"},
        }
        folder = home / ".config" / "opencode"
        folder.mkdir(parents=True)
        (folder / "opencode.json").write_text(json.dumps(mine), encoding="utf-8")

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
