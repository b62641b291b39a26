"""Show the flow of messages, live: `python -m nova_torch.communication.debug_monitor`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing

from nova_torch import arguments
from nova_torch.durations import seconds
from nova_torch.errors import InvalidRequest
from nova_torch.events import Event
from nova_torch.nearest import nearest
from nova_torch.values import AgentState, Priority, State

NEAR = 0.75


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line an event until interrupted; return the exit code."""
    from nova_torch.program import parser, run_program

    options = parser(
        "nova_torch.communication.debug_monitor",
        "Show what happens to messages and agents of this node, as it happens.",
        "%(prog)s --agent agent_123\n%(prog)s --state held --priority urgent\n%(prog)s --json | jq .",
    )
    options.add_argument("--agent", help="only of this agent")
    options.add_argument("--sender", help="only messages from this sender, such as user:alice")
    options.add_argument("--state", help="only what came into this state")
    options.add_argument("--priority", help="only messages of this priority")
    options.add_argument("--for", dest="limit", metavar="DURATION", help="end after this time: 30s, 5m")
    given = options.parse_args(argv)

    async def follow() -> None:
        from nova_torch.communication import AsyncNovaOrchestrator
        from nova_torch.program import say

        if given.priority is not None:
            arguments.choice("priority", given.priority, Priority)
        _refuse_mistyped(given.state)
        limit = asyncio.timeout(seconds(given.limit) if given.limit else None)
        try:
            async with limit, AsyncNovaOrchestrator(socket=given.socket) as nova:
                events = nova.events(
                    agent=given.agent, sender=given.sender, state=given.state, priority=given.priority
                )
                async with aclosing(events) as flow:
                    async for event in flow:
                        say(json.dumps(dict(event.fields), ensure_ascii=False) if given.json else line(event))
            print("nova_torch: the daemon has ended", file=sys.stderr)
        except TimeoutError:
            if not limit.expired():
                raise

    return run_program(lambda: asyncio.run(follow()), json_wanted=False, show=lambda _: ())


def _refuse_mistyped(state: str | None) -> None:
    """Raise InvalidRequest for what is nearly a state: nothing would be shown. Tasks have others."""
    known = {*State, *AgentState}
    near = nearest(state, known, cutoff=NEAR) if state and state not in known else None
    if near is not None:
        raise InvalidRequest(f"{state!r} is not a state.", f"Did you mean {near}?")


def line(event: Event) -> str:
    """Return an event as a line of tab-separated words."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at_ms / 1000)) + f".{event.at_ms % 1000:03d}"
    road = f"{event.sender or '?'} -> {event.agent}" if event.id else event.agent
    about = event.reason or str(event.fields.get("detail") or "")
    words = (at, event.event, event.id or "-", road, event.priority or "-", event.state or "-", about)
    return "\t".join(words).rstrip()


if __name__ == "__main__":
    sys.exit(main())
