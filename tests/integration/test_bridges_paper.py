"""Every command line of docs/bridges.md, sent as it stands there, does what the paper says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.foreign import bridging, cli_of
from tests.support.node import ROOT, until

CONFIG = '[bridges]\ndialects = ["torch", "dot", "wake", "colon", "boomerang", "registry"]\n'


def lines() -> list[list[str]]:
    paper = (ROOT / "docs" / "bridges.md").read_text(encoding="utf-8")
    return [shlex.split(line)[1:] for line in re.findall(r"^redis-cli .*$", paper, re.MULTILINE)]


def words_of(command: list[str]) -> bytes:
    """The words that the agent must see of a command."""
    found = re.search(r'"text": "([^"]+)"', command[-1]) or re.search(r'"text": "([^"]+)"', " ".join(command))
    if found:
        return found[1].encode()
    for name in ("title", "payload", "content", "task"):
        if name in command:
            return command[command.index(name) + 1].encode()
    return command[-1].encode()


def test_every_line_of_the_paper_reaches_the_agent(tmp_path: Path) -> None:
    sent = lines()
    assert {command[0] for command in sent} == {"XADD", "PUBLISH", "XREVRANGE"}
    with bridging(CONFIG) as made:
        pane = made.tmux.open_program("rawlog.py", [str(tmp_path / "bytes")])
        made.tmux.wait_for(pane, "READY")
        made.call("register", {"agent_id": "bob", "pane": pane, "driver": "line", "role": "reviewer"})
        cli = cli_of(made)
        until(
            lambda: cli("EXISTS", "nova.torch.agents.reviewer", "nova:agent:direct:bob") == 2, what="streams"
        )
        until(lambda: cli("PUBSUB", "NUMPAT") > 0, what="the channels")
        for command in sent:
            if command[0] == "XREVRANGE":
                refused = command[1].endswith(":dead")
                assert (cli(*command) == []) is refused  # nothing of all this was refused
                continue
            entry = cli(*command)
            if {"get_task", "list_tasks"} & set(command):
                until(partial(_answered, cli, entry), what="its answer")
                continue
            words = words_of(command)
            until(lambda words=words: words in (tmp_path / "bytes").read_bytes(), what=f"{words!r}")  # type: ignore[misc]


def _answered(cli: Callable[..., Any], entry: bytes) -> bool:
    found = cli("XRANGE", "nova:task:boomerang:events", "-", "+")
    return any(entry in fields for _, fields in found)
