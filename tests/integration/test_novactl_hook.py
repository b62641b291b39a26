"""The hook shim: always 0, always silent, within its time, and nothing lost while no daemon answers."""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from nova_torch.protocol.frames import FrameReader
from novactl import shim
from novactl.hooks import claude
from tests.support.cli import clean_environment
from tests.support.daemon import HANG, FakeDaemon, fake_daemon

PAYLOAD = b'{"hook_event_name": "Stop", "session_id": "s"}'
ROADS = ["installed", "console"]


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nv") as directory:
        yield Path(directory)


def hook(road: str, home: Path, *, event: str = "Stop", stdin: bytes = PAYLOAD, **env: str) -> None:
    """Run the hook and check what holds for every hook."""
    installed = shlex.split(claude.command(event))
    argv = installed if road == "installed" else [sys.executable, "-m", "novactl.main", "hook", event]
    done = subprocess.run(
        argv,
        env=clean_environment(
            **{
                "NOVA_SOCKET": str(home / "s"),
                "NOVA_STATE_DIR": str(home),
                "TMUX_PANE": "%3",
                "TMUX": "/t,1,0",
                **env,
            }
        ),
        input=stdin,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def spooled(home: Path) -> list[dict[str, Any]]:
    reader = FrameReader(shim.STDIN_BYTES * 2)
    reader.feed((home / "hooks.spool").read_bytes())
    records = []
    while (record := reader.next()) is not None:
        records.append(record)
    assert not reader.partial
    return records


def heard(daemon: FakeDaemon, home: Path, run: Callable[[], None]) -> dict[str, Any]:
    """Run a hook until the daemon has answered one; return what it was told.

    One that was kept from running for longer than its 45 ms keeps the event in the spool, as it should.
    """
    for _ in range(50):
        run()
        if not (home / "hooks.spool").exists():
            return daemon.asked("hook")[-1]
        (home / "hooks.spool").unlink()
    raise AssertionError("fifty hooks kept their event")


@pytest.mark.parametrize("road", ROADS)
def test_a_hook_reaches_the_daemon_with_pane_and_raw_payload(road: str, home: Path) -> None:
    with fake_daemon(hook={}) as daemon:
        asked = heard(daemon, home, lambda: hook(road, home, NOVA_SOCKET=daemon.path))
    assert asked.pop("at_ms") == pytest.approx(time.time() * 1000, abs=60_000)
    assert asked == {"pane": "%3", "tmux": "/t,1,0", "event": "Stop", "payload": PAYLOAD}


@pytest.mark.parametrize("road", ROADS)
def test_a_hook_finds_socket_and_state_by_the_configuration(road: str, home: Path) -> None:
    file = home / ".config" / "nova-torch" / "config.toml"
    file.parent.mkdir(parents=True)

    def hook_in_home() -> None:
        hook(road, home, HOME=str(home), NOVA_SOCKET="", NOVA_STATE_DIR="", XDG_CONFIG_HOME="")

    with fake_daemon(hook={}) as daemon:
        file.write_text(f'[control]\nsocket = "{daemon.path}"\n[state]\ndir = "{home}"\n')
        heard(daemon, home, hook_in_home)
    hook_in_home()
    assert len(spooled(home)) == 1


@pytest.mark.parametrize("road", ROADS)
def test_without_a_daemon_the_event_is_kept(road: str, home: Path) -> None:
    hook(road, home)
    hook(road, home, event="SessionEnd", stdin=b"\xff not json")
    first, second = spooled(home)
    assert (first["event"], first["payload"], first["pane"], first["sent"]) == ("Stop", PAYLOAD, "%3", False)
    assert (second["event"], second["payload"]) == ("SessionEnd", b"\xff not json")
    assert stat.S_IMODE((home / "hooks.spool").stat().st_mode) == 0o600


@pytest.mark.parametrize("road", ROADS)
def test_outside_tmux_nothing_happens(road: str, home: Path) -> None:
    hook(road, home, TMUX_PANE="")
    assert os.listdir(home) == []


def test_no_state_directory_is_made(home: Path) -> None:
    hook("installed", home, NOVA_STATE_DIR=str(home / "none"))
    assert os.listdir(home) == []


@pytest.mark.parametrize("what", ["directory", "file", "stale", "silent", "garbage", "closing", "too long"])
def test_whatever_is_at_the_sockets_place_the_hook_is_silent_and_keeps_the_event(
    what: str, home: Path
) -> None:
    path = home / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        if what == "directory":
            path.mkdir()
        elif what == "file":
            path.write_bytes(b"")
        elif what == "too long":
            path = home / ("x" * 200)
        else:
            listener.bind(str(path))
            if what != "stale":
                listener.listen(1)
        sent = what in ("silent", "garbage", "closing")
        for _ in range(50 if sent else 1):  # one that was kept from running for its 45 ms has not sent it
            hook("installed", home, NOVA_SOCKET=str(path))
            if spooled(home)[-1]["sent"] is sent:
                break
        assert spooled(home)[-1]["sent"] is sent


def test_a_hanging_daemon_costs_the_agent_no_more_than_the_budget(home: Path) -> None:
    with fake_daemon(hook=HANG) as daemon:
        os.environ["NOVA_SOCKET"], before = daemon.path, os.environ.get("NOVA_SOCKET")
        try:
            record: dict[str, object] = {"event": "Stop"}
            begun = time.monotonic()
            sent = shim._deliver(record, daemon.path, begun + shim.BUDGET_S)
            took = time.monotonic() - begun
        finally:
            del os.environ["NOVA_SOCKET"]
            if before is not None:
                os.environ["NOVA_SOCKET"] = before
    assert sent == "sent"
    assert took < shim.BUDGET_S + 1.0  # what a loaded machine adds is not ours


def test_a_pipe_that_nobody_closes_does_not_hold_the_hook(home: Path) -> None:
    with fake_daemon(hook={}) as daemon:
        read, write = os.pipe()
        os.write(write, PAYLOAD)  # before the hook starts: it does not wait for what comes late

        def hook_with_that_pipe() -> None:
            done = subprocess.run(
                shlex.split(claude.command("Stop")),
                env=clean_environment(NOVA_SOCKET=daemon.path, NOVA_STATE_DIR=str(home), TMUX_PANE="%3"),
                stdin=read, timeout=20, check=False,
            )  # fmt: skip
            assert done.returncode == 0
            os.write(write, PAYLOAD)  # it has read the one before

        try:
            assert heard(daemon, home, hook_with_that_pipe)["payload"] == PAYLOAD
        finally:
            os.close(read)
            os.close(write)


def test_a_prompt_larger_than_a_request_is_cut_and_its_hash_goes_along(home: Path) -> None:
    prompt = "from b 01JD: " + "ü" * 1_000_000
    with fake_daemon(hook={}) as daemon:
        hook(
            "installed",
            home,
            stdin=json.dumps({"prompt": prompt, "session_id": "s"}).encode(),
            NOVA_SOCKET=daemon.path,
        )
        kept = daemon.asked("hook") or spooled(home)
    data = json.loads(kept[0]["payload"])
    assert data["truncated"] is True
    assert data["session_id"] == "s"
    assert prompt.startswith(data["prompt"])
    assert len(data["prompt_sha256"]) == 64


def test_the_spool_is_bounded_and_its_records_are_whole(home: Path) -> None:
    path = home / "hooks.spool"
    path.write_bytes(b"x" * (shim.SPOOL_BYTES - 20))
    shim.keep({"event": "Stop", "payload": PAYLOAD}, str(path))
    assert path.stat().st_size == shim.SPOOL_BYTES - 20


def test_the_shims_own_msgpack_is_msgpack() -> None:
    value = {
        "a": "x" * 40,
        "b": b"\x00" * 300,
        "n": 1 << 40,
        "t": True,
        "f": False,
        "l": [1, 2],
        "ü": {"k": ""},
    }
    framed = shim.frame(value)
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    assert msgpack.unpackb(framed[4:]) == value
