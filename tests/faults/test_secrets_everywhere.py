"""A node in use with a password and a key: looked for in every process, file and answer that there is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pytest

from nova_torch.errors import NovaError
from noval_d.calls.table import Answers
from noval_d.control.calls import Access
from noval_d.node.directory import message_directory
from tests.support.node import ROOT, TestNode, node, until
from tests.support.reports import Report
from tests.support.servers import OwnServer, own_server

RUN = secrets.token_hex(5)  # another in each process: tests beside this one are looked through too
ONE, OTHER = f"canary1{RUN}", f"canary2{RUN}"
PASSWORD = f"{ONE}@x/{OTHER}"  # whoever cuts it at the wrong @ or / shows a part of it
KEY = f"c0ffee{RUN}" + "ab" * 24
TOKEN = f"canary3{RUN}-of-an-agent"
PARTS = (ONE, OTHER, KEY)
BODY = "a body of the run"
WAYS = ("file", "environment", "configuration")
UNLIMITED = ("sh", "-c", 'ulimit -Sc unlimited && exec "$@"', "sh")
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
SAID = (
    ("status",), ("health",), ("doctor",), ("config", "show"), ("config", "show", "--json"), ("config", "validate"),
    ("status", "--json"), ("doctor", "--json"), ("audit", "--json"),
)  # fmt: skip
ASKED: dict[str, dict[str, Any]] = {
    "place": {"agent_id": "spawned"},
    "presence": {"name": "spawned"},
    "occupies": {"agent_id": "spawned", "pane": "%0"},
    "policy_check": {"from": "user:x", "to": "spawned"},
}


@dataclass(slots=True)
class Run:
    """A node whose daemon has a password and a key, started so that it could leave a core file."""

    node: TestNode
    server: OwnServer
    way: str
    events: IO[bytes]
    watch: subprocess.Popen[bytes]

    @property
    def daemon(self) -> int:
        assert self.node.process is not None
        return self.node.process.pid

    def processes(self, what: str) -> Iterator[tuple[int, bytes]]:
        """Yield what every process of the machine has as its `cmdline` or `environ`."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                    yield int(entry.name), (entry / what).read_bytes()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file that the node and its watcher have written."""
        for top in (self.node.state, message_directory(self.node.state)):
            for path in top.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    yield str(path), path.read_bytes()
        yield "events", Path(self.events.name).read_bytes()

    def answers(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the control socket and novactl say, and each member of a report."""
        calls = Answers.__new__(Answers).table()
        for name in [name for name, call in calls.items() if call.access is Access.READ] + ["audit"]:
            try:
                said = repr(self.node.call(name, ASKED.get(name, {})))
            except NovaError as error:
                said = repr((error, error.hint))
            yield f"call {name}", said.encode()
        for words in SAID:
            done = self.node.novactl(*words)
            yield f"novactl {' '.join(words)}", f"{done.stdout}{done.stderr}".encode()
        file = self.node.state / "report.tar.gz"
        done = self.node.novactl("bugreport", "-o", str(file), "--force")
        assert done.returncode == 0
        for name, text in Report.read(file).members.items():
            yield f"bugreport {name}", text.encode()
        yield "novactl bugreport", f"{done.stdout}{done.stderr}".encode()

    def hold_no_secret(self) -> None:
        """Fail where a part of the password or the key is; the user's own places are the only ones."""
        parts = [part.encode() for part in (*PARTS, quote(PASSWORD, safe=""))]
        answers = list(self.answers())
        assert [
            place for place, said in answers if any(part in said for part in (*parts, TOKEN.encode()))
        ] == []
        assert [place for place, said in self.files() if any(part in said for part in parts)] == []
        assert [pid for pid, said in self.processes("cmdline") if any(part in said for part in parts)] == []
        given = {pid for pid, said in self.processes("environ") if any(part in said for part in parts)}
        assert given == ({self.daemon, self.watch.pid} if self.way == "environment" else set())


@pytest.fixture(params=WAYS)
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Start it, with a tmux server that the daemon has to start, and an agent that it spawns there."""
    with own_server() as server:
        server.ask("CONFIG", "SET", "requirepass", PASSWORD)  # its first one is on its command line
        server.password = PASSWORD
        config, keys, password = (tmp_path / name for name in ("config.toml", "keys", "password"))
        for file, text in ((keys, f"k1 {KEY}\n"), (password, PASSWORD), (config, "")):
            file.touch(0o600)
            file.write_text(text)
        plain = server.url_of("default")
        url = plain.replace("default@", f"default:{quote(PASSWORD, safe='')}@")
        lines = {
            "file": f'url = "{plain}"\npassword_file = "{password}"',
            "environment": "",
            "configuration": f'url = "{url}"',
        }[request.param]
        config.write_text(
            f'[broker]\n{lines}\n[signing]\nmode = "require"\nkey_file = "{keys}"\n'
            f'[agents.tester]\ndriver = "line"\ncommand = ["cat"]\ncwd = "{tmp_path}"\n'
            f'env = {{ TOKEN = "{TOKEN}" }}\n'
        )
        env = {"NOVA_TORCH_CONFIG": str(config)}
        if request.param == "environment":
            env["NOVA_BROKER_URL"] = url
        with node(start=False, env=env) as made, open(tmp_path / "events", "w+b") as events:
            made.before = UNLIMITED
            made.tmux.tmux("kill-server")
            until(lambda: not answers(made), what="the end of the tmux server")
            made.start()
            until(lambda: made.call("status")["broker"]["state"] == "up", what="the broker")
            watch = subprocess.Popen(
                [sys.executable, "-m", "novactl.main", "watch", "--json"],
                cwd=ROOT, env=made.environment, stdout=events, stderr=events,
            )  # fmt: skip
            try:
                made.call("spawn", {"role": "tester", "agent_id": "spawned"}, 30)
                until(lambda: made.call("agents")[0]["state"] in ("idle", "busy"), what="the agent")
                yield Run(made, server, request.param, events, watch)
            finally:
                watch.terminate()
                watch.wait(10)
                if made.process is not None and made.process.poll() is None:
                    made.call("stop_agent", {"agent_id": "spawned", "force": True})


def answers(made: TestNode) -> bool:
    try:
        made.tmux.tmux("list-sessions")
    except RuntimeError:
        return False
    return True


def core_limit(pid: int) -> str:
    """Return the soft limit of core files, as the kernel has it."""
    found = re.search(r"^Max core file size +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.timeout(300)
def test_a_password_and_a_key_are_nowhere_but_where_their_owner_put_them(used: Run, tmp_path: Path) -> None:
    made, server = used.node, used.server
    assert made.send_wait("spawned", BODY)["state"] == "submitted"
    assert made.call("reload") == {"changed": []}  # the URL that the daemon keeps to itself is still known
    used.hold_no_secret()

    server.ask("CONFIG", "SET", "requirepass", "another")
    server.password = "another"
    server.kill_clients()
    until(lambda: made.call("status")["broker"]["state"] == "down", what="the refused password")
    until(lambda: "refused the password" in json.dumps(made.call("doctor")), what="the reason")
    assert made.send_wait("spawned", BODY)["state"] == "submitted"
    keys = tmp_path / "keys"
    keys.write_text(f"k1 {KEY} and more\n")
    assert made.novactl("rpc", "reload").returncode == 2
    used.hold_no_secret()
    keys.write_text(f"k1 {KEY}\n")
    server.ask("CONFIG", "SET", "requirepass", PASSWORD)
    server.password = PASSWORD
    until(lambda: made.call("status")["broker"]["state"] == "up", what="the broker again")

    agent = int(
        made.tmux.tmux("list-panes", "-a", "-F", "#{@nova_agent} #{pane_pid}").split("spawned ")[1].split()[0]
    )
    tmux = int(made.tmux.tmux("display-message", "-p", "#{pid}"))
    assert [core_limit(pid) for pid in (used.daemon, tmux, agent)] == ["1", "unlimited", "unlimited"]
    assert made.process is not None
    before = cores(ROOT, made.state)
    made.process.send_signal(signal.SIGABRT)
    assert made.process.wait(20) == -signal.SIGABRT
    assert cores(ROOT, made.state) == before
    os.kill(agent, signal.SIGABRT)
    if not CORE_PATTERN.read_text().startswith(
        ("|", "/", "@")
    ):  # the agent's own is there: one could be seen
        until(lambda: cores(tmp_path), what="the core file of an agent that is aborted")
    found = [place for place, said in used.files() if any(part.encode() in said for part in PARTS)]
    assert found == []


def cores(*folders: Path) -> list[tuple[Path, int]]:
    """Return the core files there, and when each was written."""
    found = [path for folder in folders for path in folder.iterdir() if path.name.startswith("core")]
    return sorted((path, path.stat().st_mtime_ns) for path in found)


# -- programs with a password in their memory --

BROKEN = """if True:
    import sys
    from novactl.report import gather
    def broken(place):
        secrets, url = place.secrets, place.config.broker.url
        return 1 // 0
    gather.gather = broken
    from novactl.main import main
    sys.exit(main(["bugreport", "--list"]))
"""
SENDER = """if True:
    import os
    from nova_torch import NovaOrchestrator
    nova = NovaOrchestrator(broker=os.environ["NOVA_BROKER_URL"])
    nova.send_message("nobody", "hello")
"""


@pytest.mark.parametrize(
    ("program", "error"), [(BROKEN, "ZeroDivisionError"), (SENDER, "refused the password")]
)
def test_a_traceback_of_novactl_or_of_a_program_has_no_password(program: str, error: str) -> None:
    with own_server() as server, node(start=False) as made:
        # a wrong one: it is refused, and in the program's memory all the same
        url = server.url_of("default").replace("default@", f"default:{quote(PASSWORD, safe='')}@")
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, env={**made.environment, "NOVA_BROKER_URL": url}, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert error in done.stderr.splitlines()[-1]
    assert not [part for part in PARTS if part in json.dumps(done.stdout + done.stderr)]
