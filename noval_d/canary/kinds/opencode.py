"""opencode, led to the stub model. Its `bash` tool asks for permission. No I/O."""

from __future__ import annotations

import json

from noval_d.canary.kinds.kind import Kind

QUIET = ("OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_MODELS_FETCH")
MODEL = {"name": "Stub Model", "limit": {"context": 1_000_000, "output": 8000}}


def _environment(_url: str) -> dict[str, str]:
    return dict.fromkeys(QUIET, "1")


def _files(_directory: str, url: str) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Stub",
        "options": {"baseURL": f"{url}/v1", "apiKey": "stub"},
        "models": {"stub-model": MODEL},
    }
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "model": "stub/stub-model",
        "small_model": "stub/stub-model",
        "provider": {"stub": provider},
        "permission": {"bash": "ask"},
    }
    return {".config/opencode/opencode.json": json.dumps(settings)}


KIND = Kind(name="opencode", title="opencode", environment=_environment, files=_files)
