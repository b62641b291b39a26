"""Keep what a stopped agent's pane showed, and a summary of its life, in the state directory. 0700, 0600."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_torch.errors import StoreFailed
from nova_torch.values import AgentId


def archive_name(agent: AgentId, now_ms: int) -> str:
    """Return the name of the directory of an agent that is stopped at `now_ms`."""
    return f"{agent}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_ms / 1000))}"


def keep(directory: Path, files: Mapping[str, str]) -> None:
    """Write `files` into `directory`; those that are there already are written anew. Raises StoreFailed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in files.items():
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(directory / name, flags, 0o600), "w", encoding="utf-8") as sink:
                sink.write(text)
    except OSError as error:
        raise StoreFailed(
            f"the archive {directory} cannot be written: {error.strerror}.", "Make room."
        ) from None


def summary(facts: Mapping[str, Any]) -> str:
    """Return the text of summary.json."""
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
