"""aider, led to the stub model. No I/O."""

from __future__ import annotations

from noval_d.canary.kinds.kind import PAGE, Kind

SETTINGS = """\
model: openai/stub-model
max-chat-history-tokens: 10000000
analytics-disable: true
analytics: false
check-update: false
git: false
show-model-warnings: false
show-release-notes: false
"""


def _environment(url: str) -> dict[str, str]:
    return {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": "stub",
    }


def _files(_directory: str, _url: str) -> dict[str, str]:
    return {".aider.conf.yml": SETTINGS}


KIND = Kind(
    name="aider",
    title="aider",
    environment=_environment,
    files=_files,
    ask=f"Please read {{url}}{PAGE}",  # it calls for no tools; it asks whether to fetch what a prompt names
    by_hand=True,
    refuse=("n", "Enter"),
)
