"""What programs outside do with a test's broker, by the raw protocol: as `redis-cli` would."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.node import TestNode, node, until

Reply = bytes | int | list[Any] | None


class Cli:
    """One command after the other on the broker's socket; replies as the wire has them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *words: str | bytes) -> Any:
        packed = [word.encode() if isinstance(word, str) else word for word in words]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dial:
            dial.settimeout(10)
            dial.connect(self.path)
            head = b"*%d\r\n" % len(packed)
            dial.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in packed))
            with dial.makefile("rb") as stream:
                return _reply(stream)

    def add(self, stream: str, **fields: str | bytes) -> str:
        """XADD; return the entry's id."""
        words = [word for pair in fields.items() for word in pair]
        return str(self("XADD", stream, "*", *words).decode())

    def entries(self, stream: str) -> list[dict[str, str]]:
        """Return the entries of a stream, with their ids as `entry`."""
        found = self("XRANGE", stream, "-", "+") or []
        return [
            {
                "entry": entry.decode(),
                **{
                    name.decode(): value.decode(errors="replace")
                    for name, value in zip(flat[::2], flat[1::2], strict=True)
                },
            }
            for entry, flat in found
        ]

    def wait_entries(self, stream: str, count: int, **match: str) -> list[dict[str, str]]:
        """Wait until so many entries have these fields; return them."""

        def matching() -> list[dict[str, str]]:
            return [e for e in self.entries(stream) if all(e.get(k) == v for k, v in match.items())]

        until(lambda: len(matching()) >= count, 30, f"{count} entries of {stream} with {match}")
        return matching()

    def hash(self, key: str) -> dict[str, str]:
        flat = self("HGETALL", key)
        return {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2], strict=True)}


class Listener:
    """A subscriber."""

    def __init__(self, path: str, channel: str) -> None:
        self._dial = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._dial.settimeout(30)
        self._dial.connect(path)
        self._dial.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(channel), channel.encode()))
        self._stream = self._dial.makefile("rb")
        assert _reply(self._stream)[0] == b"subscribe"

    def next(self) -> bytes:
        return bytes(_reply(self._stream)[2])

    def close(self) -> None:
        self._stream.close()
        self._dial.close()


def _reply(stream: Any) -> Any:
    line = stream.readline()
    assert line, "the server hung up"
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b"-":
        raise AssertionError(rest.decode())
    if kind == b":":
        return int(rest)
    size = int(rest)
    if size < 0:
        return None
    if kind == b"$":
        return stream.read(size + 2)[:-2]
    return [_reply(stream) for _ in range(size)]


def cli_of(made: TestNode) -> Cli:
    return Cli(str(made.state / "broker" / "broker.sock"))


@contextlib.contextmanager
def bridging(config: str, *, env: Mapping[str, str] | None = None, wait: bool = True) -> Iterator[TestNode]:
    """Run a node with this configuration."""
    with tempfile.TemporaryDirectory(prefix="nova-c-") as folder:
        file = Path(folder, "config.toml")
        file.write_text(config)
        with node(start=False, env={"NOVA_TORCH_CONFIG": str(file), **(env or {})}) as made:
            if wait:
                made.start()
                made.wait_up()
            yield made


def bridge_row(made: TestNode, key: str, via: str = "stream") -> dict[str, Any]:
    """Return the row of `status` of one bridge."""
    rows = made.call("status")["bridges"]
    return dict(next(row for row in rows if (row["via"], row["key"]) == (via, key)))
