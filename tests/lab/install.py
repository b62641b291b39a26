"""Install the real agents the live tests run: `python -m tests.lab.install claude codex …`, or `all`.

Each has a folder of its own below `.lab`, in the version that the recorded screens and measured times are of.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from noval_d.agents.driver_file import BUILT_IN, read_driver
from noval_d.canary.kinds import aider, claude, codex, gemini, opencode

REPOSITORY = Path(__file__).resolve().parents[2]
LAB = REPOSITORY / ".lab"
RUN_LIMIT_S = 120.0


class InstallError(Exception):
    """The agent could not be installed; the text says why and what to do."""


class NoRoom(InstallError):
    """This machine lacks what the agent runs on (npm, a newer Node.js): its tests are skipped, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One agent: where it comes from (`npm` or `pip`), its version, and what it is called below `.lab`."""

    name: str
    title: str
    source: str
    package: str
    version: str
    folder: str
    node: int = 0
    """The oldest major version of Node.js that it runs on."""

    @property
    def prefix(self) -> Path:
        return LAB / self.folder

    @property
    def binary(self) -> Path:
        """The program, whether it is there or not."""
        place = "node_modules/.bin" if self.source == "npm" else "bin"
        return self.prefix / place / self.name

    def find(self) -> Path | None:
        """Return the program: `$NOVA_<NAME>_BIN`, else the one below `.lab`, else None."""
        named = os.environ.get(f"NOVA_{self.name.upper()}_BIN")
        path = Path(named) if named else self.binary
        return path if os.access(path, os.X_OK) else None

    def version_there(self) -> str:
        """Return what the program says its version is, asked outside the developer's own home; "" without one."""
        if not os.access(self.binary, os.X_OK):
            return ""
        with tempfile.TemporaryDirectory() as home:
            asked = subprocess.run(
                [str(self.binary), "--version"],
                env={"HOME": home, "PATH": os.environ.get("PATH", os.defpath)},
                capture_output=True,
                text=True,
                timeout=RUN_LIMIT_S,
                check=False,
            )
        return self.version if self.version in asked.stdout + asked.stderr else ""


def _version(name: str) -> str:
    """Return the release that a driver's looks are of."""
    return read_driver(BUILT_IN / f"{name}.toml").version


AGENTS = {
    agent.name: agent
    for agent in (
        Installed(
            name=claude.KIND.name,
            title=claude.KIND.title,
            source="npm",
            package="@anthropic-ai/claude-code",
            version=_version("claude"),
            folder="npm",
        ),
        Installed(
            name=codex.KIND.name,
            title=codex.KIND.title,
            source="npm",
            package="@openai/codex",
            version=_version("codex"),
            folder="codex",
        ),
        Installed(
            name=gemini.KIND.name,
            title=gemini.KIND.title,
            source="npm",
            package="@google/gemini-cli",
            version=_version("gemini"),
            folder="gemini",
            node=20,
        ),
        Installed(
            name=opencode.KIND.name,
            title=opencode.KIND.title,
            source="npm",
            package="opencode-ai",
            version=_version("opencode"),
            folder="opencode",
        ),
        Installed(
            name=aider.KIND.name,
            title=aider.KIND.title,
            source="pip",
            package="aider-chat",
            version=_version("aider"),
            folder="aider",
        ),
    )
}


def install(agent: Installed) -> bool:
    """Install an agent; False when its version was already there. Raises InstallError."""
    if agent.version_there():
        return False
    agent.prefix.mkdir(parents=True, exist_ok=True)
    (_by_npm if agent.source == "npm" else _by_pip)(agent)
    if not agent.version_there():
        raise InstallError(f"{agent.binary} does not run as {agent.version}: was its install script blocked?")
    return True


def _by_npm(agent: Installed) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NoRoom(f"{agent.title} needs npm: install Node.js 20 or newer, then run this again.")
    if (there := _node()) < agent.node:
        raise NoRoom(f"{agent.title} needs Node.js {agent.node} or newer, and this is {there}.")
    quiet = ["--no-audit", "--no-fund", "--save-exact"]
    wanted = f"{agent.package}@{agent.version}"
    if subprocess.run(
        [npm, "install", "--prefix", str(agent.prefix), *quiet, wanted], check=False
    ).returncode:
        raise InstallError(f"npm could not install {wanted}: its own message stands above.")


def _node() -> int:
    """Return the major version of Node.js, 0 without one."""
    node = shutil.which("node")
    if node is None:
        return 0
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    major = asked.stdout.strip().lstrip("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _by_pip(agent: Installed) -> None:
    wanted = f"{agent.package}=={agent.version}"
    made = subprocess.run([sys.executable, "-m", "venv", str(agent.prefix)], check=False)
    pip = [str(agent.prefix / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    if made.returncode or subprocess.run([*pip, wanted], check=False).returncode:
        raise InstallError(f"pip could not install {wanted}: its own message stands above.")


def main() -> int:
    """Install the agents named on the command line; 0 on success, 1 with one sentence on failure.

    3: this machine lacks what it runs on.
    """
    parser = argparse.ArgumentParser(description="Install real agents for the live tests.")
    parser.add_argument("agents", nargs="+", choices=(*AGENTS, "all"), metavar="AGENT")
    asked = parser.parse_args().agents
    try:
        for name in AGENTS if "all" in asked else asked:
            agent = AGENTS[name]
            how = "was installed." if install(agent) else "is already there."
            print(f"{agent.title} {agent.version} {how}", flush=True)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, NoRoom) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
