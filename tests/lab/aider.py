"""Run the real aider in a private tmux server, against the stub model, in a clean environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.agent_lab import AgentLab
from tests.lab.stub_model import StubModel


@dataclass(frozen=True, slots=True)
class AiderLab(AgentLab):
    """One aider in one pane."""

    name = "aider"

    @classmethod
    def environment(cls, stub: StubModel) -> dict[str, str]:
        return {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENAI_API_BASE": f"{stub.url}/v1",
            "OPENAI_API_KEY": "stub",
        }

    @classmethod
    def furnish(
        cls, home: Path, directory: Path, stub: StubModel, settings: Mapping[str, Any] | None
    ) -> None:
        quiet = ("analytics", "check-update", "git", "show-model-warnings", "show-release-notes")
        lines = ["model: openai/stub-model", "max-chat-history-tokens: 10000000", "analytics-disable: true"]
        lines += [f"{name}: false" for name in quiet]
        (home / ".aider.conf.yml").write_text("\n".join([*lines, ""]), encoding="utf-8")

    @staticmethod
    def composer(screen: str) -> str | None:
        """What stands behind the last prompt, None when there is none."""
        rows = screen.rstrip().splitlines()
        return rows[-1][1:].strip() if rows and rows[-1].startswith(">") else None
