"""What the hot commands load: agents, hooks and scripts start them thousands of times."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.cli import clean_environment
from tests.support.daemon import fake_daemon

HEAVY = {
    "typer", "rich", "click", "asyncio", "json", "re", "dataclasses", "typing", "redis", "hiredis", "libtmux",
    "uvloop", "pydantic", "socket", "inspect", "enum", "subprocess", "tempfile", "pathlib", "random",
    "logging",
}  # fmt: skip

SCRIPT = """
import sys
sys.argv = ["novactl", *sys.argv[1:]]
from novactl.main import main
code = main()
print(code, *sorted(sys.modules))
"""

ACCEPTED = {"id": "01JD3ZK8Q5W9X2Y4V6B8N0M1P3", "target": "a", "state": "accepted", "node": "fake"}


@pytest.mark.parametrize(
    "argv",
    [
        ["send", "a", "hello"],
        ["send", "a", "hello", "--wait", "--timeout", "5s"],
        ["inbox", "a"],
        ["agents", "--skill", "x"],
        ["hook", "Stop"],
    ],
    ids=" ".join,
)
def test_a_hot_command_loads_nothing_heavy(argv: list[str]) -> None:
    with fake_daemon(
        send={**ACCEPTED, "state": "submitted", "final": True}, inbox=[], agents=[], hook={}
    ) as daemon:
        done = subprocess.run(
            [sys.executable, "-I", "-c", SCRIPT, *argv],
            env=clean_environment(NOVA_SOCKET=daemon.path, TMUX_PANE="%1"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert set(modules) & (HEAVY - _of_bare_python()) == set()


def test_novactl_and_the_daemon_never_import_each_other() -> None:
    for package, other in (
        ("novactl.app, novactl.commands.node", "noval_d"),
        ("noval_d.__main__", "novactl"),
    ):
        code = f"import sys, {package}; print(any(m.split('.')[0] == '{other}' for m in sys.modules))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == "False"


def test_a_script_into_an_agents_pane_loads_nothing_that_types() -> None:
    code = "import sys, noval_d.legacy.send, noval_d.legacy.road, nova_torch.protocol.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    ours = {name for name in done.stdout.split() if name.startswith(("noval_d.", "nova_torch."))}
    assert ours, done.stdout
    assert not {name for name in ours if name.startswith(("noval_d.agents", "noval_d.delivery"))}
    assert not ours & {"nova_torch.values", "noval_d.legacy.typist", "noval_d.legacy.tmux"}


def test_a_starting_daemon_hardly_searches_for_garbage_among_what_stays() -> None:
    code = "import gc, noval_d.__main__; print(sum(each['collections'] for each in gc.get_stats()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 40


def test_the_typer_app_loads_neither_broker_nor_tmux() -> None:
    code = "import sys, novactl.app; print(*{'redis', 'libtmux', 'uvloop'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def _of_bare_python() -> set[str]:
    """What `site` loads by itself here: an installation may have its own."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stdout.split())
