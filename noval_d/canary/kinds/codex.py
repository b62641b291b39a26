"""Codex, led to the stub model. No I/O."""

from __future__ import annotations

from noval_d.canary.kinds.kind import Kind

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

[projects."{directory}"]
trust_level = "trusted"
"""


def _environment(_url: str) -> dict[str, str]:
    return {"STUB_KEY": "stub"}


def _files(directory: str, url: str) -> dict[str, str]:
    return {".codex/config.toml": CONFIG.format(url=url, directory=directory)}


KIND = Kind(name="codex", title="Codex", environment=_environment, files=_files, hooked=True)
