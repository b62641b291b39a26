"""The plain synchronous face of the asynchronous core, for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from nova_torch.communication.orchestrator import AsyncNovaOrchestrator
from nova_torch.errors import InvalidRequest
from nova_torch.values import AgentRecord, Receipt, Reply

T = TypeVar("T")


class NovaOrchestrator:
    """Sends messages and asks about agents, one call at a time, from a script without an event loop.

    Example:
        receipt = NovaOrchestrator().send_message("agent_123", "Task assignment: implement auth")
        print(receipt.id, receipt.state)
    """

    def __init__(self, *, socket: str | None = None) -> None:
        self._socket = socket

    def send_message(self, target: str, body: str | bytes, **options: Any) -> Receipt:
        """Send `body` to the agent `target`; options, result and errors of AsyncNovaOrchestrator.send_message."""
        return self._run(lambda nova: nova.send_message(target, body, **options))

    def ask(self, target: str, body: str | bytes, *, timeout_s: float | None = None, **options: Any) -> Reply:
        """Ask and return the answer; options, result and errors of AsyncNovaOrchestrator.ask."""
        return self._run(lambda nova: nova.ask(target, body, timeout_s=timeout_s, **options))

    def answer(self, message_id: str) -> Reply:
        """Return the answer to a message. Raises MessageNotFound when none has come yet."""
        return self._run(lambda nova: nova.answer(message_id))

    def reply(self, question_id: str, body: str | bytes, **options: Any) -> Receipt:
        """Answer a message; options, result and errors of AsyncNovaOrchestrator.reply."""
        return self._run(lambda nova: nova.reply(question_id, body, **options))

    def receipt(self, message_id: str) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        return self._run(lambda nova: nova.receipt(message_id))

    def agents(self, *, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents of the fleet; all of `skills` must match."""
        return self._run(lambda nova: nova.agents(role=role, skills=skills))

    def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message."""
        return self._run(lambda nova: nova.trace(message_id))

    def _run(self, ask: Callable[[AsyncNovaOrchestrator], Awaitable[T]]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._once(ask))
        raise InvalidRequest(
            "NovaOrchestrator was called inside a running event loop.",
            "Use AsyncNovaOrchestrator and await it.",
        )

    async def _once(self, ask: Callable[[AsyncNovaOrchestrator], Awaitable[T]]) -> T:
        async with AsyncNovaOrchestrator(socket=self._socket) as nova:
            return await ask(nova)
