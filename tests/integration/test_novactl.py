"""novactl against a fake daemon: exit codes, JSON, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import (
    AgentNotFound,
    InternalError,
    InvalidRequest,
    Lagged,
    MailboxFull,
    NotAllowed,
    ProtocolMismatch,
    ShuttingDown,
    UnknownCall,
)
from nova_torch.ulid import is_ulid
from tests.support.cli import clean_environment, run_here, run_program
from tests.support.daemon import HANG, FakeDaemon, Stream, fake_daemon

Capture = pytest.CaptureFixture[str]
ID = "01JD3ZK8Q5W9X2Y4V6B8N0M1P3"


def receipt(state: str, *, reason: str = "", final: bool = False) -> dict[str, Any]:
    return {
        "id": ID,
        "target": "a",
        "state": state,
        "reason": reason,
        "agent": "a",
        "node": "fake",
        "final": final,
        "timings_ms": {"accepted": 0},
    }


AGENT = {
    "agent_id": "a", "role": "tester", "skills": ["x", "y"], "node": "fake", "driver": "claude", "pane": "%1",
    "session": "s", "window": "w", "state": "idle", "state_since_ms": 0, "queued": 2, "last_seen_ms": 0,
    "current_task": "",
}  # fmt: skip


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    for name in os.environ:
        if name.startswith(("NOVA_", "TMUX", "XDG_")):
            monkeypatch.delenv(name)
    with fake_daemon(send=receipt("accepted")) as running:
        monkeypatch.setenv("NOVA_SOCKET", running.path)
        yield running


def test_send_prints_the_id_and_nothing_else(daemon: FakeDaemon, capfd: Capture) -> None:
    done = run_here(capfd, ["send", "a", "hello", "--id", ID])
    assert (done.code, done.out, done.err) == (0, f"{ID}\n", "")


def test_send_passes_what_the_daemon_needs(
    daemon: FakeDaemon, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX_PANE", "%7")
    monkeypatch.setenv("TMUX", "/tmp/t,1,0")
    argv = ["send", "a", "/compact", "--command", "-p", "high", "--ttl", "2m", "--wait=submitted"]
    daemon.answers["send"] = receipt("submitted", final=True)
    assert run_here(capfd, argv).code == 0
    (asked,) = daemon.asked("send")
    assert is_ulid(asked.pop("id"))
    assert asked == {
        "target": "a",
        "body": "/compact",
        "form": "command",
        "priority": "high",
        "ttl_s": 120.0,
        "wait": "submitted",
        "pane": "%7",
        "tmux": "/tmp/t,1,0",
    }


@pytest.mark.parametrize(
    ("wait", "answer", "code", "out", "err"),
    [
        ("--wait", [receipt("submitted", final=True)], 0, "submitted", ""),
        ("--wait", [receipt("accepted"), receipt("acknowledged", final=True)], 0, "acknowledged", ""),
        ("--wait=acknowledged", [receipt("submitted"), receipt("acknowledged")], 0, "acknowledged", ""),
        ("--wait=acknowledged", [receipt("submitted", final=True)], 1, "submitted", "hooks install"),
        ("--wait", [receipt("failed", reason="no_pane", final=True)], 7, "failed\tno_pane", "no_pane"),
        ("--wait", [receipt("expired", final=True)], 7, "expired", "expired"),
        ("--wait", [receipt("dead", final=True)], 7, "dead", "dead"),
        ("--wait", [receipt("unconfirmed", final=True)], 7, "unconfirmed", "not proven"),
        ("--wait", [receipt("held", reason="busy"), HANG], 6, "held\tbusy", "the message goes on"),
        ("--wait", [receipt("queued"), ShuttingDown("stopping.")], 6, "queued", "the message goes on"),
        ("--wait=replied", [receipt("acknowledged"), HANG], 6, "acknowledged", "trace"),
    ],
)
def test_send_with_wait_ends_as_the_table_says(
    daemon: FakeDaemon, capfd: Capture, wait: str, answer: list[Any], code: int, out: str, err: str
) -> None:
    daemon.answers["send"] = Stream(answer)
    done = run_here(capfd, ["send", "a", "x", "--id", ID, wait, "--timeout", "400ms"])
    assert done.code == code
    assert done.out == (f"{ID}\t{out}\n" if out else "")
    assert err in done.err
    assert done.err.count("\n") == (1 if code else 0)


def test_a_wait_without_any_answer_prints_the_id_too(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["send"] = HANG
    done = run_here(capfd, ["send", "a", "x", "--id", ID, "--wait", "--timeout", "300ms"])
    assert (done.code, done.out) == (6, f"{ID}\n")
    assert "--id" in done.err


def test_a_wait_survives_a_restart_of_the_daemon(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_daemon(send=Stream([receipt("queued"), HANG])) as first:
        monkeypatch.setenv("NOVA_SOCKET", first.path)
        second = FakeDaemon(first.path, {"send": receipt("submitted", final=True)})

        def restart() -> None:
            while not first.asked("send"):
                pass
            first.stop()
            second.start()

        change = threading.Thread(target=restart)
        change.start()
        done = run_here(capfd, ["send", "a", "x", "--wait", "--timeout", "20s"])
        change.join()
        second.stop()
    assert done.code == 0, done.err
    assert [asked["id"] for asked in first.asked("send")] == [asked["id"] for asked in second.asked("send")]


def test_a_send_whose_answer_was_lost_is_sent_again_once_with_the_same_id(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nova_torch.protocol.frames import FrameReader, hello, pack

    path = os.path.relpath(tmp_path / "s")
    monkeypatch.setenv("NOVA_SOCKET", path)
    ids: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            for attempt in range(2):
                connection, _ = listener.accept()
                with connection:
                    reader = FrameReader()
                    connection.sendall(pack(hello()))
                    frame = None
                    while frame is None or "call" not in frame:
                        frame = reader.next()
                        if frame is None:
                            reader.feed(connection.recv(65536))
                    ids.append(frame["args"]["id"])
                    if attempt:
                        connection.sendall(pack({"id": frame["id"], "ok": receipt("accepted")}))

        server = threading.Thread(target=serve)
        server.start()
        done = run_here(capfd, ["send", "a", "x"])
        server.join()
    assert done.code == 0, done.err
    assert len(ids) == 2
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AgentNotFound("no agent 'b' is registered.", "Did you mean a?"), 5),
        (NotAllowed("you may not.", "Ask."), 4),
        (InvalidRequest("target is empty."), 2),
        (MailboxFull("the mailbox is full."), 1),
        (ProtocolMismatch("1 and 2."), 8),
        (InternalError("a defect.", "See the log."), 1),
        (UnknownCall("no such call."), 1),
    ],
)
def test_an_error_of_the_daemon_is_one_sentence_a_cure_and_its_code(
    daemon: FakeDaemon, capfd: Capture, error: Any, code: int
) -> None:
    daemon.answers["send"] = error
    done = run_here(capfd, ["send", "b", "x"])
    assert (done.code, done.out, done.err) == (code, "", f"novactl: {error}\n")


def test_no_daemon_is_exit_3_with_the_cure(capfd: Capture, tmp_path: Path) -> None:
    for argv in (["send", "a", "x"], ["agents"], ["status"], ["watch"], ["send", "a", "x", "--wait"]):
        done = run_here(capfd, [*argv, "--socket", str(tmp_path / "s")])
        assert (done.code, done.out) == (3, "")
        assert "novactl up" in done.err


def test_a_call_that_is_not_answered_in_time_is_exit_6(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["send"] = HANG
    assert run_here(capfd, ["send", "a", "x", "--timeout", "200ms"]).code == 6


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "empty"),
        (b" \n\x1b\x07", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * (2 << 20), "the limit is 1048576"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused_before_anything_is_asked(
    body: bytes, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "body"
    file.write_bytes(body)
    for argv, stdin in (
        (["send", "a"], body),
        (["send", "a", "-"], body),
        (["send", "a", "--file", str(file)], b""),
    ):
        done = run_program([*argv, "--socket", "/nonexistent/s"], stdin=stdin)
        assert done.returncode == 2
        assert sentence in done.stderr.decode()


def test_text_is_read_from_stdin_and_only_its_last_line_end_goes() -> None:
    with fake_daemon(send=receipt("accepted")) as daemon:
        env = clean_environment(NOVA_SOCKET=daemon.path)
        for stdin in (b"one\ntwo\n\n", "größer\r\n".encode(), b"x"):
            assert run_program(["send", "a"], env=env, stdin=stdin).returncode == 0
        assert [asked["body"] for asked in daemon.asked("send")] == ["one\ntwo\n", "größer", "x"]


def test_arguments_that_are_not_utf8_are_refused() -> None:
    done = run_program(["send", b"a", b"\xff"])
    assert done.returncode == 2
    assert b"argument 3 is not UTF-8" in done.stderr


def test_a_reader_that_goes_away_is_no_error_message() -> None:
    with fake_daemon(agents=[AGENT] * 5000) as daemon:
        program = subprocess.Popen(
            [sys.executable, "-m", "novactl.main", "agents"],
            env=clean_environment(NOVA_SOCKET=daemon.path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        with program.stderr:
            assert program.stderr.read() == b""
        assert program.wait(20) == 141


def test_ctrl_c_is_130_without_a_traceback() -> None:
    with fake_daemon(watch=Stream([{"node": "fake"}, HANG])) as daemon:
        # a shell's background job, as which these tests may run, ignores it, and so would our child
        program = subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-m", "novactl.main", "watch", "--json"],
            env=clean_environment(NOVA_SOCKET=daemon.path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert program.stdout is not None
        assert json.loads(program.stdout.readline()) == {"node": "fake"}
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=20)
        assert (program.returncode, err) == (130, b"")


def test_streams_are_a_json_line_an_entry(daemon: FakeDaemon, capfd: Capture) -> None:
    event = {
        "at_ms": 5,
        "event": "held",
        "id": ID,
        "agent": "a",
        "state": "held",
        "reason": "busy",
        "node": "n",
    }
    daemon.answers["watch"] = Stream([{"node": "n"}, event, event])
    done = run_here(capfd, ["watch", "--agent", "a", "--json"])
    assert (done.code, [json.loads(line) for line in done.out.splitlines()]) == (
        0,
        [{"node": "n"}, event, event],
    )
    assert daemon.asked("watch") == [{"agent": "a"}]
    plain = run_here(capfd, ["watch", "-q"])
    assert [line.split("\t")[1:] for line in plain.out.splitlines()] == [[ID, "a", "held", "busy"]] * 2
    daemon.answers["watch"] = Stream([{"node": "n"}, Lagged("too slow.")])
    assert run_here(capfd, ["watch"]).code == 1


def test_lists_are_tab_separated_where_there_is_no_terminal(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["agents"] = [AGENT]
    done = run_here(capfd, ["agents", "--skill", "x", "--skill", "y", "--role", "tester"])
    assert done.out.split("\t") == [
        "a",
        "idle",
        "",
        "2",
        "tester",
        "x,y",
        "fake",
        "claude",
        "%1",
        "s:w",
        "",
        "\n",
    ]
    assert daemon.asked("agents") == [{"role": "tester", "skills": ["x", "y"]}]
    assert json.loads(run_here(capfd, ["agents", "--json"]).out) == [AGENT]


def test_no_control_byte_of_a_message_reaches_the_output(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["inbox"] = [
        {"id": ID, "sender": "b\x1b[31m", "state": "typed", "body": "x\ty\n\x1b]0;title\x07"}
    ]
    done = run_here(capfd, ["inbox", "a"])
    assert done.out == f"{ID}\tb[31m\ttyped\t\t\tx\\ty\\n]0;title\n"


@pytest.mark.parametrize(
    ("argv", "answers", "out"),
    [
        (
            ["register", "a", "--pane", "%1", "--role", "r", "--skill", "x"],
            {"register": AGENT},
            "registered a",
        ),
        (["unregister", "a"], {"unregister": {"agent_id": "a", "dropped": 2}}, "2 waiting messages"),
        (["pause", "a"], {"pause": {**AGENT, "state": "paused"}}, "paused a"),
        (["resume", "a"], {"resume": AGENT}, "resumed a"),
        (["peek", "a", "-n", "2"], {"peek": {"agent_id": "a", "lines": ["one", "two", ""]}}, "one\ntwo\n"),
        (
            ["trace", ID],
            {"trace": {**receipt("typed"), "hops": [{"at_ms": 1, "node": "n", "state": "typed"}]}},
            "+0ms",
        ),
        (
            ["dead", "list"],
            {"dead_list": [{"id": ID, "agent": "a", "state": "failed", "at_ms": 1}]},
            f"{ID}\ta",
        ),
        (["dead", "retry", ID], {"dead_retry": {"id": ID}}, f"{ID} queued again"),
        (["dead", "drop", ID.lower()], {"dead_drop": {"id": ID}}, f"{ID} dropped"),
        (["config", "show"], {"config": {"source": "", "node": {"name": "n"}}}, 'node.name = "n"'),
        (["version"], {}, "nova-torchd 9.9.9"),
        (["rpc", "echo", '{"a": 1}'], {"echo": lambda args: args}, '{"a": 1}'),
        (["rpc", "count", "--stream"], {"count": Stream([1, 2])}, "1\n2\n"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_every_command_says_what_it_did_and_gives_json(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, argv: list[str], answers: dict[str, Any], out: str
) -> None:
    with fake_daemon(**answers) as daemon:
        monkeypatch.setenv("NOVA_SOCKET", daemon.path)
        done = run_here(capfd, argv)
        assert done.code == 0, done.err
        assert out in done.out
        as_json = run_here(capfd, ["--json", *argv])
        assert as_json.code == 0
        for line in as_json.out.splitlines():
            json.loads(line)


def test_register_here_passes_the_pane_it_runs_in(
    daemon: FakeDaemon, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["register"] = AGENT
    assert run_here(capfd, ["register", "a", "--here"]).code == 2
    assert run_here(capfd, ["register", "a"]).code == 2
    assert run_here(capfd, ["register", "a", "--here", "--pane", "%1"]).code == 2


STATUS = {
    "node": "n", "version": "2.0.0", "uptime_s": 61.0, "mode": "fallback",
    "broker": {"url": "redis://h", "kind": "dragonfly", "version": "1.40.1", "state": "down"},
    "tmux": [{"socket": "/tmp/tmux-0/default", "state": "up"}], "agents": {"idle": 1}, "outbox": 3,
    "paused": ["b"], "held": [{"id": ID, "agent": "a", "reason": "dialog", "detail": "Proceed?", "held_s": 9.0}],
    "health": [{"code": "broker_down", "severity": "error", "message": "It is down.", "hint": "Start it."}],
}  # fmt: skip


def test_status_ends_with_the_command_that_helps(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["status"] = STATUS
    with_trouble = run_here(capfd, ["status"]).out
    assert "fallback mode" in with_trouble
    assert "error: It is down. Start it." in with_trouble
    assert with_trouble.splitlines()[-1].endswith("novactl doctor")
    daemon.answers["status"] = {**STATUS, "health": []}
    assert run_here(capfd, ["status"]).out.splitlines()[-1].endswith("novactl peek a")
    daemon.answers["status"] = {**STATUS, "health": [], "held": [], "agents": {}}
    assert "novactl register" in run_here(capfd, ["status"]).out.splitlines()[-1]
    daemon.answers["status"] = Stream([STATUS, STATUS])
    assert len(run_here(capfd, ["status", "--watch", "--json"]).out.splitlines()) == 2


def test_doctor_finds_what_is_wrong_with_and_without_a_daemon(daemon: FakeDaemon, capfd: Capture) -> None:
    daemon.answers["doctor"] = [{"code": "broker", "severity": "ok", "message": "Fine.", "hint": ""}]
    found = json.loads(run_here(capfd, ["doctor", "--json"]).out)
    assert {"tmux_program", "state_dir", "config", "hooks_claude", "broker"} <= {
        each["code"] for each in found
    }
    absent = run_here(capfd, ["doctor", "--json", "--socket", "/nonexistent/s"])
    assert absent.code == 3
    assert json.loads(absent.out)[-1]["code"] == "daemon_unreachable"


def test_a_wrong_configuration_is_named(capfd: Capture, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[broker]\nurk = 1\n")
    done = run_here(capfd, ["config", "validate", "--config", str(file)])
    assert (done.code, done.out) == (2, "")
    assert "url" in done.err
    file.write_text("")
    assert run_here(capfd, ["config", "validate", "--config", str(file), "--json"]).code == 0


def test_completion_scripts_name_the_program(capfd: Capture) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_NOVACTL_COMPLETE=complete_" in run_here(capfd, ["completion", shell]).out


@pytest.mark.parametrize(
    ("shell", "env", "expected"),
    [
        ("bash", {"COMP_WORDS": "novactl send a --prio", "COMP_CWORD": "3"}, "--priority"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "novactl dead re"}, "retry"),
        ("fish", {"_TYPER_COMPLETE_ARGS": "novactl se", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "send"),
        ("bash", {"COMP_WORDS": "novactl pause ", "COMP_CWORD": "2"}, "a"),
    ],
)
def test_completion_knows_commands_options_and_agents(shell: str, env: dict[str, str], expected: str) -> None:
    with fake_daemon(agents=[AGENT]) as daemon:
        asked = {"NOVA_SOCKET": daemon.path, "_NOVACTL_COMPLETE": f"complete_{shell}", **env}
        done = run_program([], env=clean_environment(**asked))
    assert expected in done.stdout.decode()
