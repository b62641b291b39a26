"""Send one body to many agents: one message each, all posted before any is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from nova_torch.communication.group import Group, member_id, members
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.postbox import satisfies
from nova_torch.errors import (
    AgentNotFound,
    BrokerUnavailable,
    Conflict,
    DaemonUnreachable,
    InvalidRequest,
    MailboxFull,
    MailboxLost,
    NotDelivered,
    NovaError,
    ShuttingDown,
    TimedOut,
)
from nova_torch.quorum import Count, count
from nova_torch.registry import Query
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AgentId, MessageId, Receipt, State

if TYPE_CHECKING:
    from nova_torch.communication.sending import Sending

TURN_S = 1.0
"""So long one of more than can be followed at once is followed until others have their turn."""
AT_ONCE = 16
"""Calls and streams of one broadcast that run at a time; a connection to a daemon carries 32 streams."""
REFUSED = (AgentNotFound, MailboxFull, MailboxLost)
"""That this member certainly did not get it. What else goes wrong ends the broadcast, to be sent again."""


async def broadcast(
    nova: Sending,
    group: Group,
    body: str | bytes,
    *,
    wait: str | None,
    timeout_s: float | None,
    options: MessageOptions,
    minimum: int | None = None,
    queue_offline: bool = False,
) -> list[Receipt]:
    """Send `body` to the members of `group`, follow each until `wait`, and return a receipt each, by name.

    With `minimum` until so many are as far as `wait`; raises TimedOut or NotDelivered when they are not.
    """
    group_id = options.get("message_id") or new_ulid()
    assert is_ulid(group_id)
    try:
        names = await _names(nova, group, sender=options.get("sender", ""), offline=queue_offline)
        if minimum is not None and minimum > len(names):
            raise InvalidRequest(
                f"{minimum} are to get it, and {group} has {len(names)} who are there.",
                "Ask for fewer, or queue for those who are away: queue_offline=True",
            )
        places = asyncio.Semaphore(AT_ONCE)

        async def post(agent: str) -> Receipt:
            one = MessageOptions(**{**options, "message_id": member_id(group_id, agent)})
            async with places:
                try:
                    return await nova.send_message(agent, body, answer=answer, **one)
                except REFUSED as error:
                    return _refused(member_id(group_id, agent), agent, error)

        answer = "wanted" if wait == "replied" else ""
        receipts = await asyncio.gather(*(post(name) for name in names))
        if wait is None:
            return receipts
        followed = _Followed(nova, receipts, wait, timeout_s, places)
        if minimum is None:
            await followed.all()
        else:
            await followed.some(minimum)
            _judge(followed.count(), wait, minimum, timeout_s)
    except (NotDelivered, TimedOut, DaemonUnreachable, BrokerUnavailable, ShuttingDown, Conflict) as error:
        error.message_id = group_id
        raise
    return followed.receipts


async def _names(nova: Sending, group: Group, *, sender: str, offline: bool) -> list[str]:
    """Return who is in the group. The labels are their nodes', of which only the registry knows."""
    there = await nova.found(Query(labels=group.labels))
    if group.labels and not there:
        raise AgentNotFound(f"no agent matches {group}.", "See: novactl node list, novactl agents")
    unlabelled = replace(group, labels=())
    return [record.agent_id for record in members(unlabelled, there, sender=sender, offline=offline)]


class _Followed:
    """The receipts of one broadcast, each as far as it was seen until the time limit."""

    def __init__(
        self,
        nova: Sending,
        receipts: list[Receipt],
        wait: str,
        timeout_s: float | None,
        places: asyncio.Semaphore,
    ) -> None:
        self.receipts = receipts
        self._nova = nova
        self._wait = wait
        self._until = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        self._places = places
        self._turn_s = TURN_S if len(receipts) > AT_ONCE else None
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<_Followed {self.count()}>"

    def count(self) -> Count:
        """Count how far they are."""
        return count(((receipt.state, receipt.final) for receipt in self.receipts), self._wait)

    async def all(self) -> None:
        """Follow each until it is as far as is waited for, or as it will ever get, or the time is over."""
        await asyncio.gather(*(self._one(place) for place in range(len(self.receipts))))

    async def some(self, least: int) -> None:
        """Follow them until `least` are there, or cannot be any more, or the time is over."""
        everybody = asyncio.ensure_future(self.all())
        everybody.add_done_callback(lambda _: self._news.set())
        try:
            while not self.count().decided(least) and not everybody.done():
                self._news.clear()
                await self._news.wait()
            if everybody.done():
                await everybody
        finally:
            everybody.cancel()
            await asyncio.gather(everybody, return_exceptions=True)

    async def _one(self, place: int) -> None:
        try:
            async with asyncio.timeout_at(self._until):
                while not satisfies(self.receipts[place], self._wait):
                    async with self._places:
                        await self._turn(place)
        except TimeoutError:
            receipt = self.receipts[place]
            if receipt.state in (State.ACCEPTED, State.QUEUED):  # its turn to be followed may not have come
                self.receipts[place] = await self._nova.receipt(receipt.id)

    async def _turn(self, place: int) -> None:
        """Follow one for a while: of very many some have to wait until others were looked at."""
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(self._turn_s),
                aclosing(self._nova.follow(self.receipts[place].id, self._wait)) as updates,
            ):
                async for later in updates:
                    self.receipts[place] = later
                    self._news.set()


def _judge(counted: Count, wait: str, least: int, timeout_s: float | None) -> None:
    """Raise NotDelivered or TimedOut unless `least` are there."""
    if counted.there >= least:
        return
    told = f"{counted.there} of {least} are {wait}"
    if counted.lacks(least):
        silent = f", and {counted.silent} report nothing" if counted.silent else ""
        raise NotDelivered(
            f"{told}, {counted.lost} of {counted.total} will not get it{silent}.",
            "Broadcast again with the same message_id and without wait: the receipts say why.",
        )
    raise TimedOut(
        f"{told} after {timeout_s:g} s; the messages go on.",
        "The same call with the same message_id waits on.",
    )


def _refused(message_id: str, agent: str, error: NovaError) -> Receipt:
    return Receipt(
        id=MessageId(message_id),
        target=agent,
        state=State.FAILED,
        reason=error.message,
        agent=AgentId(agent),
        final=True,
    )
