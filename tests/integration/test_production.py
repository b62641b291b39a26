"""What docs/production.md tells to write into files is taken by a real server and by the configuration."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import pytest

from nova_torch.broker import Broker
from nova_torch.config import load
from nova_torch.errors import BrokerUnavailable
from nova_torch.login import Login
from tests.support.aio import run
from tests.support.node import ROOT, until
from tests.support.pair import pair
from tests.support.rights import give
from tests.support.servers import PASSWORD, OwnServer, own_server, running_sentinel

TEXT = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
ELSEWHERE = ("bind", "port", "aclfile")
SOON = ("sentinel down-after-milliseconds nova 5000", "sentinel down-after-milliseconds nova 1000")
"""What a test changes in the paper's lines so as not to wait."""


def blocks(name: str) -> list[str]:
    """Return the code blocks whose first line names this file."""
    return [
        block for block in re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL) if block.startswith(f"# {name}")
    ]


def options(*, lonely: bool) -> list[str]:
    """Return the server's lines as options; a `lonely` server has no replicas to wait for."""
    lines = [line.split() for block in blocks("valkey.conf") for line in block.splitlines()[1:]]
    return [
        word
        for name, *values in lines
        if name not in ELSEWHERE and not (lonely and name == "min-replicas-to-write")
        for word in (f"--{name}", *values)
    ]


def test_two_nodes_are_well_on_a_server_with_the_lines_of_the_paper() -> None:
    def prepare(server: OwnServer) -> None:
        server.kill()
        server.start(*options(lonely=True))

    with pair(prepare=prepare) as both:
        assert both.server.ask("CONFIG", "GET", "appendonly")[1] == b"yes"
        assert both.server.ask("CONFIG", "GET", "maxmemory")[1] == b"1073741824"
        both.send("here")
        both.send("there")
        both.all_once()


def test_a_master_without_its_replicas_takes_nothing_with_these_lines() -> None:
    with (
        own_server(*options(lonely=False)) as server,
        pytest.raises(BrokerUnavailable, match="fewer replicas"),
    ):
        server.ask("SET", "nova:{reg}:gen", "x")


def test_sentinels_and_replicas_with_the_lines_of_both_papers_fail_over_to_a_name(tmp_path: Path) -> None:
    async def leads_to(ports: list[int]) -> str:
        url = f"redis+sentinel://nova-node@{','.join(f'localhost:{port}' for port in ports)}/nova"
        try:
            async with await Broker.connect(url, login=Login(password=PASSWORD)) as broker:
                return broker.url_shown
        except BrokerUnavailable:
            return ""

    def knows(port: int) -> bool:
        told = OwnServer(tmp_path, port, password="").ask("SENTINEL", "MASTER", "nova")
        known = dict(zip(told[::2], told[1::2], strict=True))
        return bool(known[b"num-slaves"] == b"2" and known[b"num-other-sentinels"] == b"2")

    (lines,) = blocks("sentinel.conf")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(own_server(*options(lonely=False))) for _ in range(3)]
        for server in servers:
            give(server)
            own = ("masteruser", "nova-replica", "masterauth", PASSWORD, "replica-announce-ip", "localhost")
            server.ask("CONFIG", "SET", *own)
        master, *replicas = servers
        for replica in replicas:
            replica.ask("REPLICAOF", "localhost", master.port)
        lines = lines.replace("a.internal 6379", f"localhost {master.port}").replace("PASSWORD", PASSWORD)
        lines = lines.replace(*SOON)
        ports = [stack.enter_context(running_sentinel(tmp_path, lines)) for _ in range(3)]
        until(lambda: all(knows(port) for port in ports), 45, "what the Sentinels have to know")
        assert run(leads_to(ports)) == f"redis://localhost:{master.port}"
        master.kill()
        after = {f"redis://localhost:{replica.port}" for replica in replicas}
        until(lambda: run(leads_to(ports)) in after, 45, "the master of a name")


def test_each_configuration_of_the_paper_is_valid() -> None:
    texts = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert len(texts) == 2
    with tempfile.TemporaryDirectory(prefix="nova-c-") as folder:
        for number, text in enumerate(texts):
            file = Path(folder, f"{number}.toml")
            file.write_text(text)
            config = load(str(file), {"HOME": folder})
            assert config.broker.password_file
            assert config.broker.url.startswith(("redis://nova-node@", "rediss+sentinel://nova-node@"))
