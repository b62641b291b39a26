"""Claude Code, led to the stub model. No I/O."""

from __future__ import annotations

import json

from noval_d.canary.kinds.kind import Kind

KEY = "sk-ant-stub-" + "0" * 20
QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_BUG_COMMAND",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
)


def _environment(url: str) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY, **dict.fromkeys(QUIET, "1")}


def _files(directory: str, _url: str) -> dict[str, str]:
    state = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {directory: {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    }
    return {".claude.json": json.dumps(state)}


KIND = Kind(name="claude", title="Claude Code", environment=_environment, files=_files, hooked=True)
