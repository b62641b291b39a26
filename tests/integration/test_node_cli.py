"""What a person sees of a real node through the real novactl: sentences, cures, exit codes, JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.ulid import new_ulid
from tests.support.agents import raw
from tests.support.node import ROOT, TestNode, node, until

DONE, FAILED, USAGE, UNREACHABLE, NOT_FOUND, TIMED_OUT, UNDELIVERED = 0, 1, 2, 3, 5, 6, 7


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """One node with an agent `raw-1` that logs, for the tests that leave it as it was."""
    with node() as made:
        raw(made, tmp_path_factory.mktemp("raw"), "raw-1")
        yield made


def said(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON that a command printed."""
    assert done.returncode == DONE, done
    return json.loads(done.stdout)


def test_an_unknown_agent_is_5_with_the_nearest_name(running: TestNode) -> None:
    done = running.novactl("send", "raw-2", "hi")
    assert (done.returncode, done.stdout) == (NOT_FOUND, "")
    assert "raw-2" in done.stderr
    assert "Did you mean raw-1?" in done.stderr
    assert running.novactl("send", "nobody", "hi").returncode == NOT_FOUND


def test_no_daemon_is_3_with_the_cure() -> None:
    with node(start=False) as absent:
        done = absent.novactl("send", "nobody", "hi")
        assert done.returncode == UNREACHABLE
        assert absent.socket in done.stderr
        assert "novactl up" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_body_of_two_mebibytes_is_2_and_nothing_is_stored(running: TestNode) -> None:
    before = running.call("inbox", {"agent": "raw-1"})
    done = running.novactl("send", "raw-1", "-", stdin="x" * (2 << 20))
    assert done.returncode == USAGE
    assert "2097152" in done.stderr or "limit" in done.stderr
    assert running.call("inbox", {"agent": "raw-1"}) == before
    assert running.call("status")["outbox"] == 0


def test_send_prints_the_id_and_wait_the_state(running: TestNode) -> None:
    sent = running.novactl("send", "raw-1", "hello")
    assert sent.returncode == DONE
    assert running.wait_state(sent.stdout.strip(), "submitted")["agent"] == "raw-1"
    receipt = said(running.novactl("send", "raw-1", "hello", "--wait", "--json"))
    assert {"id", "target", "state", "reason", "agent", "node", "timings_ms"} <= set(receipt)
    assert (receipt["state"], receipt["target"], receipt["node"]) == ("submitted", "raw-1", "test-node")
    assert {"accepted", "queued", "submitted"} <= set(receipt["timings_ms"])


def test_status_trace_and_agents_have_the_promised_fields(running: TestNode) -> None:
    status = said(running.novactl("status", "--json"))
    assert {"node", "version", "uptime_s", "broker", "tmux", "agents", "outbox", "held", "health"} <= set(
        status
    )
    assert set(status["broker"]) == {"url", "kind", "version", "state"}
    assert status["agents"] == {"idle": 1}
    (agent,) = said(running.novactl("agents", "--json"))
    assert set(agent) == {
        "agent_id", "role", "skills", "node", "driver", "pane", "session", "window", "state",
        "state_since_ms", "queued", "last_seen_ms", "current_task", "state_source", "detail", "attention", "shown",
        "performance",
    }  # fmt: skip
    receipt = said(running.novactl("send", "raw-1", "trace me", "--wait", "--json"))
    trace = said(running.novactl("trace", receipt["id"], "--json"))
    assert {"id", "state", "hops"} <= set(trace)
    assert (trace["id"], trace["state"]) == (receipt["id"], "submitted")
    assert all(set(hop) == {"at_ms", "node", "state", "reason"} for hop in trace["hops"])
    assert [hop["state"] for hop in trace["hops"]][-1] == "submitted"
    assert running.novactl("trace", new_ulid()).returncode == NOT_FOUND


def test_pause_holds_and_resume_delivers(running: TestNode) -> None:
    assert running.novactl("pause", "raw-1").returncode == DONE
    try:
        done = running.novactl("send", "raw-1", "later", "--wait", "--timeout", "1s")
        assert done.returncode == TIMED_OUT
        message = running.call("inbox", {"agent": "raw-1"})[-1]["id"]
        assert message in done.stdout + done.stderr
        assert running.receipt(message)["reason"] == "paused"
        assert running.call("status")["paused"] == ["raw-1"]
        shown = running.novactl("status")
        assert "paused" in shown.stdout
    finally:
        assert running.novactl("resume", "raw-1").returncode == DONE
    assert running.wait_state(message, "submitted")
    (last, *_) = reversed(said(running.novactl("inbox", "raw-1", "--json")))
    assert (last["id"], last["state"], last["body"]) == (message, "submitted", "later")


def test_what_expires_behind_another_is_told_at_once_and_can_be_dropped(running: TestNode) -> None:
    running.call("pause", {"agent_id": "raw-1"})
    try:
        first = running.send("raw-1", "has time")["id"]
        message = running.send("raw-1", "too late", ttl_s=0.3)["id"]
        assert running.wait_state(message, "expired", timeout_s=45)["reason"]
    finally:
        running.call("resume", {"agent_id": "raw-1"})
    running.wait_state(first, "submitted")
    listed = said(running.novactl("dead", "list", "--json"))
    assert message in {row["id"] for row in listed}
    assert running.novactl("dead", "drop", message).returncode == DONE
    assert message not in {row["id"] for row in said(running.novactl("dead", "list", "--json"))}
    assert running.novactl("dead", "drop", new_ulid()).returncode == NOT_FOUND


def test_an_expired_message_ends_the_wait_with_7(running: TestNode) -> None:
    running.call("pause", {"agent_id": "raw-1"})
    try:
        done = running.novactl("send", "raw-1", "too late", "--ttl", "500ms", "--wait", "--timeout", "20s")
        assert done.returncode == UNDELIVERED, done
        assert "expired" in done.stdout + done.stderr
    finally:
        running.call("resume", {"agent_id": "raw-1"})


def test_a_failed_message_is_retried_on_order(running: TestNode) -> None:
    done = running.novactl("send", "raw-1", "/compact", "--command", "--wait")
    assert done.returncode == UNDELIVERED
    assert "command" in done.stdout + done.stderr
    message = said(running.novactl("dead", "list", "--json"))[-1]["id"]
    assert said(running.novactl("dead", "retry", message, "--json"))["id"] == message
    assert running.wait_state(message, "failed")
    assert running.novactl("dead", "drop", message).returncode == DONE


def test_the_same_id_is_the_same_message_and_another_body_a_conflict(running: TestNode) -> None:
    message = new_ulid()
    for _ in range(3):
        sent = running.novactl("send", "raw-1", "once", "--id", message, "--wait", "--json")
        assert said(sent)["id"] == message
    bodies = [row["body"] for row in running.call("inbox", {"agent": "raw-1"}) if row["id"] == message]
    assert bodies == ["once"]
    other = running.novactl("send", "raw-1", "twice", "--id", message)
    assert other.returncode == FAILED
    assert message in other.stderr
    assert running.novactl("send", "raw-1", "x", "--id", "not-a-ulid").returncode == USAGE


@pytest.mark.parametrize("body", [b"\xff\xfe", b"caf\xe9"], ids=repr)
def test_a_body_that_is_not_utf_8_is_refused(running: TestNode, body: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "novactl.main", "send", "raw-1", "-"],
        cwd=ROOT, env=running.environment, input=body, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == USAGE
    assert b"UTF-8" in done.stderr
    with pytest.raises(NovaError, match="UTF-8"):
        running.call("send", {"target": "raw-1", "body": body})


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"target": "raw-1"},
        {"target": 5, "body": "x"},
        {"target": "raw-1", "body": 5},
        {"target": "raw-1", "body": ["x"]},
        {"target": "raw-1", "body": ""},
        {"target": "raw-1", "body": "x", "ttl_s": "soon"},
        {"target": "raw-1", "body": "x", "ttl_s": -1},
        {"target": "raw-1", "body": "x", "ttl_s": float("nan")},
        {"target": "raw-1", "body": "x", "priority": "highest"},
        {"target": "raw-1", "body": "x", "kind": 7},
        {"target": "raw-1", "body": "x", "form": "cooked"},
        {"target": "raw-1", "body": "x", "id": 7},
        {"target": "raw-1", "body": "x", "wait": "forever"},
        {"target": "raw-1\n", "body": "x"},
    ],
    ids=str,
)
def test_wrong_arguments_on_the_wire_are_explained(running: TestNode, args: dict[str, Any]) -> None:
    with pytest.raises(NovaError) as caught:
        running.call("send", args)
    assert caught.value.code not in {"internal", "failed"}, caught.value
    assert caught.value.message
    assert running.call("status")["outbox"] == 0


def test_a_full_mailbox_is_said_to_its_sender(tmp_path: Path) -> None:
    with node(env={"NOVA_BROKER_MAILBOX_LIMIT": "5"}) as running:
        raw(running, tmp_path, "small")
        running.call("pause", {"agent_id": "small"})
        ids = [running.send("small", f"message {n}")["id"] for n in range(100)]
        last = running.wait_state(ids[-1], "failed")
        assert "full" in last["reason"]
        done = running.novactl("send", "small", "one more", "--wait")
        assert done.returncode == UNDELIVERED
        assert "full" in done.stdout + done.stderr
        running.call("resume", {"agent_id": "small"})
        states = {running.wait_state(message, "submitted", "failed")["state"] for message in ids}
        assert states == {"submitted", "failed"}
        assert running.stop() == 0


def daemon(running: TestNode, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "noval_d", *arguments],
        cwd=ROOT, env={**running.environment, **env}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_second_daemon_says_who_is_first(running: TestNode) -> None:
    done = daemon(running)
    assert done.returncode != DONE
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert running.socket in last or "another" in last
    assert running.call("ping")["pid"] == running.process.pid if running.process else False


def test_a_directory_in_the_place_of_the_socket_is_explained() -> None:
    with node(start=False) as absent:
        Path(absent.socket).mkdir()
        done = daemon(absent)
        assert done.returncode != DONE
        assert "Traceback" not in done.stderr
        assert absent.socket in done.stderr


def test_a_stale_socket_file_is_replaced() -> None:
    with node() as running:
        running.kill()
        assert Path(running.socket).exists()
        assert running.novactl("status").returncode == UNREACHABLE
        running.start()
        assert running.novactl("status").returncode == DONE


def test_a_mistyped_key_of_the_configuration_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[delivery]\nmax_atempts = 3\n")
    with node(start=False) as absent:
        for done in (
            daemon(absent, "--config", str(file)),
            absent.novactl("config", "validate", "--config", str(file)),
        ):
            assert done.returncode == USAGE
            assert "max_atempts" in done.stderr
            assert "Did you mean max_attempts?" in done.stderr
            assert "Traceback" not in done.stderr


def test_a_reload_takes_over_what_is_good_and_refuses_what_is_not(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[delivery]\nmax_attempts = 3\n")
    with node(env={"NOVA_TORCH_CONFIG": str(file)}) as running:
        assert running.process is not None

        def attempts() -> int:
            return int(running.call("config")["delivery"]["max_attempts"])

        assert attempts() == 3
        file.write_text("[delivery]\nmax_attempts = 7\n")
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: attempts() == 7, 45, "the reload")
        file.write_text("[delivery]\nmax_attempts = 0\n")
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: "node.reload_refused" in running.log(), 45, "the refusal")
        assert attempts() == 7
        file.write_text('[broker]\nprefix = "other"\n')
        with pytest.raises(NovaError, match="broker"):
            running.call("reload")
        file.write_text('[bridges]\ndialects = ["torch"]\n')
        with pytest.raises(NovaError, match=r"\[bridges\] cannot change while the daemon runs. Restart it."):
            running.call("reload")
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: "[bridges] cannot change" in running.log(), 45, "the refusal in the log")
        assert attempts() == 7
        assert running.stop() == 0
