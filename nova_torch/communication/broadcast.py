"""Send one body to many agents: one message each, all posted before any is waited for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from nova_torch.communication.group import Group, member_id, members
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.postbox import satisfies
from nova_torch.errors import (
    AgentNotFound,
    BrokerUnavailable,
    Conflict,
    DaemonUnreachable,
    MailboxFull,
    MailboxLost,
    NovaError,
    ShuttingDown,
)
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AgentId, MessageId, Receipt, State

if TYPE_CHECKING:
    from nova_torch.communication.orchestrator import AsyncNovaOrchestrator

AT_ONCE = 16
"""Calls and streams of one broadcast that run at a time; a connection to a daemon carries 32 streams."""
REFUSED = (AgentNotFound, MailboxFull, MailboxLost)
"""That this member certainly did not get it. What else goes wrong ends the broadcast, to be sent again."""


async def broadcast(
    nova: AsyncNovaOrchestrator,
    group: Group,
    body: str | bytes,
    *,
    wait: str | None,
    timeout_s: float | None,
    options: MessageOptions,
) -> list[Receipt]:
    """Send `body` to the members of `group`, follow each until `wait`, and return a receipt each, by name."""
    group_id = options.get("message_id") or new_ulid()
    assert is_ulid(group_id)
    try:
        found = members(group, await nova.agents(), sender=options.get("sender", ""))
        places = asyncio.Semaphore(AT_ONCE)

        async def post(agent: str) -> Receipt:
            one = MessageOptions(**{**options, "message_id": member_id(group_id, agent)})
            async with places:
                try:
                    return await nova.send_message(agent, body, answer=answer, **one)
                except REFUSED as error:
                    return _refused(member_id(group_id, agent), agent, error)

        answer = "wanted" if wait == "replied" else ""
        receipts = await asyncio.gather(*(post(record.agent_id) for record in found))
        if wait is None:
            return receipts
        until = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        follow = _Follower(nova, wait, until, places)
        return await asyncio.gather(*(follow.one(receipt) for receipt in receipts))
    except (DaemonUnreachable, BrokerUnavailable, ShuttingDown, Conflict) as error:
        error.message_id = group_id
        raise


class _Follower:
    def __init__(
        self, nova: AsyncNovaOrchestrator, wait: str, until: float | None, places: asyncio.Semaphore
    ) -> None:
        self._nova = nova
        self._wait = wait
        self._until = until
        self._places = places

    async def one(self, receipt: Receipt) -> Receipt:
        """Follow one message; return how far it came until the time limit."""
        if satisfies(receipt, self._wait):
            return receipt
        try:
            async with (
                asyncio.timeout_at(self._until),
                self._places,
                aclosing(self._nova.follow(receipt.id, self._wait)) as updates,
            ):
                async for later in updates:
                    receipt = later
        except TimeoutError:
            if receipt.state in (State.ACCEPTED, State.QUEUED):  # its turn to be followed may not have come
                return await self._nova.receipt(receipt.id)
        return receipt


def _refused(message_id: str, agent: str, error: NovaError) -> Receipt:
    return Receipt(
        id=MessageId(message_id),
        target=agent,
        state=State.FAILED,
        reason=error.message,
        agent=AgentId(agent),
        final=True,
    )
