"""Gemini CLI, led to the stub model. No I/O."""

from __future__ import annotations

import json

from noval_d.canary.kinds.kind import Kind

SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "ui": {"hideTips": True},
}


def _environment(url: str) -> dict[str, str]:
    return {"GEMINI_API_KEY": "stub", "GOOGLE_GEMINI_BASE_URL": url}


def _files(_directory: str, _url: str) -> dict[str, str]:
    return {".gemini/settings.json": json.dumps(SETTINGS)}


KIND = Kind(name="gemini", title="Gemini CLI", environment=_environment, files=_files, hooked=True)
