"""What the papers and docstrings show of the library is run, against a real node."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nova_torch import AgentRegistry
from tests.support.node import ROOT, until
from tests.support.office import ANSWER, NOWHERE, Office, at_home, office

MODULES = {
    "nova_torch.communication.sync": 18,
    "nova_torch.orchestration.agent_registry": 3,
    "nova_torch.monitoring.monitor": 4,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("tutorial")) as made:
        yield made


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_are_true(
    site: Office, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(site, monkeypatch)
    until(lambda: AgentRegistry().find_available_agents(role="developer"), what="an idle developer")
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(importlib.import_module(module)):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries >= MODULES[module]


@pytest.mark.parametrize("name", ["request", "ping", "reply", "history", "assign_task", "broadcast"])
def test_the_examples_are_true_without_a_daemon(
    site: Office, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(site, monkeypatch)
    monkeypatch.setenv("NOVA_SOCKET", NOWHERE)
    monkeypatch.setenv("NOVA_BROKER_URL", site.broker)
    module = importlib.import_module("nova_torch.communication.sync")
    (test,) = [t for t in doctest.DocTestFinder().find(module) if t.name.endswith(f"Orchestrator.{name}")]
    said: list[str] = []
    results = doctest.DocTestRunner().run(test, out=said.append)
    assert results.failed == 0, "".join(said)
    assert results.attempted >= 2


def test_the_tutorial_runs_as_it_stands(site: Office) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
    assert len(blocks) >= 9
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        env={**site.node.environment, "PYTHONPATH": str(ROOT)},
        cwd=site.node.state,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Did you mean agent_123?" in done.stdout
    assert f"reviewer {ANSWER}" in done.stdout
    assert done.stdout.count(ANSWER) == 3
    assert "agent_123 submitted" in done.stdout
    assert site.typed("Only once.\r") == 1


def test_a_program_with_a_daemon_never_loads_redis(site: Office) -> None:
    program = (
        "import sys, nova_torch\n"
        "assert 'asyncio' not in sys.modules\n"
        "nova_torch.NovaOrchestrator().send_message('agent_123', 'light')\n"
        "nova_torch.AgentRegistry().list_agents()\n"
        "nova_torch.SystemMonitor().get_system_health()\n"
        "print('redis' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**site.node.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
