"""End an agent's program: ask it, then SIGTERM, then SIGKILL, each with its limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from nova_torch.errors import NovaError
from noval_d.agents.sight import guard_text, landed
from noval_d.api.ports import variable
from noval_d.mailroom.ledger import Phase

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.delivery.view import AgentView
    from noval_d.node.node import Node

LOOK_S = 0.02
HANGUP_S = 1.0  # its terminal is gone: most programs end on that by themselves
FINISH_S = 3.0  # for a message between paste and proof, before the agent is asked to quit
ASK_S = 5.0
DRAWN_S = 3.0  # for a turn in its last moments, too
KILLED_S = 5.0


class How(StrEnum):
    """How a program came to its end."""

    ALREADY = "it had ended already"
    ASKED = "it quit when it was asked"
    TERMINATED = "it ended on SIGTERM"
    KILLED = "it was killed"


async def end(node: Node, agent: Agent, *, force: bool) -> How:
    """End the program in the agent's pane and return how. Raises NovaError when it outlives even SIGKILL."""
    facts = agent.facts
    if facts is None or facts.dead or not runs(facts.pid):
        return How.ALREADY
    limits, pid = node.config.life, facts.pid
    if not force:
        if await _asked(node, agent) and await _within(limits.quit_s, lambda: not runs(pid)):
            return How.ASKED
        _signal(pid, signal.SIGTERM)
        if await _within(limits.terminate_s, lambda: not runs(pid)):
            return How.TERMINATED
    _signal(pid, signal.SIGKILL)
    if await _within(KILLED_S, lambda: not runs(pid)):
        return How.KILLED
    raise NovaError(
        f"the program of agent {agent.id} (pid {pid}) does not end.", "Is its disk or its host stuck?"
    )


async def end_rest(pid: int, terminate_s: float, *, pane: str = "") -> bool:
    """End what an ended program has left of its own process group, `pid`'s; return whether that was needed.

    It is the agent too: Gemini CLI is a `node` below another one, and lives on when that is killed. Jobs in groups
    of their own are left alone. With `pane` only those are meant that were started in that pane: of a program that
    ended nobody knows when, the number may have been another one's since, who left a service in its group.
    """
    if await _within(HANGUP_S, lambda: not _rest(pid, pane)):
        return False
    for number, limit_s in ((signal.SIGTERM, terminate_s), (signal.SIGKILL, KILLED_S)):
        for process in _rest(pid, pane):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        if await _within(limit_s, lambda: not _rest(pid, pane)):
            break
    return True


def _rest(pid: int, pane: str) -> list[int]:
    """Return the processes of the group and session that `pid` led; none while a process of that number runs."""
    import psutil  # 2 MB that only an ending pays for

    if runs(pid):
        return []  # the group's own leader, or, later, somebody else's
    found: list[int] = []
    for other in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(other) == pid and os.getsid(other) == pid and runs(other):
                found.append(other)
    if pane:
        return [other for other in found if variable(other, "TMUX_PANE") == pane]
    return found


def runs(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


async def _asked(node: Node, agent: Agent) -> bool:
    """Type the agent's own command to quit, if it has one and an empty input box; return whether it was entered."""
    driver = agent.driver
    worker = node.roster.workers[agent.id]
    text = driver.start.quit
    if not text:
        return False
    await _within(FINISH_S, lambda: all(item.phase is not Phase.TYPING for item in worker.items))
    try:
        async with asyncio.timeout(ASK_S), agent.hands:  # nobody else presses a key meanwhile
            return await _quit(node, agent, text)
    except (NovaError, TimeoutError):
        return False  # it cannot be asked: it is told


async def _quit(node: Node, agent: Agent, text: str) -> bool:
    client, driver = node.tmux.client, agent.driver
    view = await agent.view(client)
    drawn_at = node.clock() + DRAWN_S
    while _undrawn(view) and node.clock() < drawn_at:
        await asyncio.sleep(LOOK_S)
        view = await agent.view(client)
    sight, pane = view.sight, view.facts
    if pane is None or sight is None or not view.present or sight.composer != "" or view.asking:
        return False
    token = f"quit-{secrets.token_hex(4)}"
    if not await node.injector.paste(pane, text, token):
        return False
    end_at = node.clock() + driver.landed_within_s
    while node.clock() < end_at:
        view = await agent.view(client)
        if view.facts is not None and view.sight is not None and landed(driver, view.sight, text):
            await asyncio.sleep(driver.settle_s)
            guarded = guard_text(view.sight, text)
            return await node.injector.enter(view.facts, driver, token, guarded, view.sight.absent_marks)
        await asyncio.sleep(LOOK_S)
    return False


def _undrawn(view: AgentView) -> bool:
    """Tell whether an agent shows neither an input box nor a dialog yet: aider's box comes after its turn."""
    sight = view.sight
    return view.present and sight is not None and sight.composer is None and sight.dialog is None


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to every process group of the pane's session; `pid` leads it."""
    import psutil  # 2 MB that only an ending pays for

    groups: set[int] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == pid:
                groups.add(os.getpgid(process.pid))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


async def _within(limit_s: float, done: Callable[[], bool]) -> bool:
    """Look until `done`, for so long at most: the end of a process that is no child announces itself nowhere."""
    clock = asyncio.get_running_loop().time
    end_at = clock() + limit_s
    while not done():
        if clock() > end_at:
            return False
        await asyncio.sleep(LOOK_S)
    return True
