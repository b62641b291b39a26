"""`novactl send` against a fake daemon: what it asks, waits for and prints, and how it ends."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import (
    ShuttingDown,
)
from nova_torch.ulid import is_ulid
from tests.support.cli import clean_environment, run_here, run_program
from tests.support.daemon import HANG, ID, Capture, FakeDaemon, Stream, fake_daemon, receipt


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
