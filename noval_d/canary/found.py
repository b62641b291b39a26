"""Find the agents that are installed, and say which release they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from noval_d.agents.driver import Driver
from noval_d.canary.kinds import aider, claude, codex, gemini, opencode
from noval_d.canary.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    module.KIND.name: module.KIND for module in (claude, codex, gemini, opencode, aider)
}
VERSION_LIMIT_S = 30.0
VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An agent that can be tried."""

    kind: Kind
    driver: Driver
    program: str


def find(kind: Kind, driver: Driver, named: Mapping[str, str], env: Mapping[str, str]) -> Found | None:
    """Return where an agent's program is; None when it is not installed.

    `named` are programs by the agent's name; then `$NOVA_<NAME>_BIN` counts, then the driver's command on `PATH`.
    """
    command = driver.start.command[0] if driver.start.command else kind.name
    wanted = named.get(kind.name) or env.get(f"NOVA_{kind.name.upper()}_BIN") or command
    program = shutil.which(os.path.abspath(wanted) if "/" in wanted else wanted, path=env.get("PATH"))
    return Found(kind=kind, driver=driver, program=os.path.abspath(program)) if program else None


def version_of(program: str, env: Mapping[str, str], cwd: str) -> str:
    """Return the release that a program says it is, asked in a private environment; "" when it does not tell."""
    try:
        asked = subprocess.run(
            [program, "--version"],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = VERSION.search(asked.stdout.decode("utf-8", "replace"))
    return found[0] if found is not None else ""
