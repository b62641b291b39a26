"""The registry of a fleet: found by everything that nodes tell, watched, and right when an agent moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova_torch import AsyncAgentRegistry
from tests.faults.test_two_nodes import neighbour
from tests.integration.test_nodes import SHORT, nodes, state_is
from tests.support.agents import raw
from tests.support.node import ROOT, TestNode, node, until


@contextlib.contextmanager
def watching(of: TestNode, *options: str) -> Iterator[Path]:
    """Run `novactl agents --watch --json`; give the file that its lines go into."""
    log = of.state / "watch.jsonl"
    with (
        open(log, "wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "novactl.main", "agents", "--watch", "--json", *options],
            cwd=ROOT, env=of.environment, stdout=out, stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        try:
            yield log
        finally:
            process.terminate()
            process.wait(10)


def told(log: Path) -> list[tuple[str, str]]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    return [(row["event"], row.get("agent_id", "")) for row in rows]


def test_agents_are_found_by_what_they_and_their_nodes_tell(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, NOVA_NODE_LABELS="zone=eu,gpu", **SHORT) as second:
        raw(first, tmp_path, "a1")
        with watching(first, "--label", "gpu") as log:
            until(lambda: ("watching", "") in told(log), what="the watch")
            pane = raw(second, tmp_path, "b1").pane
            second.call(
                "register",
                {"agent_id": "b1", "pane": pane, "driver": "line", "role": "coder", "skills": ["go", "sql"]},
            )
            until(lambda: ("joined", "b1") in told(log), what="b1 joined")
            until(lambda: first.call("agents", {"skills": ["go", "sql"]}), what="its skills")

            def found(*options: str) -> list[str]:
                done = first.novactl("agents", *options)
                assert done.returncode == 0, done
                return [line.split("\t")[0] for line in done.stdout.splitlines()]

            assert found() == ["a1", "b1"]
            assert found("--label", "zone=eu") == found("--role", "coder") == found("--skill", "go") == ["b1"]
            assert found("--node", "other", "--free") == ["b1"]
            second.call("pause", {"agent_id": "b1"})
            until(lambda: found("--free") == ["a1"], what="b1 is not free")
            until(lambda: ("changed", "b1") in told(log), what="b1 changed")
            page = first.call("agents_page", {"limit": 1})
            assert ([a["agent_id"] for a in page["agents"]], page["total"], page["next"]) == (["a1"], 2, "a1")
            page = first.call("agents_page", {"limit": 1, "after": "a1"})
            assert ([a["agent_id"] for a in page["agents"]], page["next"]) == (["b1"], None)
            nobody = first.novactl("agents", "--skill", "go", "--skill", "sqll")
            assert (nobody.returncode, nobody.stdout) == (0, "")
            assert "nobody has the skill 'sqll'. Did you mean sql?" in nobody.stderr

            async def by_library() -> list[list[str]]:
                async with AsyncAgentRegistry(socket=first.socket) as registry:
                    there = await registry.list_agents(labels=["gpu"], role="coder")
                    free = await registry.list_agents(free=True)
                    return [[a.agent_id for a in each] for each in (there, free)]

            assert asyncio.run(by_library()) == [["b1"], ["a1"]]
            second.kill()
            until(lambda: ("lost", "b1") in told(log), 45, "b1 lost")
            second.start()
            until(lambda: ("back", "b1") in told(log), 45, "b1 back")
            assert ("here", "a1") not in told(log)


def test_an_agent_that_is_started_elsewhere_takes_its_messages_along_and_its_old_pane_is_fenced_off(
    tmp_path: Path,
) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        old = raw(first, tmp_path, "mover")
        until(lambda: nodes(second)["test-node"]["agents"] == 1, what="the registry")
        sent = str(second.send("mover", "before")["id"])
        second.wait_state(sent, "submitted")
        first.call("pause", {"agent_id": "mover"})
        waits = str(second.send("mover", "read and not typed")["id"])
        second.wait_state(waits, "held")
        own = str(first.send("mover", "from its own node")["id"])
        until(lambda: first.call("agents", {"node": "test-node"})[0]["queued"] == 2, what="both read")
        # the broker is the first node's own, so it outlives a kill of its daemon
        first.kill()
        more = str(second.send("mover", "while nobody has it")["id"])
        second.wait_state(more, "queued")
        state_is(second, "test-node", "disconnected")
        (tmp_path / "new").mkdir()
        new = raw(second, tmp_path / "new", "mover")
        second.wait_state(waits, "submitted")
        second.wait_state(more, "submitted")
        first.start()
        first.wait_up()
        until(lambda: first.call("agents", {"node": "test-node"}) == [], what="it is listed where it lives")
        (mover,) = first.call("agents")
        assert (mover["agent_id"], mover["node"]) == ("mover", "other")
        after = str(first.send("mover", "afterwards")["id"])
        first.wait_state(after, "submitted")
        assert "may have typed it" in first.wait_state(own, "unconfirmed")["reason"]
        assert old.bytes() == b"before\r"
        typed = new.bytes().split(b"\r")
        assert sorted(typed) == sorted([b"read and not typed", b"while nobody has it", b"afterwards", b""])
