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
from tests.lab.agent_lab import AgentLab
from tests.lab.stub_model import StubModel

SETTLE_S = 0.15
CONFIG = """\
model = "stub-model"
model_provider = "stub"
approval_policy = "on-request"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.stub]
name = "stub"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "STUB_KEY"
"""
TRUSTED = """
[projects."{directory}"]
trust_level = "trusted"
"""


@dataclass(frozen=True, slots=True)
class CodexLab(AgentLab):
    """One Codex in one pane."""

    name = "codex"

    @classmethod
    def environment(cls, stub: StubModel) -> dict[str, str]:
        return {"STUB_KEY": "stub"}

    @classmethod
    def furnish(
        cls, home: Path, directory: Path, stub: StubModel, settings: Mapping[str, Any] | None
    ) -> None:
        folder = home / ".codex"
        folder.mkdir()
        config = CONFIG.format(url=stub.url) + TRUSTED.format(directory=directory)
        (folder / "config.toml").write_text(config, encoding="utf-8")
        if settings is not None:
            hooks = folder / "hooks.json"
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
