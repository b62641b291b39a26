"""Every hot command on both roads, the light one and Typer's: same output, same errors, same exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from nova_torch.errors import AgentNotFound
from tests.support.cli import run_here
from tests.support.daemon import FakeDaemon, Stream, fake_daemon

Capture = pytest.CaptureFixture[str]
ID = "01JD3ZK8Q5W9X2Y4V6B8N0M1P3"
RECEIPT = {"id": ID, "target": "a", "state": "submitted", "reason": "", "final": True}
REPLY = {"id": ID, "question": ID, "sender": "a", "body": "yes\nand no", "created_ms": 1}
ROWS = [{"id": ID, "sender": "b", "state": "typed", "body": "x"}]

LINES = [
    "send a hello --id {id}",
    "send a hello --id {id} --json",
    "--json send a hello --id {id}",
    "send --wait a hello --id {id}",
    "send a hello --wait=acknowledged --id {id}",
    "send a --id={id} -p high --ttl 3m --raw -- --wait",
    "send missing hello --id {id}",
    "send a hello --raw --command",
    "send a hello --id nonsense",
    "send a hello --ttl soon",
    "send a hello --wait --timeout soon",
    "send a --file /nonexistent/file",
    "send a hello --file /nonexistent/file",
    "send a",
    "send",
    "send a b c",
    "send a hello --priority",
    "send a hello --priority nonsense",
    "send a hello --wait=nonsense",
    "send a hello --wait=",
    "send a hello --wai",
    "send a hello --from me",
    "send a hello --raw=1",
    "send --help",
    "send -h",
    "-q send a hello --id {id} --socket /nonexistent/s",
    "agents",
    "agents --json --state idle",
    "agents --state nonsense",
    "agents extra",
    "agents --help",
    "inbox a",
    "inbox a -n 3 --json",
    "inbox a -n x",
    "inbox a -n -3",
    "inbox",
    "inbox --help",
    "inbox --replies",
    "inbox a --unanswered --json",
    "inbox --unanswered",
    "ask a well? --id {id}",
    "ask a well? --id {id} --json",
    "ask a well? --id {id} --timeout 3s -p urgent",
    "ask missing well? --id {id}",
    "ask a well? --id {id} --timeout soon",
    "ask a well? --raw",
    "ask a",
    "ask",
    "ask --help",
    "send a well? --wait=replied --id {id}",
    "reply {id} yes --id {id}",
    "--json reply {id} yes --id {id} -p high",
    "reply {id} --file /nonexistent/file",
    "reply nonsense yes",
    "reply {id}",
    "reply",
    "reply {id} yes no",
    "reply --help",
    "--nonsense send a hello",
    "--timeout",
]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    for name in os.environ:
        if name.startswith(("NOVA_", "TMUX", "XDG_")):
            monkeypatch.delenv(name)

    def send(args: dict[str, str]) -> object:
        missing = AgentNotFound("no agent 'missing' is registered.", "See them all: novactl agents")
        if args["target"] == "missing":
            return missing
        return Stream([{**RECEIPT, "state": "replied"} if args.get("wait") == "replied" else RECEIPT])

    with fake_daemon(send=send, agents=[], inbox=ROWS, reply=RECEIPT, answer=REPLY) as running:
        monkeypatch.setenv("NOVA_SOCKET", running.path)
        yield running


@pytest.mark.parametrize("line", LINES)
def test_both_roads_end_alike(daemon: FakeDaemon, capfd: Capture, line: str) -> None:
    argv = line.format(id=ID).split()
    light = run_here(capfd, argv, light=True)
    asked = daemon.seen[:]
    daemon.seen.clear()
    typer = run_here(capfd, argv, light=False)
    assert light == typer
    assert asked == daemon.seen
    if light.code:
        assert light.err.startswith("novactl: ")
        assert light.err.count("\n") == 1


def test_a_usage_error_is_exit_2_and_names_the_help(daemon: FakeDaemon, capfd: Capture) -> None:
    for argv in (
        ["send"],
        ["nonsense"],
        ["dead", "nonsense"],
        ["peek", "a", "-n", "x"],
        ["hooks", "install", "x"],
    ):
        done = run_here(capfd, argv)
        assert (done.code, done.out) == (2, "")
        assert done.err.rstrip().endswith("--help")
