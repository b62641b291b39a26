"""What docs/production.md tells to write into files is taken by a real server and by the configuration."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from nova_torch.config import load
from nova_torch.errors import BrokerUnavailable
from tests.support.node import ROOT
from tests.support.pair import pair
from tests.support.servers import OwnServer, own_server

TEXT = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
ELSEWHERE = ("bind", "port", "aclfile")


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
