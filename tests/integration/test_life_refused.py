"""Spawns of which something is refused half-way: the first prompt, or the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.broker import Owner
from nova_torch.errors import NotOwner, NovaError
from nova_torch.protocol.client import Client
from nova_torch.values import NodeId
from tests.faults.test_review_node import on_broker
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import raw
from tests.support.node import node, until
from tests.support.spawned import QUICK, Spawned, spawn
from tests.support.tmux import runs


def test_a_spawn_whose_prompt_is_not_accepted_says_so_and_the_agent_runs(tmp_path: Path) -> None:
    """It waited for ever."""
    with node(env={**QUICK, "NOVA_LIMITS_SENDER_PER_MINUTE": "1"}) as made:
        other = raw(made, tmp_path)
        made.send_wait(other.name, "the only one")
        with pytest.raises(
            NovaError, match=r"lines runs, and was not sent its first prompt: .*sender_per_minute"
        ):
            spawn(
                made, tmp_path, name="lines", driver="line", command=["cat"], prompt="good morning",
                timeout_s=15.0,
            )  # fmt: skip
        until(lambda: Spawned(made, "lines", tmp_path).record()["state"] == "idle", 45, "the agent")
        assert made.call("stop_agent", {"agent_id": "lines"})["agent_id"] == "lines"


def test_a_daemon_killed_before_it_took_the_first_prompt_over_sends_it_after_its_start(
    tmp_path: Path,
) -> None:
    with node(env={**QUICK, "NOVA_FAILPOINTS": "accept.before=kill"}) as made:
        with pytest.raises(NovaError):
            spawn(made, tmp_path, name="lines", driver="line", command=["cat"], prompt="good morning")
        assert made.process is not None
        made.process.wait(20)
        del made.env["NOVA_FAILPOINTS"]
        made.start()
        made.wait_up()
        until(lambda: made.call("inbox", {"agent": "lines"}), 45, "the prompt")
        (message,) = made.call("inbox", {"agent": "lines"})
        made.wait_state(message["id"], "submitted")
        (record,) = made.call("agents")
        assert made.tmux.capture(record["pane"]).split("\n").count("good morning") == 2  # its echo, and cat's
        assert record["state"] == "idle"


def test_a_spawn_under_a_name_that_another_node_has_taken_leaves_nothing(tmp_path: Path) -> None:
    """Its agent stayed without a keeper: a stop waited for ever, and the next start of the daemon started it."""
    with node(env=QUICK) as made, neighbour(made) as _other:
        owner = Owner(node=NodeId("other"), epoch=1)
        on_broker(made, lambda broker: broker.claim("lines", owner))
        with pytest.raises(NotOwner, match="lines is served by node other"):
            spawn(made, tmp_path, name="lines", driver="line", command=["cat"])
        assert made.call("agents", {"node": "test-node"}) == []
        with pytest.raises(NovaError, match="lines"):
            made.call("stop_agent", {"agent_id": "lines"})
        made.stop()
        made.start()
        made.wait_up()
        assert made.call("agents", {"node": "test-node"}) == []
        on_broker(made, lambda broker: broker.release("lines", owner, drop=True))
        spawn(made, tmp_path, name="lines", driver="line", command=["cat"])


def test_a_program_that_runs_though_its_start_failed_in_the_end_is_known_to_the_next_try(
    tmp_path: Path,
) -> None:
    """It was a foreign one to every further try, until its keeper gave up; it ran on with nobody to keep it."""
    with node(env={**QUICK, "NOVA_FAILPOINTS": "spawn.after=error@2"}) as made:
        agent = spawn(made, tmp_path, restart="always")
        with Client.connect(made.socket, 10.0) as client:
            steps = [step["step"] for step in client.stream("restart", {"agent_id": agent.name}, 30.0)]
        assert (steps[-1], agent.starts()) == ("ready", 2)
        assert runs(agent.pid())
