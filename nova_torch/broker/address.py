"""Read a broker's URL, and show it without its secrets. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from nova_torch.errors import ConfigInvalid
from nova_torch.login import NOBODY, Login

SCHEMES = ("redis", "rediss", "unix")
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
SENTINEL = "+sentinel"
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_OPTIONS = {"unix": ("db",), "redis": (), "rediss": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker listens and how to log in. Its repr and `shown` hold no secret."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    username: str | None = None
    login: Login = NOBODY

    @property
    def shown(self) -> str:
        """The URL for people and logs."""
        if self.scheme == "unix":
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + (f"/{self.db}" if self.db else "")

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The servers of which one is the master; with `service` the Sentinels that know which."""

    servers: tuple[Address, ...]
    service: str = ""
    master: Address | None = None
    """With `service`: how to log in at the master, whose host and port the Sentinels tell."""


def parse_route(url: str, login: Login = NOBODY) -> Route:
    """Read the URL of one server, of several (`redis://user@a:6379,b:6379/0`), or of Sentinels.

    Those are `redis+sentinel://user@a,b:26379/SERVICE[/db]`, or `rediss+sentinel`; the user is the servers', the
    Sentinels are asked without. Raises ConfigInvalid, which never quotes the URL.
    """
    scheme, _, rest = url.partition("://")
    named, slash, tail = rest.partition("/")
    user, at, hosts = named.rpartition("@")
    if not scheme.endswith(SENTINEL):
        if "," not in hosts or scheme == "unix":
            return Route(servers=(parse_address(url, login),))
        each = [
            parse_address(f"{scheme}://{user}{at}{host}{slash}{tail}", login) for host in hosts.split(",")
        ]
        return Route(servers=tuple(each))
    scheme = scheme.removesuffix(SENTINEL)
    service, _, db = tail.partition("/")
    if not _SERVICE.match(service) or scheme == "unix":
        raise _invalid("names no service behind its Sentinels: redis+sentinel://host:26379/SERVICE")
    nobody = replace(login, password=None)
    sentinels = tuple(
        parse_address(f"{scheme}://{host}", nobody, default_port=SENTINEL_PORT) for host in hosts.split(",")
    )
    master = parse_address(f"{scheme}://{user}{at}master/{db}", login)
    return Route(servers=sentinels, service=service, master=master)


def parse_address(url: str, login: Login = NOBODY, *, default_port: int = DEFAULT_PORT) -> Address:
    """Read `redis://[user[:password]@]host[:port][/db]`, the same with `rediss` or `unix:///path[?db=N]`.

    The password of `login` stands over the URL's. Raises ConfigInvalid, which never quotes the URL.
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
        port=port or default_port,
        db=int(db),
        username=unquote(parts.username) if parts.username else None,
        login=replace(
            login, password=login.password or (unquote(parts.password) if parts.password else None)
        ),
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
