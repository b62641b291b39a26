"""What reads bytes that others write, one function each: it returns, whatever the bytes, or there is a defect.

A target raises nothing; what its reader refuses with an error of its own is fine. `make fuzz` drives them by
coverage for as long as you like, tests/unit/test_fuzz.py a little in every run, with every crasher of the past.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgpack

from nova_torch import audit, blobs, config, durations
from nova_torch.broker import ForeignEntry
from nova_torch.codec import decode_hop, decode_message, encode_hop, encode_message
from nova_torch.errors import BadFrame, FrameTooLarge, NovaError
from nova_torch.protocol.frames import FrameReader, check_hello
from nova_torch.values import Hop, Message, MessageId, NodeId, State
from novactl.shim import PAYLOAD_BYTES, fitted
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers, parse_driver
from noval_d.agents.record import read_recording
from noval_d.agents.reports import Report, read_report
from noval_d.agents.sight import look
from noval_d.agents.spec import read_spec
from noval_d.agents.transcript import Transcript
from noval_d.api import http, opencode
from noval_d.bridges.boomerang import decode_task
from noval_d.bridges.decode import decode_bytes, decode_fields
from noval_d.bridges.dialect import dialects
from noval_d.bridges.tasks import fold
from noval_d.node import spool
from noval_d.schedule import times
from noval_d.schedule.schedule import unpack
from noval_d.tmux.answers import AnswerParser, Overlong
from noval_d.tmux.panes import parse_pane, parse_panes
from noval_d.tmux.screen import parse_screen
from noval_d.tmux.targets import parse_places, resolve
from noval_d.tmux.watch import parse_watch

Target = Callable[[bytes], None]

MOST_BYTES = 1 << 20
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NOW_MS = 1_790_000_000_000

refused = contextlib.suppress(NovaError)


def frames(data: bytes) -> None:
    """The control socket: frames, cut anywhere, and the hello."""
    for packed in _packed(data):
        frames(len(packed).to_bytes(4, "big") + packed)
    reader = FrameReader(4096)
    for begin in range(0, len(data), 7):
        reader.feed(data[begin : begin + 7])
        try:
            while (frame := reader.next()) is not None:
                with refused:
                    check_hello(frame, us="the daemon", them="novactl")
        except (BadFrame, FrameTooLarge):
            return


def envelopes(data: bytes) -> None:
    """Messages and receipts, as they lie in the broker."""
    for packed in _packed(data):
        envelopes(packed)
    with refused:
        message = decode_message(data)
        assert decode_message(encode_message(message)) == message
    with refused:
        hop = decode_hop(data)
        assert decode_hop(encode_hop(hop)) == hop


def records(data: bytes) -> None:
    """What other nodes and other times wrote: a node's agents, schedules, specs, the audit log."""
    for packed in _packed(data):
        records(packed)
    blobs.read_blob("other", data, alive=True)
    read_spec("agent", data)
    audit._entry(data, 0)
    with refused:
        unpack(data, "")
    with refused:
        unpack(data, data.decode(errors="replace"))


def configuration(data: bytes) -> None:
    """A configuration file, and the environment."""
    with _file(data) as path, refused:
        config.load(path, {"HOME": "/nonexistent"})
    text = data.decode(errors="replace").replace("\0", "")
    names = ("NOVA_BROKER_URL", "NOVA_NODE", "NOVA_BROKER_LEASE_S", "NOVA_DELIVERY_MAX_ATTEMPTS")
    for name in names:
        with refused:
            config.load(None, {"HOME": "/nonexistent", name: text})


def drivers(data: bytes) -> None:
    """A driver file, and a recorded screen."""
    text = data.decode(errors="replace")
    with refused:
        parse_driver(text, "any.toml")
    with refused:
        read_recording(text)


def hooks(data: bytes) -> None:
    """What an agent's hook is given on its standard input, in the shim and in the daemon, and the spool."""
    small = fitted(data)
    big = data.replace(b'"p"', b'"' + b"p" * PAYLOAD_BYTES + b'"')
    assert max(len(small), len(fitted(big))) <= PAYLOAD_BYTES
    for driver in _drivers().values():
        for event in driver.hooks:
            with refused:
                assert isinstance(read_report(driver.hooks, event, small), Report)
    spool._records(data)
    spool._records(len(data).to_bytes(4, "big") + data)


def transcripts(data: bytes) -> None:
    """A transcript that an agent writes."""
    for driver in _drivers().values():
        if driver.transcript_where:
            with _file(b"") as path:
                transcript = Transcript(path)
                got = (driver.transcript_where, driver.transcript_prompt)
                queued = (driver.transcript_queued_where, driver.transcript_queued)
                transcript.new_texts(got, queued)
                Path(path).write_bytes(data + b"\n")
                for kind, text in transcript.new_texts(got, queued):
                    assert kind in (0, 1)
                    assert isinstance(text, str)


def tmux(data: bytes) -> None:
    """The control client's output, and what its answers hold."""
    parser = AnswerParser(b"token-")
    with contextlib.suppress(Overlong):
        for begin in range(0, len(data), 11):
            parser.feed(data[begin : begin + 11])
    for parse in (parse_pane, parse_panes, parse_watch):
        with refused:
            parse(data)
    with refused:
        places = parse_places(data)
        resolve(places, data.decode(errors="replace"))


def screens(data: bytes) -> None:
    """A pane's screen, and what every driver sees in it."""
    lines = data.split(b"\n")
    screen = parse_screen(
        lines[1:],
        cursor_x=data[0] if data else 0,
        cursor_y=len(lines) // 2,
        cursor_visible=True,
        title=lines[0].decode(errors="replace"),
    )
    for driver in _drivers().values():
        look(driver, screen)


def bridges(data: bytes) -> None:
    """Entries of foreign streams and messages of foreign channels."""
    words = data.split(b"\0")
    pairs = tuple(zip(words[::2], words[1::2], strict=False))
    for dialect in dialects().values():
        decode_bytes(dialect, data, most_bytes=MOST_BYTES)
        decode_fields(dialect, pairs, most_bytes=MOST_BYTES)
        decode_fields(dialect, [(b"data", data)], most_bytes=MOST_BYTES)
    decode_task(pairs, "1-1", most_bytes=MOST_BYTES)
    decode_task([(b"data", data)], "1-1", most_bytes=MOST_BYTES)
    fold([ForeignEntry(stream="s", id="1-1", fields=pairs)] * 2, most_bytes=MOST_BYTES)


def api(data: bytes) -> None:
    """An agent's HTTP server: heads, chunks, events, and what its JSON says."""
    asyncio.run(_answered(data))
    reader = http.EventReader(max_bytes=256)
    for begin in range(0, len(data), 5):
        for event in reader.take(data[begin : begin + 5]):
            _told(event)
        assert len(reader._rest) <= 256 + 5
    _told(data)


def words(data: bytes) -> None:
    """Durations, times and cron expressions of people."""
    text = data.decode(errors="replace")
    with refused:
        durations.seconds(text)
    with refused:
        times.read_at(text, "Europe/Berlin", NOW_MS)
    with refused:
        times.zone(text)
    with refused:
        when = times.read_cron(text, "UTC", NOW_MS)
        after = times.after(when, NOW_MS)
        assert after is None or after > NOW_MS


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        frames, envelopes, records, configuration, drivers, hooks, transcripts, tmux, screens, bridges, api, words,
    )
}  # fmt: skip


def samples(name: str) -> list[bytes]:
    """What a target is begun with: what it reads in earnest, and what has broken it."""
    found = [path.read_bytes() for path in sorted((Path(__file__).parent / "crashers" / name).glob("*"))]
    packed = msgpack.packb({"schema": 1, "id": ULID, "sender": "a", "target": "b", "body": "c"})
    found += {
        "frames": [b'{"hello": {"proto": [1, 1], "version": "2"}}', len(packed).to_bytes(4, "big") + packed],
        "envelopes": [packed, json.dumps(_message()).encode(), json.dumps(_hop()).encode()],
        "records": [
            b'{"node": "n", "at_ms": 1, "agents": [{"agent_id": "a"}], "bridges": ["b"]}',
            msgpack.packb({"node": "n", "at_ms": 1, "agents": [], "bridges": []}),
        ],
        "configuration": [
            b'[node]\nname = "a"\n[broker]\nurl = "redis://h:1"\n[agents.x]\ndriver = "claude"\n'
        ],
        "drivers": [path.read_bytes() for path in _driver_files()],
        "hooks": [b'{"session_id": "s", "transcript_path": "/t", "prompt": "p"}'],
        "transcripts": [b'{"type": "attachment", "attachment": {"type": "queued_command", "prompt": "p"}}'],
        "tmux": [b"%begin 1 2 1\n%0 1 0 0 1\n%end 1 2 1\n%exit gone\n"],
        "screens": [b"title\n\x1b[1;38;5;12m> \x1b[0mhello\n\xe2\x94\x82"],
        "bridges": [b"payload\0hello\0sender\0x", json.dumps({"type": "task", "content": "x"}).encode()],
        "api": [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
            b'data: {"type": "session.status", "properties": {"sessionID": "ses", "status": {"type": "busy"}}}\n\n',
        ],
        "words": [b"1h30m", b"*/5 9-17 * * 1-5", b"2026-12-01 09:00"],
    }[name]
    return found


def _packed(data: bytes) -> list[bytes]:
    """The same as msgpack, where it is JSON: a fuzzer finds its way through texts, not through lengths."""
    try:
        return [msgpack.packb(json.loads(data))]
    except (ValueError, RecursionError, OverflowError):
        return []


def _message() -> object:
    return msgpack.unpackb(
        encode_message(
            Message(
                id=MessageId(ULID), sender="a", target="b", body="c", created_ms=1, headers={"origin": "n"}
            )
        )
    )


def _hop() -> object:
    return msgpack.unpackb(
        encode_hop(Hop(message=MessageId(ULID), at_ms=1, node=NodeId("n"), state=State.QUEUED))
    )


def _told(body: bytes) -> None:
    for read in (
        lambda: opencode.shown(body, "title"),
        lambda: opencode.conversation(body),
        lambda: opencode.holds(body, ULID, "text"),
        lambda: opencode.waiting(body),
        lambda: opencode.beats(body),
        lambda: opencode.Doings().take(body),
        lambda: opencode.Doings().begin(body, body, body),
    ):
        with contextlib.suppress(opencode.Unreadable):
            read()


async def _answered(data: bytes) -> None:
    reader = asyncio.StreamReader(limit=http.HEAD_BYTES)
    reader.feed_data(data)
    reader.feed_eof()
    with contextlib.suppress(http.ApiFailed, *http.BROKEN):
        _, headers = await http._head(reader)
        async for piece in http._pieces(reader, headers):
            assert len(piece) <= http.READ_BYTES


@contextlib.contextmanager
def _file(data: bytes) -> Iterator[str]:
    descriptor, path = tempfile.mkstemp(
        prefix="nova-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        yield path
    finally:
        os.unlink(path)


@cache
def _drivers() -> dict[str, Driver]:
    return load_drivers()


def _driver_files() -> list[Path]:
    return sorted((Path(__file__).parents[2] / "noval_d" / "agents" / "drivers").glob("*.toml"))
