"""`novactl bugreport`: what is in it, what is not, and that it is written whatever is dead."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.protocol.frames import hello
from tests.support.agents import raw, tui
from tests.support.cli import clean_environment, run_program
from tests.support.daemon import fake_daemon
from tests.support.node import TestNode, node, until
from tests.support.reports import Report, report

BODY, PANE, SECRET = "canary-body-5d2e", "canary-pane-5d2e", "canary-secret-5d2e"
OF_THE_DAEMON = {
    "daemon.json", "status.json", "health.json", "doctor.json", "nodes.json", "agents.json", "events.json",
    "config.json",
}  # fmt: skip
OF_THE_MACHINE = {
    "versions.json", "system.json", "doctor-here.json", "config-here.json", "state.json", "files.json",
    "daemon.log",
}  # fmt: skip
OF_SYSTEMD = {"units.json", "journal.log"}  # missing where no systemd runs, or not for us


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """A node with a body, a draft, a secret of an agent and one of the environment to be left out."""
    folder = tmp_path_factory.mktemp("full")
    config = folder / "config.toml"
    config.write_text(
        f'[agents.x]\ncommand = ["cat", "--api-key", "{SECRET}"]\nprompt = "{BODY}"\nenv = {{ A = "{SECRET}" }}\n'
    )
    with node(env={"NOVA_TORCH_CONFIG": str(config), "MY_TOKEN": SECRET}) as made:
        raw(made, folder)
        made.send_wait("raw", BODY)
        agent = tui(made, folder)
        agent.draft(PANE)
        agent.wait_for(PANE)
        made.send("claude-1", BODY)
        until(lambda: made.call("status")["held"], what="the message behind the draft")
        yield made


def test_a_report_has_every_section_and_neither_bodies_nor_screens_nor_secrets(
    full: TestNode, tmp_path: Path
) -> None:
    seen = json.dumps([full.call("status"), full.call("history"), full.call("config")])
    assert [canary for canary in (BODY, PANE) if canary in seen] == [
        BODY,
        PANE,
    ]  # there is something to leave out
    made = report(full, tmp_path / "r.tar.gz")
    assert set(made.missing()) <= OF_SYSTEMD
    assert set(made.members) == {
        "contents.json",
        "broker.json",
        *OF_THE_DAEMON,
        *OF_THE_MACHINE,
        *OF_SYSTEMD,
    } - set(made.missing())
    for name, text in made.members.items():
        assert [canary for canary in (BODY, PANE, SECRET) if canary in text] == [], name
    assert made.json("status.json")["held"][0]["reason"] == "draft"
    assert {agent["agent_id"] for agent in made.json("agents.json")} == {"raw", "claude-1"}
    assert made.json("events.json")["history"][0]["body"] is None
    assert made.json("config.json")["agents"]["x"]["command"] == ["cat", "--api-key", "***"]
    assert made.json("versions.json")["libraries"]["redis"]
    assert made.json("broker.json")["version"] == made.json("status.json")["broker"]["version"]
    state = made.json("state.json")
    assert (state["schema"], state["rows"]["outbox"], state["rows"]["agents"]) == (1, 2, 2)
    assert "node.ready" in made.members["daemon.log"] or "broker.up" in made.members["daemon.log"]
    assert [entry for entry in made.json("files.json") if entry["name"] == "state.db"]


def test_it_says_what_is_in_it_and_what_is_not(full: TestNode, tmp_path: Path) -> None:
    done = full.novactl("bugreport", "-o", str(tmp_path / "r.tar.gz"))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert {line.split("\t")[0] for line in lines if "\t" in line} >= OF_THE_DAEMON | OF_THE_MACHINE
    assert len([line for line in lines if line.startswith("not in it: ")]) == 4
    assert str(tmp_path / "r.tar.gz") in lines[-1]
    listed = full.novactl("bugreport", "--list", "--json")
    assert listed.returncode == 0
    told = json.loads(listed.stdout)
    assert (told["file"], told["bytes"]) == (None, None)
    assert {section["file"] for section in told["sections"]} >= OF_THE_DAEMON
    assert set(told) == {"file", "bytes", "sections", "left_out", "not_looked_for"}


def test_a_file_that_is_there_is_written_over_only_when_that_is_said(full: TestNode, tmp_path: Path) -> None:
    file = tmp_path / "r.tar.gz"
    file.write_text("mine")
    file.chmod(0o644)
    refused = full.novactl("bugreport", "-o", str(file))
    assert (refused.returncode, file.read_text()) == (1, "mine")
    assert "is there already. Choose another with -o, or say --force." in refused.stderr
    assert report(full, file, "--force").json("agents.json")
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["r.tar.gz"]
    victim, link = tmp_path / "victim", tmp_path / "link.tar.gz"
    victim.write_text("mine")
    link.symlink_to(victim)
    assert full.novactl("bugreport", "-o", str(link)).returncode == 1
    assert full.novactl("bugreport", "-o", str(link), "--force").returncode == 0
    assert (victim.read_text(), link.is_symlink()) == ("mine", False)


def test_without_a_name_it_is_named_by_the_time_here_or_in_the_directory_that_is_given(
    full: TestNode, tmp_path: Path
) -> None:
    done = full.novactl("bugreport", "-o", str(tmp_path), "--json")
    told = json.loads(done.stdout)
    (name,) = os.listdir(tmp_path)
    assert re.fullmatch(r"nova-torch-bugreport-\d{8}T\d{6}Z\.tar\.gz", name)
    assert (told["file"], told["bytes"]) == (str(tmp_path / name), (tmp_path / name).stat().st_size)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-o", "/nonexistent/r.tar.gz"], 1, "No such file or directory: /nonexistent/r.tar.gz"),
        (["--list", "--force"], 2, "--list writes nothing."),
        (["--timeout", "soon"], 2, "soon"),
        (["--lst"], 2, "--list"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    env = clean_environment(NOVA_STATE_DIR=str(tmp_path / "s"), HOME=str(tmp_path))
    done = run_program(["bugreport", *words], env=env)
    assert done.returncode == code
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_a_report_of_a_dead_daemon_says_why_and_has_the_rest(tmp_path: Path) -> None:
    with node() as made:
        raw(made, tmp_path)
        made.send_wait("raw", BODY)
        made.kill()
        found = report(made, tmp_path / "dead.tar.gz")
        why = found.missing()
        assert set(why) - OF_SYSTEMD == OF_THE_DAEMON
        assert {why[name].partition(" at ")[0] for name in OF_THE_DAEMON} == {"cannot reach nova-torchd"}
        assert found.json("state.json")["rows"]["ledger"] == 1
        assert found.json("broker.json")["kind"]  # the embedded one outlives a killed daemon
        assert set(found.members) >= OF_THE_MACHINE
        assert not [name for name, text in found.members.items() if BODY in text]
        made.start()


def test_a_report_of_a_daemon_that_does_not_answer_waits_once(tmp_path: Path) -> None:
    with node() as made:
        assert made.process is not None
        made.process.send_signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            found = report(made, tmp_path / "stopped.tar.gz", "--timeout", "6s")
            took_s = time.monotonic() - begun
        finally:
            made.process.send_signal(signal.SIGCONT)
        assert set(found.missing()) - OF_SYSTEMD == OF_THE_DAEMON
        assert took_s < 45  # eight sections that waited would be 48 and more


def test_a_report_with_a_dead_broker_has_the_daemons_word(tmp_path: Path) -> None:
    with node(env={"NOVA_BROKER_URL": f"redis://u:{SECRET}@127.0.0.1:1"}, start=False) as made:
        made.start()
        found = report(made, tmp_path / "r.tar.gz")
        assert set(found.missing()) - OF_SYSTEMD == {"broker.json"}
        assert "127.0.0.1:1" in found.missing()["broker.json"]
        assert found.json("status.json")["broker"]["state"] == "down"
        assert "broker_down" in {finding["code"] for finding in found.json("doctor.json")}
        assert not [name for name, text in found.members.items() if SECRET in text]


def test_a_report_without_anything_is_written_all_the_same(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[broker]\nurl = "redis://u:{SECRET}@host:1"\nurll = "{SECRET}"\n')
    env = clean_environment(
        NOVA_STATE_DIR=str(tmp_path / "none"),
        NOVA_TORCH_CONFIG=str(config),
        PATH="/nonexistent",
        HOME=str(tmp_path),
        PYTHONPATH=str(tmp_path),
    )
    (tmp_path / "redis.py").write_text("raise ImportError('half an installation')\n")
    file = tmp_path / "r.tar.gz"
    done = run_program(["bugreport", "-o", str(file)], env=env)
    assert done.returncode == 0, done.stderr
    found = Report.read(file)
    why = found.missing()
    assert set(why) == {
        *OF_THE_DAEMON, "broker.json", "config-here.json", "state.json", "files.json", "daemon.log", *OF_SYSTEMD,
    }  # fmt: skip
    assert "urll" in why["config-here.json"]
    assert "systemctl" in why["units.json"]
    assert why["broker.json"] == "ImportError: half an installation"
    assert "tmux cannot be started" in found.json("versions.json")["tmux"]
    assert not [name for name, text in found.members.items() if SECRET in text]


def test_an_older_daemon_that_knows_no_readers_is_not_asked_for_what_it_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(*args: Any, **_: Any) -> dict[str, Any]:
        said = hello(*args)
        return {"hello": {**said["hello"], "version": "1.9.9"}}

    monkeypatch.setattr("noval_d.control.connection.hello", old)
    with fake_daemon(status={"held": [PANE]}) as daemon:
        env = clean_environment(NOVA_SOCKET=daemon.path, NOVA_STATE_DIR=str(tmp_path), HOME=str(tmp_path))
        done = run_program(["bugreport", "--list", "--json"], env=env)
        assert daemon.seen == []
    missing = {section["file"]: section["missing"] for section in json.loads(done.stdout)["sections"]}
    assert {name for name, why in missing.items() if why and "the daemon is 1.9.9" in why} == OF_THE_DAEMON


def test_a_state_directory_of_rubbish_is_told_of_and_holds_nothing_up(tmp_path: Path) -> None:
    state = tmp_path / "s"
    state.mkdir()
    (state / "state.db").write_bytes(b"no database " * 1000)
    os.mkfifo(state / "daemon.log")
    (state / "name\n\x1b[31m\udcff").touch()
    env = clean_environment(NOVA_STATE_DIR=str(state), HOME=str(tmp_path), A_PASSWORD="000000")
    file = tmp_path / "r.tar.gz"
    done = run_program(["bugreport", "-o", str(file)], env=env)
    assert done.returncode == 0, done.stderr
    found = Report.read(file)
    assert [found.json(name) for name in found.members if name.endswith(".json")]  # whatever is a secret
    assert found.missing()["state.json"] == "DatabaseError: file is not a database"
    assert found.missing()["daemon.log"].startswith(f"there is no {state}/daemon.log")
    assert len(found.json("files.json")) == 3
    (state / "daemon.log").unlink()
    (state / "daemon.log").write_bytes(b"\xff old\n" + b"x" * (600 << 10) + b"\nthe last line\n")
    again = run_program(["bugreport", "-o", str(file), "--force"], env=env)
    assert again.returncode == 0, again.stderr
    assert Report.read(file).members["daemon.log"] == "the last line\n"
