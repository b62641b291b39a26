"""novactl against a fake daemon: exit codes, JSON, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
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
    UnknownCall,
)
from tests.support.cli import clean_environment, run_here, run_program
from tests.support.daemon import AGENT, HANG, ID, Capture, FakeDaemon, Stream, fake_daemon, receipt


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
    needs = {"agent": "c", "reason": "dialog", "open": "novactl attach c"}
    daemon.answers["status"] = {**STATUS, "health": [], "held": [], "attention": [needs]}
    assert run_here(capfd, ["status"]).out.splitlines()[-1] == "c needs you: novactl attach c"
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
    file.write_text(f'[broker]\nurl = "rediss://host"\ntls_ca_file = "{tmp_path}/gone.pem"\n')
    done = run_here(capfd, ["config", "validate", "--config", str(file)])
    assert (done.code, done.out) == (2, "")
    assert "broker.tls_ca_file" in done.err
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
