"""Run a program under what a unit takes away from its service, without systemd.

`python -m tests.support.sandbox UNIT DIR… -- ARGV`. Done as systemd does it: system calls, address families,
namespaces and writable code by seccomp; capabilities and new privileges by prctl; the file system read-only but
for each DIR and /dev, where this process may make a mount namespace.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
EQ, NE, MASKED_EQ = 4, 1, 7  # scmp_compare of libseccomp
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
CLONE_NEWNS = 0x00020000
NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PROT_WRITE, PROT_EXEC = 2, 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
API = ("/dev", "/proc", "/sys")

libc = ctypes.CDLL(None, use_errno=True)


class Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class Filter:
    """One seccomp filter. Several hold at once, and the strictest decides."""

    def __init__(self, otherwise: int) -> None:
        self._lib = ctypes.CDLL("libseccomp.so.2")
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(otherwise)))

    def rule(self, action: int, name: str, *compares: Compare) -> None:
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # another architecture's
            return
        array = (Compare * len(compares))(*compares)
        done = self._lib.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compares), array
        )
        assert done == 0, (name, done)

    def load(self) -> None:
        done = self._lib.seccomp_load(self._context)
        if done != 0:
            raise OSError(-done, f"seccomp: {os.strerror(-done)}")


def settings(unit: Path) -> dict[str, list[str]]:
    """Return what a unit says, every value of each key in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def system_calls(values: Iterable[str]) -> set[str]:
    """Return the calls that SystemCallFilter= allows: a list of allowed ones, then changes of it."""
    allowed: set[str] = set()
    for value in values:
        names = _expanded(value.removeprefix("~").split())
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def _expanded(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        said = subprocess.run(
            ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
        )
        words = [line.strip() for line in said.stdout.splitlines()[1:]]
        found |= _expanded(word for word in words if word and not word.startswith("#"))
    return found


def enter(unit: Path, writable: Iterable[str]) -> None:
    """Take from this process what the unit takes from its service."""
    said = settings(unit)
    filters = list(_filters(said))
    if said.get("ProtectSystem") == ["strict"] and os.geteuid() == 0:
        _read_only(writable)
    _no_capabilities()  # a user's service has none to begin with
    assert said["NoNewPrivileges"] == ["yes"]
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    for each in filters:
        each.load()


def _no_capabilities() -> None:
    """Take every capability out of the bounding set: none is left after the next exec, for root neither."""
    for number in range(64):
        if libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1 and os.geteuid() == 0:
            assert libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0


def _filters(said: Mapping[str, list[str]]) -> Iterable[Filter]:
    families = Filter(ALLOW)
    allowed = {FAMILIES[name] for name in said["RestrictAddressFamilies"][0].split()}
    for number in set(range(45)) - allowed:
        families.rule(ERRNO | EAFNOSUPPORT, "socket", Compare(0, EQ, number, 0))
    yield families
    spaces = Filter(ALLOW)
    assert said["RestrictNamespaces"] == ["yes"]
    spaces.rule(ERRNO | ENOSYS, "clone3")
    spaces.rule(ERRNO | EPERM, "setns")
    for flag in NAMESPACES:
        for name in ("clone", "unshare"):
            spaces.rule(ERRNO | EPERM, name, Compare(0, MASKED_EQ, flag, flag))
    yield spaces
    code = Filter(ALLOW)
    assert said["MemoryDenyWriteExecute"] == ["yes"]
    both = PROT_WRITE | PROT_EXEC
    code.rule(ERRNO | EPERM, "mmap", Compare(2, MASKED_EQ, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        code.rule(ERRNO | EPERM, name, Compare(2, MASKED_EQ, PROT_EXEC, PROT_EXEC))
    yield code
    calls = Filter(ERRNO | EPERM)  # the last: it forbids to load another
    for name in system_calls(said["SystemCallFilter"]):
        calls.rule(ALLOW, name)
    yield calls


def _read_only(writable: Iterable[str]) -> None:
    if libc.unshare(CLONE_NEWNS) != 0:
        print("sandbox: no mount namespace here", file=sys.stderr)
        return
    _mount(None, "/", MS_REC | MS_PRIVATE)
    kept = [os.path.realpath(path) for path in writable]
    for path in kept:
        _mount(path, path, MS_BIND)
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [row.split()[4].encode().decode("unicode_escape") for row in rows]
    for place in places:
        if place in kept or any(place == api or place.startswith(f"{api}/") for api in API):
            continue
        _mount(None, place, MS_REMOUNT | MS_BIND | MS_RDONLY)


def _mount(source: str | None, target: str, flags: int) -> None:
    done = libc.mount(source and source.encode(), target.encode(), None, flags, None)
    if done != 0:
        print(f"sandbox: {target}: {os.strerror(ctypes.get_errno())}", file=sys.stderr)


if __name__ == "__main__":
    split = sys.argv.index("--")
    enter(Path(sys.argv[1]), sys.argv[2:split])
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
