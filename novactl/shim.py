"""Report one hook event to the daemon within a time budget, or keep it for later. Never fails, never prints.

The lightest road there is: no msgpack (6 ms), no `socket` (4 ms), no package that imports them. It writes the
hello and the call at once and does not need the daemon's hello first.
"""

from __future__ import annotations

import _socket
import os
import time

from nova_torch import paths

STDIN_BYTES = 8 << 20
STDIN_S = (
    0.5  # the agent writes the event as soon as it has started us; a pipe nobody closes is not waited for
)
BUDGET_S = 0.045  # for connect, send and answer; the process itself is 10 ms of the 50
AGAIN_S = 0.005
PAYLOAD_BYTES = 1 << 20  # what fits into a request of the control protocol
FIELD_CHARS = 64 << 10
SPOOL_BYTES = 16 << 20
EVENT_CHARS = 64
ANCESTORS = 4  # a shell or two may stand between an agent and its hook


def report(event: str, shared: str = "") -> None:
    """Send `event` with what stdin holds to the daemon; keep it in the spool when no daemon took it.

    `shared` is a word in the command line of a process that serves several agents: a hook below it has the pane
    of the one that started it, so it reports nothing.
    """
    try:
        pane = os.environ.get("TMUX_PANE", "")
        if pane and not (shared and below(shared)):
            _report(event[:EVENT_CHARS], pane)
    except BaseException:  # noqa: BLE001, S110  # a hook never fails its agent; there is nobody to tell
        pass


def _report(event: str, pane: str) -> None:
    record: dict[str, object] = {
        "pane": pane,
        "tmux": os.environ.get("TMUX", ""),
        "event": event,
        "payload": fitted(read_stdin()),
        "at_ms": time.time_ns() // 1_000_000,
    }
    sent = _deliver(record, paths.find_socket(), time.monotonic() + BUDGET_S)
    if sent != "answered":
        keep(record | {"sent": sent == "sent"}, paths.hook_spool())


def below(word: str) -> bool:
    """Tell whether one of the nearest processes above this one has `word` in its command line."""
    pid = os.getppid()
    for _ in range(ANCESTORS):
        if pid <= 1:
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if word.encode() in file.read().split(b"\0"):
                return True
        with open(f"/proc/{pid}/stat", "rb") as file:
            pid = int(file.read().rpartition(b")")[2].split()[1])
    return False


def read_stdin() -> bytes:
    """Return what stdin holds: at most 8 MiB, and what came within the deadline."""
    import select

    deadline = time.monotonic() + STDIN_S
    parts: list[bytes] = []
    size = 0
    try:
        if os.isatty(0):
            return b""
        while size < STDIN_BYTES:
            if not select.select([0], [], [], max(deadline - time.monotonic(), 0))[0]:
                break
            part = os.read(0, 1 << 20)
            if not part:
                break
            parts.append(part)
            size += len(part)
    except OSError:
        pass
    return b"".join(parts)[:STDIN_BYTES]


def fitted(payload: bytes) -> bytes:
    """Return `payload` as it fits into a request: long texts cut, their SHA-256 beside them."""
    if len(payload) <= PAYLOAD_BYTES:
        return payload
    import json
    from hashlib import sha256

    try:
        data = json.loads(payload)
        short: dict[str, object] = {"truncated": True}
        for name, value in data.items():
            text = value if isinstance(value, str) else json.dumps(value)
            if len(text) <= FIELD_CHARS:
                short[name] = value
                continue
            short[name] = text[:FIELD_CHARS] if isinstance(value, str) else None
            short[f"{name}_sha256"] = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return json.dumps(short).encode()[:PAYLOAD_BYTES]
    except (ValueError, AttributeError, RecursionError):
        return payload[:PAYLOAD_BYTES]


def _deliver(record: dict[str, object], path: str, deadline: float) -> str:
    """Return `answered`, `sent` (whole, but nobody answered in time) or `unsent`."""
    data = frame({"hello": {"proto": [1, 1], "version": "hook"}})
    data += frame({"id": 1, "call": "hook", "args": record})
    while True:
        sent = _attempt(data, path, deadline)
        if sent != "again":
            return sent
        if time.monotonic() + AGAIN_S >= deadline:
            return "unsent"
        time.sleep(AGAIN_S)


def _attempt(data: bytes, path: str, deadline: float) -> str:
    sent = "unsent"
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        sock.connect(path)
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        sock.sendall(data)
        sent = "sent"
        got = b""
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            part = sock.recv(65536)
            if not part:
                return sent
            got += part
            verdict = _verdict(got)
            if verdict:
                return verdict
    except BlockingIOError:  # the daemon's queue of connections is full
        return "again"
    except OSError:
        return sent
    finally:
        sock.close()


def _verdict(got: bytes) -> str:
    """Return what the daemon has said so far: "" (not yet), `answered`, or `again` (it is too busy)."""
    frames = 0
    while len(got) >= 4 and len(got) >= 4 + int.from_bytes(got[:4], "big"):
        size = int.from_bytes(got[:4], "big")
        body, got = got[4 : 4 + size], got[4 + size :]
        frames += 1
        if b"\xa3err" in body:
            passing = b"\xa4busy" in body or b"\xadshutting_down" in body
            return "again" if passing else "answered"  # refused for good: no use to say it again
        if frames == 2:
            return "answered"
    return ""


def keep(record: dict[str, object], path: str) -> None:
    """Append `record` to the spool, which the daemon reads every second. Its directory must exist.

    A record is a 4-byte length and a msgpack map, written at once, so that hooks never mix.
    """
    data = frame(record)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        before = os.fstat(fd).st_size
        if before + len(data) <= SPOOL_BYTES and os.write(fd, data) < len(data):
            os.ftruncate(fd, before)  # a full disk: half a record would spoil the next
    finally:
        os.close(fd)


def frame(value: dict[str, object]) -> bytes:
    """Return `value` as a frame of the control protocol: 4-byte length, then msgpack."""
    body = _msgpack(value)
    return len(body).to_bytes(4, "big") + body


def _msgpack(value: object) -> bytes:
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + value.to_bytes(8, "big")
    if isinstance(value, str):
        raw = value.encode("utf-8", "replace")
        head = bytes([0xA0 | len(raw)]) if len(raw) < 32 else b"\xdb" + len(raw).to_bytes(4, "big")
        return head + raw
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(_msgpack, value))
    if isinstance(value, dict):
        pairs = b"".join(_msgpack(key) + _msgpack(item) for key, item in value.items())
        return bytes([0x80 | len(value)]) + pairs
    raise TypeError(type(value).__name__)
