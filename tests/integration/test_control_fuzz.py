"""Whatever is written to the control socket of a real daemon: an answer or a typed error, and it goes on."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_torch.errors import InternalError, NovaError
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import FrameReader, pack
from noval_d.calls.table import Answers
from noval_d.node.node import Node
from tests.support.node import TestNode, node

HELLO = {"hello": {"proto": [1, 1], "version": "fuzz"}}
ENDLESS = {"stop", "watch", "fleet_watch"}  # the first is obeyed, the others wait for something to happen
CALLS = sorted(Answers(cast("Node", None)).table().keys() - ENDLESS)
NAMES = [
    "target", "body", "agent_id", "pane", "driver", "id", "ids", "wait", "timeout_s", "limit", "priority", "kind",
    "sender", "agent", "role", "skills", "node", "state", "text", "name", "command", "here", "template", "env",
    "session", "at", "in_s", "every_s", "cron", "tz", "payload", "event", "tmux", "lines", "choice", "fingerprint",
    "force", "in", "correlation_id", "reply_to", "expires_ms", "ttl_s", "headers", "form", "rules", "after", "who",
    "since_ms", "labels", "capacity", "order", "reason", "created_ms", "schema", "raw", "many", "dry_run",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.sampled_from(
        ["raw", "all", "%0", "node:x", "role:x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "claude", "s:w.1"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
EVERY = settings(max_examples=120, deadline=None, database=None)


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        made.register("raw", made.tmux.open("cat"))
        before = _used(made)
        yield made
        assert made.call("ping")["node"] == "test-node"
        assert "control.call_failed" not in made.log()
        descriptors, mebibytes = (now - then for now, then in zip(_used(made), before, strict=True))
        assert descriptors <= 4
        assert mebibytes < 40


def _used(made: TestNode) -> tuple[int, float]:
    assert made.process is not None
    process = psutil.Process(made.process.pid)
    return process.num_fds(), process.memory_info().rss / (1 << 20)


def answers(made: TestNode, data: bytes) -> list[dict[str, Any]]:
    """Write these bytes and no more; return the frames that come back until the end."""
    reader, found = FrameReader(), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(made.socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                reader.feed(piece)
                while (frame := reader.next()) is not None:
                    found.append(frame)
    return found


def honest(frames: list[dict[str, Any]]) -> None:
    """No answer is a defect, and none shows how the daemon is made."""
    for frame in frames:
        error = frame.get("err") or {}
        assert error.get("code") != InternalError.code, frame
        assert "Traceback" not in str(error)


@EVERY
@given(data=st.binary(max_size=300), greeted=st.booleans(), framed=st.booleans())
def test_any_bytes_get_a_typed_error_or_an_end(
    running: TestNode, data: bytes, greeted: bool, framed: bool
) -> None:
    body = len(data).to_bytes(4, "big") + data if framed else data
    honest(answers(running, (pack(HELLO) if greeted else b"") + body))


@EVERY
@given(frame=st.dictionaries(st.sampled_from(["id", "call", "args", "more", "cancel", "x"]), VALUES))
def test_any_frame_gets_a_typed_error_or_an_answer(running: TestNode, frame: dict[str, Any]) -> None:
    honest(answers(running, pack(HELLO) + pack(frame)))


@pytest.mark.parametrize("call", CALLS)
def test_arguments_of_any_type_are_taken_or_refused(running: TestNode, call: str) -> None:
    @settings(max_examples=12, deadline=None, database=None)
    @given(args=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), VALUES, max_size=8))
    def holds(args: dict[str, Any]) -> None:
        try:
            with Client.connect(running.socket, 5.0) as client:
                client.call(call, args)
        except InternalError:
            raise AssertionError(f"{call} {args}: {running.log()[-3000:]}") from None
        except NovaError:
            pass

    holds()
    assert os.path.exists(running.socket)
