"""Read a broker's URL, and show it without its secrets. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from nova_torch.errors import ConfigInvalid

SCHEMES = ("redis", "rediss", "unix")
DEFAULT_PORT = 6379
_OPTIONS = {"unix": ("db",), "redis": (), "rediss": ("ca_certs",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker listens and how to log in. Its repr and `shown` hold no secret."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    ca_certs: str | None = None

    @property
    def shown(self) -> str:
        """The URL for people and logs."""
        if self.scheme == "unix":
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + (f"/{self.db}" if self.db else "")

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


def parse_address(url: str, *, password: str | None = None) -> Address:
    """Read `redis://[user[:password]@]host[:port][/db]`, the same with `rediss` or `unix:///path[?db=N]`.

    `password` stands over the URL's. Raises ConfigInvalid, which never quotes the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("is not a URL") from None
    if parts.scheme not in SCHEMES:
        raise _invalid(f"starts with {parts.scheme + '://' if parts.scheme else 'no scheme'}")
    options = _options(parts)
    if parts.scheme == "unix":
        place, db = {"path": unquote(parts.path)}, options.get("db", "0")
        if not parts.path.startswith("/") or parts.hostname:
            raise _invalid("names no absolute path")
    else:
        place, db = {"host": unquote(parts.hostname or "")}, parts.path.strip("/") or "0"
        if not parts.hostname:
            raise _invalid("names no host")
    if not db.isascii() or not db.isdigit():
        raise _invalid("names a database that is not a number")
    return Address(
        scheme=parts.scheme,
        port=port or DEFAULT_PORT,
        db=int(db),
        username=unquote(parts.username) if parts.username else None,
        password=password or (unquote(parts.password) if parts.password else None),
        ca_certs=options.get("ca_certs"),
        **place,
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    for name in options:
        if name not in _OPTIONS[parts.scheme]:
            raise _invalid(f"has an option {name!r} that is not known")
    return options


def _invalid(why: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"the broker's URL {why}.", "Write redis://host:port, rediss://host:port or unix:///path/of/the.sock."
    )
