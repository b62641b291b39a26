"""URLs of brokers: what is understood, what is shown, and what a broker says of itself."""

from __future__ import annotations

import pytest

from nova_torch.broker.address import parse_address, parse_route
from nova_torch.broker.server_info import parse_info
from nova_torch.errors import ConfigInvalid
from nova_torch.login import Login


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost:6379"),
        ("redis://user:geheim@host:7000/3", "redis://host:7000/3"),
        ("rediss://:geheim@host", "rediss://host:6379"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("unix:///run/nova/broker.sock?db=2", "unix:///run/nova/broker.sock?db=2"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    address = parse_address(url, Login(password="auch geheim"))
    assert address.shown == shown
    assert "geheim" not in repr(address)
    assert address.login.password == "auch geheim"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://geheim@host",
        "redis://",
        "unix://relative/path",
        "redis://:geheim@host:port",
        "redis://:geheim@host/db",
        "redis://:geheim@host?socket_timeout=900",
        "redis://:geheim@host?protocol=3",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_address(url)
    assert "geheim" not in str(caught.value)


def test_a_percent_encoded_password_is_decoded() -> None:
    assert parse_address("redis://:p%40ss@h").login.password == "p@ss"


@pytest.mark.parametrize(
    ("version", "warned"), [("v1.40.0", 1), ("v1.9.9", 1), ("v1.40.1", 0), ("v2.0.0", 0)]
)
def test_a_dragonfly_below_the_floor_is_warned_of(version: str, warned: int) -> None:
    info = parse_info(
        f"redis_version:7.4.0\r\ndragonfly_version:df-{version}\r\nmaxmemory_policy:eviction\r\n"
    )
    assert (info.kind, info.version) == ("dragonfly", version[1:])
    assert len(info.warnings) == warned


def test_a_broker_that_evicts_is_warned_of() -> None:
    assert parse_info("redis_version:7.2.4\nmaxmemory_policy:allkeys-lru").warnings
    assert parse_info("dragonfly_version:df-v1.40.1\ncache_mode:cache").warnings
    assert "6.2.0" in parse_info("redis_version:6.2.0").unusable
    assert not parse_info("redis_version:7.0.15").unusable
    assert not parse_info("redis_version:7.2.4\nvalkey_version:9.1.2\nmaxmemory_policy:noeviction").warnings


def test_several_servers_are_read_each_with_the_user_and_the_database() -> None:
    route = parse_route("redis://me:geheim@a,b:7000,[::1]:7001/2")
    assert [server.shown for server in route.servers] == [
        "redis://a:6379/2",
        "redis://b:7000/2",
        "redis://[::1]:7001/2",
    ]
    assert {(server.username, server.login.password) for server in route.servers} == {("me", "geheim")}
    assert "geheim" not in repr(route)


def test_sentinels_are_asked_without_the_password_of_the_servers() -> None:
    route = parse_route("rediss+sentinel://me@s1,s2:7000/nova/2", Login(password="geheim", ca_file="/ca"))
    assert [server.shown for server in route.servers] == ["rediss://s1:26379", "rediss://s2:7000"]
    assert {(server.username, server.login.password) for server in route.servers} == {(None, None)}
    assert {server.login.ca_file for server in route.servers} == {"/ca"}
    assert route.service == "nova"
    assert route.master is not None
    assert (route.master.username, route.master.login.password, route.master.db) == ("me", "geheim", 2)


@pytest.mark.parametrize(
    "url",
    [
        "redis://a,,b",
        "redis://:geheim@a,b:x",
        "redis+sentinel://:geheim@s1",
        "redis+sentinel://s1/a b",
        "unix+sentinel://s/x",
    ],
)
def test_a_route_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_route(url)
    assert "geheim" not in str(caught.value)
