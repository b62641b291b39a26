"""novactl where its surroundings are odd: a closed or full output, Ctrl-C in a wait, a stream that has a limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NotFound
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import timed_out
from tests.support.cli import clean_environment, run_here, run_program
from tests.support.daemon import AGENT, HANG, ID, Capture, Stream, fake_daemon, receipt

NOVACTL = [sys.executable, "-m", "novactl.main"]


def in_a_shell(redirected: str, *argv: str, socket: str) -> subprocess.CompletedProcess[bytes]:
    """Run novactl as a shell does that redirects its output so."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirected}', "sh", *NOVACTL, *argv],
        env=clean_environment(NOVA_SOCKET=socket), capture_output=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("argv", [("agents",), ("status",), ("send", "a", "x"), ("--help",)])
def test_a_closed_output_is_no_traceback(argv: tuple[str, ...]) -> None:
    with fake_daemon(agents=[AGENT], status={"node": "n"}, send=receipt("accepted")) as daemon:
        done = in_a_shell(">&-", *argv, socket=daemon.path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("argv", [("agents",), ("status",), ("send", "a", "x")])
def test_an_output_on_a_full_disk_is_a_sentence_and_exit_1(argv: tuple[str, ...]) -> None:
    with fake_daemon(agents=[AGENT], status={"node": "n"}, send=receipt("accepted")) as daemon:
        done = in_a_shell(">/dev/full", *argv, socket=daemon.path)
        assert done.returncode == 1
        assert done.stderr.startswith(b"novactl: standard output cannot be written: No space left on device.")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("argv", "call", "said"),
    [
        (("send", "a", "x", "--wait", "--id", ID), "send", "the message goes on"),
        (("ask", "a", "x", "--id", ID), "send", "the message goes on"),
        (("send", "all", "x", "--wait", "--id", ID), "send_group", "the messages go on"),
    ],
)
def test_ctrl_c_in_a_wait_says_the_id_that_goes_on(argv: tuple[str, ...], call: str, said: str) -> None:
    answers: dict[str, Any] = {call: Stream([receipt("queued"), HANG])}
    if "all" in argv:
        answers[call] = Stream([{"group": "all", "count": 1, "agents": ["a"], "offline": []}, HANG])
    with fake_daemon(**answers) as daemon:
        program = subprocess.Popen(
            # a shell's background job, as which these tests may run, ignores it, and so would our child
            ["env", "--default-signal=INT", sys.executable, "-c", WAITS, *argv],
            env=clean_environment(NOVA_SOCKET=daemon.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == b"heard\n"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
        assert (program.returncode, out) == (130, b"")
        assert err.decode() == f"novactl: interrupted; {said}. The same command with --id {ID} waits on.\n"


WAITS = """
import sys
from nova_torch.errors import NotFound
from nova_torch.protocol.client import Client
from novactl.main import main

stream = Client.stream

def told(*args):
    for number, item in enumerate(stream(*args)):
        yield item
        if number == 0:  # it has been taken: what is waited for now does not come
            print("heard", flush=True)

Client.stream = told
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("argv", "call"),
    [
        (("watch",), "watch"),
        (("task", "watch"), "watch"),
        (("status", "--watch"), "status"),
        (("agents", "--watch"), "agents_watch"),
        (("peek", "a", "--follow"), "peek"),
        (("rpc", "watch", "--stream"), "watch"),
    ],
)
@pytest.mark.usefixtures("daemon")
def test_a_stream_that_its_limit_ends_is_not_said_to_be_unanswered(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], call: str
) -> None:
    told: list[dict[str, Any]] = [{"node": "n", "event": "watching"}]

    def stream(_: Client, name: str, _args: Any, limit_s: float) -> Iterator[dict[str, Any]]:
        assert name == call
        yield from told
        raise timed_out(name, limit_s)

    monkeypatch.setattr(Client, "stream", stream)
    done = run_here(capfd, [*argv, "-q", "--timeout", "1s"])
    assert (done.code, done.err) == (6, "novactl: it was shown for 1.0s, as --timeout says.\n")
    told.clear()
    assert "did not answer" in run_here(capfd, [*argv, "--timeout", "1s"]).err


def test_a_body_that_is_not_read_to_its_end_is_not_measured(capfd: Capture, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"a" * 3_000_000)
    done = run_here(capfd, ["send", "a", "--file", str(file)])
    assert (done.code, done.out) == (2, "")
    assert f"{file} holds more than a body may have: the limit is 1048576 bytes." in done.err


def test_usage_errors_are_whole_sentences(capfd: Capture) -> None:
    for argv in (["send", "a", "hi", "there"], ["send", "a", "hi", "--wiat"], ["sned"]):
        done = run_here(capfd, argv)
        assert done.code == 2
        assert ". See: " in done.err or "? See: " in done.err


def test_an_answer_to_what_is_no_id_says_where_ids_are(capfd: Capture) -> None:
    done = run_here(capfd, ["reply", "xyz", "hi"])
    assert done.code == 2
    assert "novactl inbox --unanswered" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[policy]\nfile = "/nowhere/p"\n', "/nowhere/p"),
        ('[signing]\nkey_file = "/nowhere/k"\n', "/nowhere/k"),
        ('[signing]\nmode = "require"\n', "signing.key_file"),
        ('[broker]\nurl = "redis://h:99999"\n', "redis://host:port"),
        ('[broker]\nurl = "redis://h"\npassword_file = "/nowhere/w"\n', "/nowhere/w cannot be read: No such file"),
        ("\xff", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_configuration_with_which_no_daemon_would_start_is_not_valid(
    capfd: Capture, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="latin-1")
    done = run_here(capfd, ["config", "validate", "--config", str(file)])
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_directory_is_not_said_to_be_missing(capfd: Capture, tmp_path: Path) -> None:
    done = run_here(capfd, ["config", "validate", "--config", str(tmp_path)])
    assert done.code == 2
    assert f"{tmp_path} is not a file" in done.err


def test_the_way_back_names_the_directory_of_the_units(capfd: Capture, tmp_path: Path) -> None:
    done = run_here(capfd, ["install-service", "--user", "--into", str(tmp_path / "units")])
    assert done.code == 0, done.err
    back = next(line for line in done.out.splitlines() if "--remove" in line).partition("#")[0].split()
    assert back[0] == "novactl"
    assert run_here(capfd, back[1:]).code == 0
    assert os.listdir(tmp_path / "units") == []


def test_a_command_without_its_text_says_so_as_a_program_too() -> None:
    done = run_program(["send", "a", "-"], env=clean_environment())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"novactl: the body is empty.")


def test_what_is_counted_and_named_reads_like_a_sentence(capfd: Capture) -> None:
    status = {"node": "n", "broker": {"state": "down", "url": "redis://h"}}
    stopped = {"ended": "it quit", "archive": "/a", "messages": {"failed": 1, "dead": 2}}
    with fake_daemon(status=status, stop_agent=stopped) as daemon:
        told = run_here(capfd, ["status", "--socket", daemon.path]).out
        assert "broker\tdown, at redis://h\n" in told
        told = run_here(capfd, ["stop", "a", "--socket", daemon.path]).out
        assert told == "stopped a: it quit; 1 message failed, 2 messages dead\n"


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    for argv in (["spawn", "x", "--driver", "line", "--", "cat"], ["config", "validate", "--config", "x"]):
        (tmp_path / "gone").mkdir()
        done = subprocess.run(
            ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *NOVACTL, *argv], cwd=tmp_path / "gone",
            env=clean_environment(PYTHONPATH=os.getcwd()), capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == b"novactl: the current directory is gone. Go to another one: cd\n"


def test_version_and_help_are_understood_where_others_have_them(capfd: Capture, tmp_path: Path) -> None:
    nowhere = ["--socket", str(tmp_path / "s")]
    assert run_here(capfd, ["--version", *nowhere]).out == run_here(capfd, ["version", *nowhere]).out != ""
    assert run_here(capfd, ["help", "send"]).out == run_here(capfd, ["send", "--help"]).out != ""
    assert run_here(capfd, ["help"]).out == run_here(capfd, ["--help"]).out != ""


def test_a_watch_of_a_task_that_is_not_known_says_so(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_daemon(task_show=NotFound("no task X is known.")) as daemon:
        monkeypatch.setenv("NOVA_SOCKET", daemon.path)
        done = run_here(capfd, ["task", "watch", "x"])
        assert (done.code, done.err) == (5, "novactl: no task X is known.\n")
        assert daemon.asked("task_show") == [{"id": "X"}]
