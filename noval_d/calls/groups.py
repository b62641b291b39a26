"""Answer the call that sends to a group: a message for each member, one receipt each, and how many got there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from nova_torch.communication.group import choose, member_id, parse_group
from nova_torch.communication.postbox import check_wait
from nova_torch.errors import AgentNotFound, InvalidRequest, MailboxFull, NotAllowed, ShuttingDown
from nova_torch.quorum import count
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AgentId, MessageId, Receipt, State
from noval_d.calls.messages import Messages
from noval_d.control.args import Args
from noval_d.control.calls import Peer

AT_ONCE = 16
REFUSED = (AgentNotFound, MailboxFull, NotAllowed)
"""That this member certainly does not get it. What else goes wrong ends the call, to be made again."""


class Groups(Messages):
    """One method a call."""

    async def send_group(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Send to every member of a group; as a stream, follow them until `min` of them are as far as `wait`."""
        if self._node.stopping.is_set():
            raise ShuttingDown("the daemon is stopping and takes no new messages.", "Again in a moment.")
        asked = Args(args)
        group, wait = parse_group(asked.text("target")), asked.optional_text("wait")
        if wait is not None:
            check_wait(wait)
        group_id = asked.optional_text("id") or new_ulid(self._node.clock_ms())
        if not is_ulid(group_id):
            raise InvalidRequest(f"{group_id[:40]!r} is not a ULID.", "Leave it out to get one.")
        least = asked.optional_integer("min", least=1)
        views, sender = await self._fleet_views(), self._sender(peer, asked)
        with self._as_far_as_seen():
            chosen = choose(group, views, sender=sender, offline=asked.flag("queue_offline"))
        names = [record.agent_id for record in chosen.members]
        if least is not None and least > len(names):
            raise InvalidRequest(
                f"{least} are to get it, and {group} has {len(names)} who are there.",
                "Ask for fewer, or queue for those who are away: --queue-offline",
            )
        away = [record.agent_id for record in chosen.offline]
        told = {"group": group_id, "count": len(names), "agents": names, "offline": away}
        yield {**told, "note": self._unseen}
        if asked.flag("dry_run"):
            return
        receipts = await self._post_all(peer, args, group_id, names)
        for receipt in receipts.values():
            yield {"receipt": receipt.to_json()}
        if wait is None:
            return
        async with aclosing(self._follow_all(receipts, wait, least or len(names))) as changes:
            async for receipt in changes:
                yield {"receipt": receipt.to_json()}

    async def _post_all(
        self, peer: Peer, args: Mapping[str, Any], group_id: str, names: list[AgentId]
    ) -> dict[AgentId, Receipt]:
        """Post one message each, durably; one that is refused has a receipt that says so."""
        places = asyncio.Semaphore(AT_ONCE)

        async def post(agent: AgentId) -> Receipt:
            one = member_id(group_id, agent)
            async with places:
                try:
                    asked = Args({**args, "target": agent, "id": one})
                    message = await self._message(peer, asked, asked.optional_text("wait"))
                    self._node.guard.demand_send(message, AgentId(message.headers["agent"]))
                    return await self._node.postbox.post(message)
                except REFUSED as error:
                    return Receipt(
                        id=MessageId(one), target=agent, state=State.FAILED, reason=error.message, agent=agent,
                        final=True,
                    )  # fmt: skip

        return dict(zip(names, await asyncio.gather(*(post(name) for name in names)), strict=True))

    async def _follow_all(
        self, receipts: dict[AgentId, Receipt], wait: str, least: int
    ) -> AsyncGenerator[Receipt, None]:
        """Yield every change, until `least` are there or so many cannot get there any more."""
        news: asyncio.Queue[tuple[AgentId, Receipt]] = asyncio.Queue()

        async def follow(agent: AgentId, receipt: Receipt) -> None:
            async for update in self._node.postbox.follow(receipt.id, replied=wait == "replied"):
                news.put_nowait((agent, update))

        refused = {name for name, receipt in receipts.items() if receipt.state is State.FAILED}
        tasks = [
            asyncio.create_task(follow(name, receipt), name=f"follow-{receipt.id}")
            for name, receipt in receipts.items()
            if name not in refused
        ]
        try:
            while not count(((r.state, r.final) for r in receipts.values()), wait).decided(least):
                agent, receipt = await news.get()
                if receipt != receipts[agent]:
                    receipts[agent] = receipt
                    yield receipt
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
