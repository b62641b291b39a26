"""Tell systemd how the node is, from ready to stopping: a service's STATUS line that stays true."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from nova_torch.errors import StoreFailed
from noval_d.node.notify import notifies, notify
from noval_d.node.pulse import idle

if TYPE_CHECKING:
    from noval_d.node.node import Node

STATUS_S = 2.0  # how old the line may be


async def ready(node: Node) -> None:
    """Say that the control socket answers, keep the line true until the node stops, and say that it does."""
    told = line(node)
    notify(f"READY=1\nSTATUS={told}")
    if not notifies():
        await idle(node.stopping.wait)
    while not node.stopping.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATUS_S):
                await idle(node.stopping.wait)
        now = line(node)
        if now != told and not node.stopping.is_set():
            notify(f"STATUS={now}")
            told = now
    notify("STOPPING=1\nSTATUS=Stopping: what is being typed is brought to its end.")


def line(node: Node) -> str:
    """Return how the node is in one line, as `systemctl status` shows it."""
    counted = Counter(agent.state.value for agent in node.roster.agents.values())
    agents = ", ".join(f"{number} {state}" for state, number in counted.most_common()) or "no agents"
    stuck = node.watchdog.stuck if node.watchdog is not None else ()
    parts = [agents, _under_way(node), f"broker {node.broker.state}", f"tmux {node.tmux.state}"]
    if node.store.failing:
        parts.append("the state file is not written")
    if stuck:
        parts.append(f"stuck: {', '.join(stuck)}")
    return f"Node {node.name}: {'; '.join(parts)}"


def _under_way(node: Node) -> str:
    try:
        return f"{node.outbox.depth()} messages under way"
    except StoreFailed:
        return "the state file is not read"
