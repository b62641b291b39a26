"""Install the real agents the live tests run: `python -m tests.lab.install claude`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = REPOSITORY / ".lab" / "npm"
PACKAGE = "@anthropic-ai/claude-code"
VERSION = "2.1.197"  # the version the recorded screens and measured times are of
CLAUDE = PREFIX / "node_modules" / ".bin" / "claude"


class InstallError(Exception):
    """The agent could not be installed; the text says why and what to do."""


def installed_version() -> str | None:
    """The version under `.lab`, None when there is none that could run."""
    manifest = PREFIX / "node_modules" / PACKAGE / "package.json"
    if not CLAUDE.exists() or not manifest.exists():
        return None
    version = json.loads(manifest.read_text(encoding="utf-8")).get("version")
    return str(version)


def install_claude() -> bool:
    """Install the pinned Claude Code under `.lab`; False when it was already there."""
    if installed_version() == VERSION:
        return False
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm was not found on PATH: install Node.js 18 or newer, then run this again.")
    PREFIX.mkdir(parents=True, exist_ok=True)
    command = [
        npm,
        "install",
        "--prefix",
        str(PREFIX),
        "--no-audit",
        "--no-fund",
        "--save-exact",
        f"{PACKAGE}@{VERSION}",
    ]
    if subprocess.run(command, check=False).returncode != 0:
        raise InstallError(f"npm could not install {PACKAGE}@{VERSION}: its own message stands above.")
    if not _runs():
        raise InstallError(f"{CLAUDE} does not run: npm may have blocked the package's install script.")
    return True


def _runs() -> bool:
    """Whether the binary tells its version, asked outside the developer's own home."""
    with tempfile.TemporaryDirectory() as home:
        asked = subprocess.run(
            [str(CLAUDE), "--version"],
            env={"HOME": home, "PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return VERSION in asked.stdout


def main() -> int:
    """Install the agent named on the command line; 0 on success, 1 with one sentence on failure."""
    parser = argparse.ArgumentParser(description="Install a real agent for the live tests.")
    parser.add_argument("agent", choices=("claude",))
    parser.parse_args()
    try:
        changed = install_claude()
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Claude Code {VERSION} " + ("was installed." if changed else "is already there."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
