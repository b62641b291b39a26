"""The agents of the fleet: find them, start them. Also a program, `python -m nova_torch.orchestration…`."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Self, TypeVar

from nova_torch import arguments
from nova_torch.communication.road import GONE_S, Road
from nova_torch.durations import seconds, spoken
from nova_torch.errors import AgentNotFound, InvalidRequest, NotFound, NovaError, TimedOut
from nova_torch.fleet import Presence
from nova_torch.nearest import suggestion
from nova_torch.plain import run
from nova_torch.registry import Query
from nova_torch.values import AgentRecord, AgentState

T = TypeVar("T")
READY_S = 60.0
"""How long the program waits until an agent is ready; the same as `novactl spawn`."""


class AsyncAgentRegistry:
    """The agents of the fleet. Use it as `async with AsyncAgentRegistry() as registry:`.

    It asks the daemon of this machine; when none runs, the registry that the nodes keep in the broker. Arguments
    and errors are those of AsyncNovaOrchestrator.
    """

    def __init__(
        self, *, socket: str | None = None, broker: str | None = None, gone_s: float = GONE_S
    ) -> None:
        self._road = Road(socket=socket, broker=broker, gone_s=gone_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncAgentRegistry {self._road!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._road.close()

    async def list_agents(
        self,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        state: str | None = None,
        free: bool = False,
    ) -> list[AgentRecord]:
        """Return the agents that match all that is given, by name; all of `skills` must match.

        `labels` are those of the agents' nodes (`gpu`, `zone=eu`). `free`: only who could begin something now,
        which is idle, has nothing waiting and is on a node that takes something new.
        """
        return await self._road.agents(
            _query(role=role, skills=skills, node=node, labels=labels, state=state, free=free)
        )

    async def watch(
        self,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        state: str | None = None,
        free: bool = False,
    ) -> AsyncGenerator[tuple[str, AgentRecord], None]:
        """Yield what happens to the agents that match, until the daemon ends: what, and the agent as it is then.

        Without a daemon the registry in the broker is watched; it ends with BrokerUnavailable.

        First `here` with each that is there; then `joined`, `left`, `lost` (its node is away), `back`, `moved` (to
        another node) and `changed` (its state, role, skills, queue or task).
        """
        query = _query(role=role, skills=skills, node=node, labels=labels, state=state, free=free)
        args = {**asdict(query), "skills": list(query.skills), "labels": list(query.labels)}
        async with aclosing(
            self._road.stream("agents_watch", args, what="a daemon watches the fleet")
        ) as items:
            async for item in items:
                if item["event"] != "watching":
                    yield item["event"], AgentRecord.from_json(item)

    async def find_available_agents(
        self, role: str | None = None, skills: Sequence[str] = ()
    ) -> list[AgentRecord]:
        """Return the agents that could begin something now: idle, not paused, on a node whose lease holds.

        With `role` those of that role, with `skills` those that have them all. Nobody: an empty list.
        """
        return await self.list_agents(role=role, skills=skills, state=AgentState.IDLE.value)

    async def get_agent(self, agent_id: str) -> AgentRecord:
        """Return one agent. Raises AgentNotFound with the nearest name."""
        arguments.text("agent_id", agent_id)
        records = await self._road.agents()
        for record in records:
            if record.agent_id == agent_id:
                return record
        known = [record.agent_id for record in records]
        cure = suggestion(agent_id, known, otherwise="See them all: novactl agents")
        raise AgentNotFound(f"no agent {agent_id!r} is registered.", cure)

    async def ping(self, name: str) -> Presence:
        """Return what the fleet knows of an agent or of a node (`node:NAME`)."""
        return await self._road.presence(arguments.text("name", name))

    async def spawn(
        self,
        role: str,
        skills: Sequence[str] = (),
        *,
        agent_id: str | None = None,
        driver: str | None = None,
        command: Sequence[str] = (),
        cwd: str | None = None,
        prompt: str | None = None,
        session: str | None = None,
        restart: str | None = None,
        allow: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> AgentRecord:
        """Have the daemon start an agent in a tmux window and return it as soon as it is ready.

        `role` is a template of the configuration, a driver, or any name: then `driver` or `command` say which agent
        it is, else it is the first that is installed of claude, codex, gemini, opencode and aider. The other
        arguments are those of `novactl spawn`: `node` says where, `auto` or `labels` have it placed where it fits
        best. Without a daemon it is placed so in any case, unless `node` names one; directories and templates are
        those of that node. Raises what keeps it from becoming ready, Conflict when no node takes it, TimedOut
        after `timeout_s` seconds (its start goes on), DaemonUnreachable when no node lives; it is not started
        twice when the daemon goes away meanwhile.
        """
        args: dict[str, Any] = {
            "role": arguments.text("role", role),
            "skills": list(arguments.texts("skills", skills)),
            "agent_id": arguments.optional_text("agent_id", agent_id),
            "driver": arguments.optional_text("driver", driver),
            "command": list(arguments.texts("command", command)),
            "cwd": arguments.optional_text("cwd", cwd),
            "here": _here() if cwd is None else None,
            "prompt": arguments.optional_text("prompt", prompt),
            "session": arguments.optional_text("session", session),
            "restart": arguments.optional_text("restart", restart),
            "allow": list(arguments.texts("allow", allow)),
            "node": arguments.optional_text("node", node),
            "labels": list(arguments.texts("labels", labels)),
        }
        args = {name: value for name, value in args.items() if value not in (None, [])}
        limit_s = arguments.seconds("timeout_s", timeout_s)
        last: dict[str, Any] = {}
        try:
            async with (
                asyncio.timeout(limit_s),
                aclosing(self._road.stream("spawn", args, what="a daemon starts agents")) as steps,
            ):
                async for step in steps:
                    last = step
        except TimeoutError:
            agent = last.get("agent_id")
            raise TimedOut(
                f"agent {agent or f'of role {role}'} is not ready after {spoken(limit_s or 0)}; its start goes on.",
                f"Look: novactl peek {agent}" if agent else "See: novactl agents",
            ) from None
        if last.get("step") != "ready":
            agent = last.get("agent_id", role)
            raise NovaError(f"the daemon ended while agent {agent} was starting.", "See: novactl agents")
        return AgentRecord.from_json(last)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise NotFound("the current directory is gone.", "Say where the agent works: cwd") from None


def _query(
    *,
    role: str | None,
    skills: Sequence[str],
    node: str | None,
    labels: Sequence[str],
    state: str | None,
    free: bool,
) -> Query:
    return Query(
        role=arguments.optional_text("role", role),
        skills=arguments.texts("skills", skills),
        node=arguments.optional_text("node", node),
        labels=arguments.texts("labels", labels),
        state=None if state is None else arguments.choice("state", state, AgentState),
        free=bool(free),
    )


class AgentRegistry:
    """The agents of the fleet, from a script without an event loop; see AsyncAgentRegistry.

    >>> from nova_torch import AgentRegistry
    >>> [agent.agent_id for agent in AgentRegistry().find_available_agents(role='developer', skills=['python'])]
    ['agent_123']
    >>> AgentRegistry().get_agent('agent_123').role
    'developer'
    """

    def __init__(
        self, *, socket: str | None = None, broker: str | None = None, gone_s: float = GONE_S
    ) -> None:
        self._socket = socket
        self._broker = broker
        self._gone_s = gone_s

    def list_agents(
        self,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        state: str | None = None,
        free: bool = False,
    ) -> list[AgentRecord]:
        """Return the agents that match all that is given, by name; see AsyncAgentRegistry."""
        return self._run(
            lambda one: one.list_agents(
                role=role, skills=skills, node=node, labels=labels, state=state, free=free
            )
        )

    def find_available_agents(self, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents that could begin something now; see AsyncAgentRegistry."""
        return self._run(lambda one: one.find_available_agents(role, skills))

    def get_agent(self, agent_id: str) -> AgentRecord:
        """Return one agent. Raises AgentNotFound with the nearest name."""
        return self._run(lambda one: one.get_agent(agent_id))

    def ping(self, name: str) -> Presence:
        """Return what the fleet knows of an agent or of a node (`node:NAME`)."""
        return self._run(lambda one: one.ping(name))

    def spawn(self, role: str, skills: Sequence[str] = (), **options: Any) -> AgentRecord:
        """Start an agent and return it when it is ready; see AsyncAgentRegistry.spawn."""
        return self._run(lambda one: one.spawn(role, skills, **options))

    def _run(self, ask: Callable[[AsyncAgentRegistry], Awaitable[T]]) -> T:
        async def once() -> T:
            async with AsyncAgentRegistry(
                socket=self._socket, broker=self._broker, gone_s=self._gone_s
            ) as registry:
                return await ask(registry)

        return run(once(), name="AgentRegistry")


# -- the program --


def main(argv: Sequence[str] | None = None) -> int:
    """List agents, sum them up, or start one; return the exit code."""
    from nova_torch.program import parser, run_program

    options = parser(
        "nova_torch.orchestration.agent_registry",
        "The agents of the fleet.",
        "%(prog)s --list --role developer\n"
        "%(prog)s --status\n"
        "%(prog)s --spawn developer python,testing\n"
        "%(prog)s --spawn reviewer python,sql --driver claude --allow trust",
    )
    what = options.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="one line an agent")
    what.add_argument("--status", action="store_true", help="how many agents are in which state, per node")
    what.add_argument(
        "--spawn",
        nargs="+",
        metavar=("ROLE", "SKILLS"),
        help="start an agent of this role, or template, with these skills (a list with commas, or several words)",
    )
    options.add_argument("--role", help="with --list: only this role")
    options.add_argument(
        "--skill", action="append", default=[], help="with --list: all of these; with --spawn: these, too"
    )
    options.add_argument("--state", help="with --list: only in this state; idle ones are available")
    options.add_argument("--id", help="with --spawn: the agent's name")
    options.add_argument("--driver", help="with --spawn: which agent (default: the first that is installed)")
    options.add_argument(
        "--command",
        default="",
        metavar="WORDS",
        help="with --spawn: what is started, in one argument; no shell sees it",
    )
    options.add_argument("--cwd", help="with --spawn: where it works")
    options.add_argument(
        "--allow", action="append", default=[], help="with --spawn: a dialog that may be answered"
    )
    options.add_argument(
        "--timeout", metavar="DURATION", help="with --spawn: how long to wait until it is ready (60s)"
    )
    given = options.parse_args(argv)

    def work() -> object:
        registry = AgentRegistry(socket=given.socket)
        if given.spawn:
            role, *words = given.spawn
            skills = [skill for word in (*words, *given.skill) for skill in word.split(",") if skill]
            return registry.spawn(
                role, skills, agent_id=given.id, driver=given.driver, command=_words(given.command),
                cwd=given.cwd, allow=given.allow,
                timeout_s=seconds(given.timeout) if given.timeout else READY_S,
            ).to_json()  # fmt: skip
        found = registry.list_agents(role=given.role, skills=given.skill, state=given.state)
        return _summary(found) if given.status else [record.to_json() for record in found]

    return run_program(work, json_wanted=given.json, show=_show)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InvalidRequest(f"--command cannot be split into words: {error}.", "Close its quotes.") from None


def _summary(records: Sequence[AgentRecord]) -> dict[str, Any]:
    return {
        "agents": len(records),
        "available": sum(record.state is AgentState.IDLE for record in records),
        "queued": sum(record.queued for record in records),
        "states": dict(Counter(record.state.value for record in records)),
        "nodes": dict(Counter(record.node for record in records)),
    }


def _show(value: Any) -> list[str]:
    """Return the lines for a person."""
    if isinstance(value, list):
        return [_row(row) for row in value] or ["no agents"]
    if "agent_id" in value:
        return [f"ready: {_row(value)}\tdriver={value['driver']}"]
    return [f"{name}: {_spelled(part)}" for name, part in value.items()]


def _spelled(part: Any) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{count} {name}" for name, count in sorted(part.items())) or "none"
    return str(part)


def _row(row: dict[str, Any]) -> str:
    seen = (
        time.strftime("%H:%M:%S", time.localtime(row["last_seen_ms"] / 1000)) if row["last_seen_ms"] else "-"
    )
    cells = (
        row["agent_id"], row["state"], row["role"] or "-", ",".join(row["skills"]) or "-", row["node"],
        f"queued={row['queued']}", f"seen={seen}",
    )  # fmt: skip
    return "\t".join(str(cell) for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
