"""novactl doctor --drivers on the real agents: each fits its driver, and reaches nothing but loopback."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from noval_d.canary.results import Check
from noval_d.canary.stage import PREFIX
from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.claude import ClaudeLab
from tests.lab.codex import CodexLab
from tests.lab.gemini import GeminiLab
from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import needs
from tests.support.node import ROOT

LABS = (ClaudeLab, CodexLab, GeminiLab, OpencodeLab, AiderLab)
QUICK = ClaudeLab
LIMIT_S = 250
LOOK_S = 0.1

pytestmark = [pytest.mark.live, pytest.mark.timeout(LIMIT_S + 30)]


@pytest.mark.parametrize(
    "lab",
    [
        pytest.param(lab, id=lab.kind.name, marks=[needs(lab), *([] if lab is QUICK else [pytest.mark.long])])
        for lab in LABS
    ],
)
def test_an_installed_agent_fits_its_driver_without_an_account_and_talks_to_loopback_only(
    lab: type[AgentLab], tmp_path: Path
) -> None:
    name, home = lab.kind.name, tmp_path / "home"
    home.mkdir()
    argv = ["--drivers", "--agent", name, "--program", f"{name}={lab.installed().find()}", "--json"]
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "NOVA_STATE_DIR": str(tmp_path / "state")}
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        running = subprocess.Popen(
            [sys.executable, "-m", "novactl.main", "doctor", *argv],
            cwd=tmp_path,
            env={**env, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=err,
        )
        strangers: set[str] = set()
        until = time.monotonic() + LIMIT_S
        while running.poll() is None and time.monotonic() < until:
            strangers |= reached(running.pid)
            time.sleep(LOOK_S)
        running.terminate()
        running.wait(30)
    said = (tmp_path / "out").read_text() or (tmp_path / "err").read_text()
    (finding,) = json.loads(said)
    assert {check["check"]: check["result"] for check in finding["checks"]} == dict.fromkeys(Check, "ok"), (
        said
    )
    assert (running.returncode, finding["code"], finding["version"]) == (
        0,
        "driver_fits",
        lab.installed().version,
    )
    assert strangers == set()
    assert list(home.iterdir()) == []


def reached(pid: int) -> set[str]:
    """The addresses beyond loopback that a trial's processes are connected to."""
    mine = {child.pid for child in psutil.Process(pid).children()} if psutil.pid_exists(pid) else set()
    found: set[str] = set()
    for process in psutil.process_iter():
        try:
            if process.pid in mine or Path(process.environ().get("HOME", "")).parent.name.startswith(PREFIX):
                found |= {each.raddr.ip for each in process.net_connections("inet") if each.raddr}
        except psutil.Error:
            continue
    return {address for address in found if not ipaddress.ip_address(address).is_loopback}
