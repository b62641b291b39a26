"""Our hooks in Codex's hooks.json, and its own word on whether it trusts them; here a script stands for Codex."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from novactl import shim
from novactl.hooks import codex, codex_trust
from novactl.hooks.merge import is_ours

# It answers as `codex app-server` does: hooks/list with a hash of each command, and the trust that was written.
FAKE = """#!{python}
import json, os, sys
home = os.environ["CODEX_HOME"]
kept = os.path.join(home, "kept.json")
def state():
    return json.load(open(kept)) if os.path.exists(kept) else {{}}
for line in sys.stdin:
    call = json.loads(line)
    if "id" not in call:
        continue
    print(json.dumps({{"method": "configWarning", "params": {{}}}}))
    result = {{}}
    if call["method"] == "hooks/list":
        path = os.path.join(home, "hooks.json")
        hooks = []
        for event, groups in json.load(open(path))["hooks"].items():
            for g, group in enumerate(groups):
                for h, entry in enumerate(group["hooks"]):
                    key = f"{{path}}:{{event}}:{{g}}:{{h}}"
                    digest = "sha256:" + entry["command"]
                    trusted = state().get(key, {{}}).get("trusted_hash") == digest
                    hooks.append(dict(key=key, eventName=event, command=entry["command"], sourcePath=path,
                        enabled=True, currentHash=digest, trustStatus="trusted" if trusted else "untrusted"))
        result = {{"data": [{{"cwd": "/", "hooks": hooks}}]}}
    if call["method"] == "config/batchWrite":
        new = state()
        for edit in call["params"]["edits"]:
            if edit["value"] is None:
                new.pop(json.loads(edit["keyPath"].removeprefix("hooks.state.")), None)
            else:
                new.update(edit["value"])
        json.dump(new, open(kept, "w"))
    print(json.dumps({{"id": call["id"], "result": result}}), flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CODEX_HOME, and a PATH on which `codex` is the script."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "codex"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def kept(home: Path) -> dict[str, Any]:
    return dict(json.loads((home / "kept.json").read_text()))


def test_install_makes_codex_trust_our_hooks_and_no_others(home: Path) -> None:
    theirs = {"type": "command", "command": "theirs"}
    (home / "hooks.json").write_text(json.dumps({"hooks": {"Stop": [{"hooks": [theirs]}]}}))
    path = codex.settings_path(None)
    assert path == str(home / "hooks.json")
    assert codex.install(path)
    assert len(kept(home)) == len(codex.EVENTS)
    assert not any("theirs" in state["trusted_hash"] for state in kept(home).values())
    report = codex.look(path)
    assert all(report["events"].values())
    assert (report["off"], report["command_exists"]) == ("", True)
    assert not codex.install(path)


def test_hooks_that_codex_does_not_trust_are_said_to_be_off(home: Path) -> None:
    path = codex.settings_path(None)
    codex.install(path)
    (home / "kept.json").write_text("{}")
    assert "does not trust" in codex.look(path)["off"]
    assert codex.install(path)  # trusting them again is a change
    assert codex.look(path)["off"] == ""


def test_remove_takes_our_hooks_and_the_trust_in_them_away(home: Path) -> None:
    theirs = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "theirs"}]}]}}
    (home / "hooks.json").write_text(json.dumps(theirs))
    path = codex.settings_path(None)
    codex.install(path)
    assert codex.remove(path)
    assert json.loads((home / "hooks.json").read_text()) == theirs
    assert kept(home) == {}
    assert not codex.remove(path)


def test_without_codex_the_hooks_are_written_and_said_to_be_unproven(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    path = codex.settings_path(None)
    assert codex.install(path)
    assert "not on PATH" in codex.look(path)["off"]


@pytest.mark.parametrize("script", ["exit 1", "echo '{}'; exit 0", "cat", "echo nonsense; cat >&2"])
def test_a_codex_that_cannot_be_asked_is_an_error_of_one_sentence(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codex_trust, "LIMIT_S", 0.5)
    program = tmp_path / "codex"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(codex_trust.TrustError):
        codex_trust.untrusted(str(tmp_path / "hooks.json"), str(program))


def test_our_entries_are_known_as_ours() -> None:
    assert all(is_ours(entry) for entry in codex.entries().values())


def test_a_hook_below_a_server_that_several_share_says_so() -> None:
    ask = "from novactl import shim; print(shim.below('app-server'), shim.below('other'))"
    outer = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[2]], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", outer, "app-server", ask],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert done.stdout.split() == ["True", "False"]
    assert not shim.below("no such word")
