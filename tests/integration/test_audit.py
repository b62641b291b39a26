"""The audit log: what is in it, what never is, and what becomes of it when it cannot be written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nova_torch import audit as files
from nova_torch.errors import NotAllowed, NovaError
from nova_torch.protocol.client import Client
from noval_d.control.audit import Audit, Caller
from noval_d.control.calls import Access, Call
from noval_d.control.peers import Permissions
from tests.integration.test_control_access import in_thread, someone
from tests.support.aio import run
from tests.support.control import serving
from tests.support.node import TestNode, node, until

SECRET = "canary-5d1f-of-a-body"
ME = Caller(uid=os.getuid(), pid=os.getpid(), exe="/bin/x", agent="")


def make(directory: Path, **more: Any) -> Audit:
    return Audit(str(directory), agent_of=lambda _: "", clock_ms=lambda: 7, **more)


def lines(directory: Path) -> list[dict[str, Any]]:
    return files.read(str(directory))


def test_the_caller_the_call_its_target_and_its_result_are_written_and_no_body(tmp_path: Path) -> None:
    def program(path: str) -> None:
        with Client.connect(path) as client:
            client.call("ping")
            client.call("echo", {"target": "claude-1", "id": "01J", "body": SECRET, "form": "command"})
            with pytest.raises(NovaError):
                client.call("nothing", {"target": SECRET})

    async def scene() -> None:
        async with serving(audit=make(tmp_path)) as server:
            await in_thread(server, program)

    run(scene())
    (entry,) = lines(tmp_path)
    assert entry == {
        "at_ms": 7,
        "uid": os.getuid(),
        "pid": os.getpid(),
        "exe": os.readlink("/proc/self/exe"),
        "agent": "",
        "call": "echo",
        "target": "claude-1",
        "id": "01J",
        "code": "ok",
        "form": "command",
    }
    assert stat.S_IMODE(os.stat(tmp_path / files.NAME).st_mode) == 0o600


def test_refusals_are_written_and_a_flood_of_them_is_counted(tmp_path: Path) -> None:
    def program(path: str) -> None:
        with Client.connect(path) as client:
            for _ in range(100):
                with pytest.raises(NotAllowed):
                    client.call("echo", {"body": SECRET})

    async def scene() -> None:
        may = Permissions(owner=4242, reading_group=70)
        audit = make(tmp_path)
        async with serving(may=may, credentials=someone(54321, 70), audit=audit) as server:
            await in_thread(server, program)
        async with serving(may=Permissions(owner=4242), credentials=someone(54321), audit=audit) as server:
            with pytest.raises(NotAllowed):
                await in_thread(server, Client.connect)

    run(scene())
    found = lines(tmp_path)
    assert [(e["call"], e["code"], e["count"]) for e in found] == [
        *(("echo", "not_allowed", 1 << n) for n in range(7)),
        ("connect", "not_allowed", 1),
    ]
    assert {entry["uid"] for entry in found} == {54321}
    assert SECRET not in (tmp_path / files.NAME).read_text()


def test_hooks_and_plain_reading_are_not_written_unless_they_go_wrong(tmp_path: Path) -> None:
    audit = make(tmp_path)
    read, write = (Call(handler=lambda _p, _a: None, access=a) for a in (Access.READ, Access.WRITE))  # type: ignore[arg-type,return-value]
    assert not audit.wants("status", read, "ok")
    assert not audit.wants("status", read, "internal")
    assert audit.wants("status", read, "not_allowed")
    assert audit.wants("send", write, "ok")
    assert audit.wants("send", write, "conflict")
    assert not audit.wants("hook", write, "ok")
    assert audit.wants("hook", write, "invalid_request")


def test_the_log_stays_within_its_files(tmp_path: Path) -> None:
    audit = make(tmp_path, file_bytes=4000, files=3)
    for number in range(400):
        audit.call(ME, "send", {"target": "a", "id": str(number)}, "ok", None)
    sizes = [os.path.getsize(path) for path in files.files(str(tmp_path))]
    assert len(sizes) == 3
    assert max(sizes) <= 4000
    assert sorted(os.listdir(tmp_path)) == ["audit.log", "audit.log.1", "audit.log.2"]
    found = [int(entry["id"]) for entry in lines(tmp_path)]
    assert found == list(range(found[0], 400))
    assert [int(e["id"]) for e in files.read(str(tmp_path), limit=5)] == [395, 396, 397, 398, 399]
    assert files.read(str(tmp_path), since_ms=8) == []


@pytest.mark.parametrize("what", ["link", "hard link", "directory", "fifo"])
def test_what_lies_in_the_place_of_the_log_is_never_written_into(tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    place = tmp_path / "state" / files.NAME
    place.parent.mkdir()
    match what:
        case "link":
            place.symlink_to(victim)
        case "hard link":
            place.hardlink_to(victim)
        case "directory":
            place.mkdir()
        case _:
            os.mkfifo(place)
    audit = make(place.parent)
    audit.call(ME, "send", {}, "ok", None)
    assert audit.lost == 1
    assert audit.failing
    assert victim.read_text() == "mine"


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / files.NAME).write_text('{"at_ms":1,"call":"send"}\n{"at_ms":2,"ca')
    make(tmp_path).call(ME, "stop", {}, "ok", None)
    assert [entry["call"] for entry in lines(tmp_path)] == ["send", "stop"]


def test_without_files_nothing_is_written(tmp_path: Path) -> None:
    make(tmp_path, files=0).call(ME, "send", {}, "ok", None)
    assert os.listdir(tmp_path) == []


FULL = """if True:
    import os, resource, sys
    from noval_d.control.audit import Audit, Caller
    audit = Audit(sys.argv[1], agent_of=lambda _: "", clock_ms=lambda: 7)
    me = Caller(uid=1, pid=2, exe="", agent="")
    import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    for n in range(50): audit.call(me, "send", {"id": str(n)}, "ok", None)
    assert audit.failing and audit.lost, audit
    lost = audit.lost
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    audit.call(me, "stop", {}, "ok", None)
    assert not audit.failing and not audit.lost
    print(lost)
"""


def test_a_disk_that_is_full_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = lines(tmp_path)
    assert found[-1]["call"] == "stop"
    assert found[-1]["lost"] == int(done.stdout)
    assert len(found) - 1 + found[-1]["lost"] == 50
    for line in (tmp_path / files.NAME).read_bytes().splitlines():
        if line.endswith(b"}"):
            json.loads(line)


def _agents_word(made: TestNode) -> None:
    """Have the program in a pane send something, as its agent would."""
    go, said = made.state / "go", made.state / "said"
    env = " ".join(f"{k}={v}" for k, v in made.environment.items() if k.startswith("NOVA_"))
    send = f"env {env} {sys.executable} -m novactl.main send worker {SECRET}"
    pane = made.tmux.open(
        f"sh -c 'cd {Path.cwd()}; until [ -e {go} ]; do sleep 0.05; done; {send} > {said} 2>&1; cat'"
    )
    made.register("worker", pane)
    go.touch()
    until(lambda: said.exists() and said.read_text().strip(), what="the agent's message")


def test_a_node_tells_who_asked_even_when_its_log_is_in_the_way() -> None:
    with node() as made:
        _agents_word(made)
        listed = made.novactl("audit", "--json")
        entries = [json.loads(line) for line in listed.stdout.splitlines()]
        by_call = {entry["call"]: entry for entry in entries}
        assert by_call["register"]["target"] == "worker"
        assert by_call["register"]["agent"] == ""
        assert by_call["send"]["agent"] == "worker"
        assert by_call["send"]["code"] == "ok"
        assert by_call["send"]["id"]
        assert SECRET not in listed.stdout
        assert "ping" not in by_call
        shown = made.novactl("audit", "--since", "1h", "-n", "1")
        assert len(shown.stdout.splitlines()) == 1
        assert made.novactl("audit", "--since", "0s", "--json").stdout == ""

        os.rename(made.state / files.NAME, made.state / "aside")
        os.mkdir(made.state / files.NAME)
        made.stop()
        made.start()
        made.wait_up()
        assert made.send("worker", "goes on")["state"] == "accepted"
        found = [c for c in made.call("status")["health"] if c["code"] == "audit_failing"]
        assert len(found) == 1
        assert "calls are missing in it" in found[0]["message"]

        os.rmdir(made.state / files.NAME)
        made.call("unregister", {"agent_id": "worker"})
        assert "audit_failing" not in {c["code"] for c in made.call("status")["health"]}
        made.stop()
        late = made.novactl("audit", "--json")
        assert "no daemon is running" in late.stderr
        assert json.loads(late.stdout.splitlines()[0])["call"] == "unregister"
