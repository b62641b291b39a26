"""Questions and tasks, and the answers to them."""

from __future__ import annotations

import asyncio
from typing import Unpack

from nova_torch import arguments
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.sending import Sending
from nova_torch.errors import NotDelivered, TimedOut
from nova_torch.values import Kind, Priority, Receipt, Reply, State

REQUEST_S = 60.0


class Asking(Sending):
    """The methods that wait for an answer, and the one that gives it."""

    async def ask(
        self,
        target: str,
        body: str | bytes,
        *,
        timeout_s: float | None = None,
        **options: Unpack[MessageOptions],
    ) -> Reply:
        """Send a question, wait for its answer and return it; `options` are those of `send_message`.

        Of a group (`role:reviewer`) one is asked: the idle one with least to do.

        Raises TimedOut when no answer came in time: it is kept when it comes, and `answer` returns it, or
        asking again with the same `message_id`. Raises NotDelivered when the question was not delivered.
        """
        receipt = await self.send_message(
            target, body, wait="replied", timeout_s=timeout_s, any_member=True, **options
        )
        return await self._answer_of(receipt)

    async def request(
        self,
        target: str,
        body: str | bytes,
        *,
        timeout_s: float = REQUEST_S,
        **options: Unpack[MessageOptions],
    ) -> str:
        """Ask and return the body of the answer; `ask` with a time limit of its own, in seconds."""
        return (await self.ask(target, body, timeout_s=timeout_s, **options)).body

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message that was sent from here.

        Raises MessageNotFound when none has come yet.
        """
        return await self._postbox.answer(arguments.text("message_id", message_id))

    async def reply(
        self,
        question_id: str,
        body: str | bytes,
        *,
        sender: str = "",
        message_id: str | None = None,
        priority: str = Priority.NORMAL,
    ) -> Receipt:
        """Answer the message `question_id` as `sender`, whom it was sent to; by default this user.

        Without a daemon the node that received it takes the answer over, asked through the broker; `trace` of the
        answer is then that node's. Raises MessageNotFound (it was not received at this node, or at any that
        lives), NotAllowed (somebody else has to answer), Conflict (it has an answer), InvalidRequest (nobody reads
        an answer to it).
        """
        return await self._postbox.reply(
            question_id, body, message_id=message_id, sender=sender, priority=priority
        )

    async def assign_task(
        self,
        agent: str,
        description: str | bytes,
        *,
        task_id: str | None = None,
        priority: str = Priority.NORMAL,
        ttl_s: float | None = None,
        sender: str = "",
    ) -> Receipt:
        """Give an agent a task: a message of the kind `task`, whose answer is the result.

        `task_id` is a ULID of the caller's; assigned again with it, it is the same task. It is `receipt.id`
        otherwise. The result comes with `task_result`, or to a handler of `on_reply`.
        """
        return await self.send_message(
            agent,
            description,
            message_id=task_id,
            kind=Kind.TASK,
            priority=priority,
            ttl_s=ttl_s,
            sender=sender,
        )

    async def task_result(self, task_id: str, *, timeout_s: float | None = None) -> Reply:
        """Wait for the result of a task (or the answer to any message) and return it.

        Raises TimedOut, NotDelivered when the agent never got it, MessageNotFound for an unknown id.
        """
        timeout_s = arguments.seconds("timeout_s", timeout_s)
        last: Receipt | None = None
        try:
            async with asyncio.timeout(timeout_s):
                async for receipt in self._postbox.follow(arguments.text("task_id", task_id), replied=True):
                    last = receipt
        except TimeoutError:
            state = f"is {last.state} and " if last is not None else ""
            raise TimedOut(
                f"task {task_id} {state}has no result after {timeout_s:g} s; it goes on.",
                f"Look at it with: novactl trace {task_id}",
            ) from None
        assert last is not None
        return await self._answer_of(last)

    async def _answer_of(self, receipt: Receipt) -> Reply:
        if receipt.state is State.REPLIED:
            return await self.answer(receipt.id)
        why = f": {receipt.reason}" if receipt.reason else ""
        error = NotDelivered(
            f"question {receipt.id} is {receipt.state}{why}.", f"See: novactl trace {receipt.id}"
        )
        error.message_id = receipt.id
        raise error
