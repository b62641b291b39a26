"""Network namespaces for a test: a hub and nodes around it, each of which can be cut off. Needs root and `ip`."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Spoke:
    """A namespace with one cable to the hub."""

    name: str
    hub_address: str
    """How the hub is reached from here."""

    @property
    def enter(self) -> list[str]:
        """What is put before a command to run it in here."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def cut(self) -> None:
        """Take the cable out: packets vanish, nobody is told."""
        ip("-n", self.name, "link", "set", "cable", "down")

    def mend(self) -> None:
        """Put the cable back."""
        ip("-n", self.name, "link", "set", "cable", "up")


@dataclass(frozen=True, slots=True)
class Wheel:
    """The hub and its spokes."""

    hub: str
    spokes: tuple[Spoke, ...]

    @property
    def enter(self) -> list[str]:
        """What is put before a command to run it in the hub."""
        return ["nsenter", f"--net=/run/netns/{self.hub}"]


def ip(*words: str) -> None:
    """Run `ip`; fail with what it says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextlib.contextmanager
def wheel(count: int) -> Iterator[Wheel]:
    """Give a hub with `count` spokes; skip the test where the machine has no namespaces to give."""
    mark = secrets.token_hex(3)
    hub = f"nova-{mark}-hub"
    missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"network namespaces need root and {' and '.join(missing) or 'its rights'}")
    tried = subprocess.run(
        ["ip", "netns", "add", hub], capture_output=True, text=True, timeout=10, check=False
    )
    if tried.returncode != 0:
        pytest.skip(f"this machine makes no network namespaces: {tried.stderr.strip()}")
    made = [hub]
    try:
        ip("-n", hub, "link", "set", "lo", "up")
        spokes = []
        for number in range(1, count + 1):
            name = f"nova-{mark}-{number}"
            ip("netns", "add", name)
            made.append(name)
            ip(
                "-n",
                hub,
                "link",
                "add",
                f"to{number}",
                "type",
                "veth",
                "peer",
                "name",
                "cable",
                "netns",
                name,
            )
            for space, link, host in ((hub, f"to{number}", 1), (name, "cable", 2)):
                ip("-n", space, "addr", "add", f"10.99.{number}.{host}/24", "dev", link)
                ip("-n", space, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
            spokes.append(Spoke(name, f"10.99.{number}.1"))
        yield Wheel(hub, tuple(spokes))
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)
