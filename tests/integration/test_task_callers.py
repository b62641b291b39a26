"""What several callers make of one task, or one of several: people, and an agent that asks twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_torch.errors import Conflict
from tests.integration.test_tasks import add, gone, shown
from tests.support.doers import doer
from tests.support.node import TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def test_an_agent_is_told_what_a_person_made_of_its_task(running: TestNode, tmp_path: Path) -> None:
    """What a person ended on the agent's own node was taken for the agent's own word."""
    agent = doer(running, tmp_path, "ours", "--hold", role="ours")
    ended = add(running, "called done", role="ours")
    until(lambda: agent.lines("told") == [ended], 45, "the task")
    running.call("task_done", {"id": ended, "result": "a person did it"})
    running.tmux.wait_for(agent.pane, "(called done) is not yours any more: it was called done.")
    failed = add(running, "called failed", role="ours")
    after = add(running, "after it", role="ours", depends_on=[failed])
    until(lambda: agent.lines("told") == [ended, failed], 45, "the next task")
    told = running.novactl("task", "fail", failed, "--reason", "no more time", "--final")
    assert f"blocked: {after}, until this one is opened again" in told.stderr
    running.tmux.wait_for(agent.pane, "(called failed) is not yours any more: no more time.")
    step = shown(running, failed)["steps"][-1]
    assert (step["what"], step["who"].partition(":")[0]) == ("failed", "user")
    assert running.call("task_cancel", {"id": after})["blocks"] == []
    gone(agent)


def test_an_agent_that_claims_two_tasks_at_once_gets_one(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "twice", "--hold", role="twice")
    running.call("pause", {"agent_id": "twice"})
    where = {"pane": agent.pane, "tmux": f"{running.tmux.socket_path},1,0"}
    for _ in range(3):
        tasks = [add(running, f"one of {n}", role="twice") for n in range(4)]

        def claim(task: str) -> str:
            try:
                return str(running.call("task_claim", {"id": task, **where})["id"])
            except Conflict:
                return ""

        with ThreadPoolExecutor(len(tasks)) as pool:
            claimed = list(filter(None, pool.map(claim, tasks)))
        assert len(claimed) == 1
        for task in tasks:
            running.call("task_cancel", {"id": task})
    gone(agent)
