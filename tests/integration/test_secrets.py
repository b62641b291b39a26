"""Secrets of a node, in none of the places that somebody reads; and what lies in the place of its files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.agents import raw
from tests.support.node import ROOT, TestNode, node, until
from tests.support.servers import OwnServer, own_server

PASSWORD = "canary-password-91c4"
TOKEN = "canary-token-91c4"
KEY = "c0ffee91c4" + "ab" * 28
BODY = "canary-body-91c4"
CALLS = ("status", "doctor", "health", "config", "agents", "dead_list", "history", "audit", "schedule_list")
WORDS = (("status",), ("doctor",), ("config", "show"), ("config", "show", "--json"), ("audit",), ("version",))


@dataclass(slots=True)
class Guarded:
    """A node on a broker that wants a password, with keys and a template that has a token."""

    node: TestNode
    server: OwnServer
    keys: Path
    config: Path

    def shown(self) -> dict[str, str]:
        """Return what people and programs are shown, by where."""
        made = self.node
        assert made.process is not None
        found = {name: json.dumps(made.call(name), default=str) for name in CALLS}
        for words in WORDS:
            done = made.novactl(*words)
            found[" ".join(words)] = f"{done.stdout}{done.stderr}"
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        found["ps"] = listed.stdout
        found["audit.log"] = (made.state / "audit.log").read_text()
        found["log"] = made.log()
        return found

    def hold_no_secret(self) -> None:
        for where, text in self.shown().items():
            for secret in (PASSWORD, TOKEN, KEY):
                assert secret not in text, where
        assert BODY not in self.node.log()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with own_server() as server:
        server.ask("CONFIG", "SET", "requirepass", PASSWORD)  # its first one is on its command line
        server.password = PASSWORD
        password, keys, config = (tmp_path / name for name in ("password", "keys", "config.toml"))
        for path, text in ((password, PASSWORD), (keys, f"k1 {KEY}\n")):
            path.touch(0o600)
            path.write_text(text)
        config.write_text(
            f'[broker]\npassword_file = "{password}"\n'
            f'[signing]\nmode = "require"\nkey_file = "{keys}"\n'
            f'[agents.tester]\ndriver = "line"\ncommand = ["cat"]\nenv = {{ TOKEN = "{TOKEN}" }}\n'
        )
        url = server.url_of("default")
        with node(env={"NOVA_TORCH_CONFIG": str(config), "NOVA_BROKER_URL": url}) as made:
            yield Guarded(made, server, keys, config)


def test_no_secret_is_shown_or_logged_whatever_goes_wrong(guarded: Guarded, tmp_path: Path) -> None:
    made = guarded.node
    raw(made, tmp_path)
    made.send_wait("raw", BODY)
    assert "secret_open" not in {check["code"] for check in made.call("doctor")}
    guarded.keys.chmod(0o640)
    found = {check["code"]: check for check in made.call("doctor")}["secret_open"]
    assert f"{guarded.keys}, can be read by its group" in found["message"]
    assert f"chmod 600 {guarded.keys}" in found["hint"]
    guarded.keys.chmod(0o600)
    made.call("spawn", {"role": "tester", "agent_id": "spawned"})
    until(lambda: [a for a in made.call("agents") if a["agent_id"] == "spawned"], what="the spawned agent")
    guarded.hold_no_secret()
    # its limits, as the kernel has them: no core file, which would hold all of them
    assert made.process is not None
    limits = Path(f"/proc/{made.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +1 ", limits)
    guarded.server.ask("CONFIG", "SET", "requirepass", "another")
    guarded.server.password = "another"
    guarded.server.kill_clients()
    until(lambda: made.call("status")["broker"]["state"] == "down", what="the refused password")
    guarded.keys.write_text(f"k1 {KEY} and more\n")
    refused = made.novactl("rpc", "reload")
    assert refused.returncode == 2
    assert "no key" in refused.stderr
    assert KEY not in refused.stderr
    guarded.hold_no_secret()
    made.process.send_signal(signal.SIGABRT)
    made.process.wait(10)
    assert [
        path.name for path in (*made.state.iterdir(), *ROOT.iterdir()) if path.name.startswith("core")
    ] == []
    for start in ("the log", "at the next start"):
        text = made.log()
        if start != "the log":
            done = subprocess.run(
                [sys.executable, "-m", "noval_d"], cwd=ROOT, env=made.environment, capture_output=True,
                text=True, timeout=30, check=False,
            )  # fmt: skip
            assert done.returncode == 2
            text = done.stdout + done.stderr
        assert not [secret for secret in (PASSWORD, TOKEN, KEY) if secret in text], start
    guarded.keys.write_text(f"k1 {KEY}\n")  # as it was, for the end of the fixture
    made.start(wait=True)
    made.call("stop_agent", {"agent_id": "spawned", "force": True})


def test_a_password_on_a_command_line_is_refused_and_one_in_a_url_is_not_shown(tmp_path: Path) -> None:
    with node(start=False, env={"HOME": str(tmp_path)}) as made:
        done = made.novactl("up", "--broker", f"redis://:{PASSWORD}@127.0.0.1:1")
        assert done.returncode == 2
        assert "seen by every user" in done.stderr
        assert PASSWORD not in done.stderr
        made.env["NOVA_BROKER_URL"] = f"redis://u:{PASSWORD}@127.0.0.1:not-a-port"
        broken = made.novactl("config", "show")
        assert PASSWORD not in broken.stdout + broken.stderr


# -- what lies in the place of its files --


@pytest.mark.parametrize("name", ["state.db", "lock", "audit.log"])
def test_a_link_in_the_place_of_a_file_is_never_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with node(start=False) as made:
        (made.state / name).symlink_to(victim)
        made.start(wait=name == "audit.log")
        assert made.process is not None
        if name == "audit.log":
            assert made.novactl("pause", "x").returncode == 5
            assert "audit_failing" in {check["code"] for check in made.call("status")["health"]}
        else:
            assert made.process.wait(20) != 0
            assert "Traceback" not in made.log()
            assert name in made.log()
        assert victim.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_state_directory_of_somebody_else_is_refused_and_an_open_one_closed() -> None:
    with node(start=False) as made:
        os.chown(made.state, 65534, 65534)
        made.start(wait=False)
        assert made.process is not None
        assert made.process.wait(20) != 0
        assert "belongs to user 65534, who could replace what is in it" in made.log()
        assert not (made.state / "state.db").exists()
        os.chown(made.state, 0, 0)
        os.chmod(made.state, 0o777)
        made.start()
        assert made.state.stat().st_mode & 0o777 == 0o755
        assert "node.directory_closed" in made.log()


@pytest.mark.parametrize("what", ["a file", "a link", "a directory", "a socket that answers"])
def test_what_sits_at_the_place_of_the_socket_is_left_alone_and_named(tmp_path: Path, what: str) -> None:
    with node(start=False) as made, socket.socket(socket.AF_UNIX) as squatter:
        place = Path(made.socket)
        match what:
            case "a file":
                place.write_text("mine")
            case "a link":
                place.symlink_to(tmp_path)
            case "a directory":
                place.mkdir()
            case _:
                squatter.bind(str(place))
                squatter.listen()
        made.start(wait=False)
        assert made.process is not None
        assert made.process.wait(20) != 0
        log = made.log()
        assert "Traceback" not in log
        said = f"{what} is in its place" if what != "a socket that answers" else f"pid {os.getpid()}"
        assert said in log
        assert os.path.lexists(place)
