"""The asynchronous core: compose a message, post it, follow it until it is where the caller wants it.

The daemon sends through this very class, with its own outbox as the postbox; programs take the road to a daemon,
or without one to the broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Self, Unpack

from nova_torch import arguments
from nova_torch.clean import MAX_BODY_BYTES
from nova_torch.communication.broadcast import broadcast
from nova_torch.communication.compose import compose
from nova_torch.communication.group import Group
from nova_torch.communication.listening import EventHandler, Listening, ReplyHandler, watch
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.postbox import Postbox, check_wait, satisfies
from nova_torch.communication.road import GONE_S, Road
from nova_torch.errors import InvalidRequest, NotDelivered, NovaError, TimedOut
from nova_torch.events import Event, Filter
from nova_torch.fleet import Presence, matching
from nova_torch.history import MessageRecord
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentRecord, Form, Kind, Message, Priority, Receipt, Reply, State

REQUEST_S = 60.0


class AsyncNovaOrchestrator:
    """Sends messages and asks about agents. Use it as `async with AsyncNovaOrchestrator() as nova:`.

    It goes to the daemon of this machine, the one that novactl would use; when none runs, to the broker that the
    configuration or the environment (`NOVA_BROKER_URL`, `DRAGONFLY_HOST`) names. `socket` is the control socket of
    one daemon: that one, or an error. `broker` is the URL of the broker to use when no daemon answers. A daemon
    that goes away while a message is followed is waited for, `gone_s` seconds.

    Every method raises DaemonUnreachable when neither daemon nor broker can be reached. An error about a message
    has its id as `error.message_id`: sending again with it is safe, it is typed once.
    """

    def __init__(
        self,
        *,
        socket: str | None = None,
        broker: str | None = None,
        postbox: Postbox | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        max_bytes: Callable[[], int] = lambda: MAX_BODY_BYTES,
        gone_s: float = GONE_S,
        listening: Listening | None = None,
    ) -> None:
        self._road = Road(socket=socket, broker=broker, clock_ms=clock_ms, gone_s=gone_s)
        self._postbox: Postbox = postbox if postbox is not None else self._road
        self._listening = listening if listening is not None else Listening()
        self._clock_ms = clock_ms
        self._max_bytes = max_bytes
        self._gone_s = gone_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncNovaOrchestrator {self._road!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._road.close()

    # -- sending --

    def compose(self, target: str, body: str | bytes, **options: Any) -> Message:
        """Return the message that `send_message` would send with the same arguments; see `compose.compose`."""
        return compose(target, body, now_ms=self._clock_ms(), max_bytes=self._max_bytes(), **options)

    async def send_message(
        self,
        target: str,
        body: str | bytes,
        *,
        wait: str | None = None,
        timeout_s: float | None = None,
        message_id: str | None = None,
        priority: str = Priority.NORMAL,
        kind: str = Kind.MESSAGE,
        ttl_s: float | None = None,
        form: str = Form.AUTO,
        sender: str = "",
        correlation_id: str = "",
        reply_to: str = "",
        answer: str = "",
    ) -> Receipt:
        """Send `body` to the agent `target` and return the receipt.

        Without `wait` the receipt says `accepted`: the message is durable in the daemon's outbox. Without a daemon
        it says `queued`: the broker has it in the agent's mailbox. With `wait` (submitted, acknowledged or replied)
        it is the receipt of that state or of an earlier final one; `receipt.delivered` tells which. `timeout_s`
        limits the whole call. `answer` (wanted or none) says whether an answer is waited for; `wait="replied"` and
        the kind `task` say so by themselves.

        Raises AgentNotFound (with the nearest name), InvalidRequest, BodyTooLarge and their kin before anything is
        stored, MailboxFull, TimedOut when the waiting ran out: the message goes on.
        """
        message = self.compose(
            target,
            body,
            message_id=message_id,
            priority=priority,
            kind=kind,
            ttl_s=ttl_s,
            form=form,
            sender=sender,
            correlation_id=correlation_id,
            reply_to=reply_to,
            answer=answer or ("wanted" if wait == "replied" else ""),
        )
        timeout_s = arguments.seconds("timeout_s", timeout_s)
        receipt: Receipt | None = None
        try:
            async with asyncio.timeout(timeout_s):
                async with aclosing(self.updates(message, wait)) as updates:
                    async for update in updates:
                        receipt = update
        except TimeoutError:
            raise _ran_out(message, receipt, timeout_s) from None
        except NovaError as error:
            error.message_id = message.id
            raise
        assert receipt is not None
        return receipt

    async def updates(self, message: Message, wait: str | None = None) -> AsyncGenerator[Receipt, None]:
        """Post `message`, yield its first receipt, then each change until `wait` is satisfied."""
        if wait is not None:
            check_wait(wait)
        receipt = await self._postbox.post(message)
        if message.wants_answer and wait != "replied":
            self._listening.asked(message.id)
        yield receipt
        if wait is None or satisfies(receipt, wait):
            return
        async with aclosing(self.follow(message.id, wait)) as later:
            async for update in later:
                if update != receipt:
                    yield update

    async def follow(self, message_id: str, wait: str) -> AsyncGenerator[Receipt, None]:
        """Yield the present receipt of a message, then each change until `wait` is satisfied."""
        check_wait(wait)
        async for receipt in self._postbox.follow(message_id, replied=wait == "replied"):
            yield receipt
            if satisfies(receipt, wait):
                return

    async def broadcast(
        self,
        body: str | bytes,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        wait: str | None = None,
        timeout_s: float | None = None,
        **options: Unpack[MessageOptions],
    ) -> list[Receipt]:
        """Send `body` to every agent, or to those with this role, all these skills, on this node.

        It is one message an agent: one receipt each is returned, by the agents' names. With `wait` each is followed
        for at most `timeout_s` seconds; the receipt of one that is not there by then says how far it came. One that
        was refused (its mailbox is full, it is gone) has a receipt `failed` with the reason. The sender itself is
        left out.

        `message_id` is that of the whole: sent again with it, every agent that got its message gets it no second
        time. Raises AgentNotFound when nobody matches.
        """
        group = Group(
            role=arguments.optional_text("role", role),
            skills=arguments.texts("skills", skills),
            node=arguments.optional_text("node", node),
        )
        if wait is not None:
            check_wait(wait)
        timeout_s = arguments.seconds("timeout_s", timeout_s)
        self.compose("all", body, **options)  # what is wrong with it is wrong before anybody gets it
        return await broadcast(self, group, body, wait=wait, timeout_s=timeout_s, options=options)

    # -- questions, tasks, answers --

    async def ask(
        self,
        target: str,
        body: str | bytes,
        *,
        timeout_s: float | None = None,
        **options: Unpack[MessageOptions],
    ) -> Reply:
        """Send a question, wait for its answer and return it; `options` are those of `send_message`.

        Raises TimedOut when no answer came in time: it is kept when it comes, and `answer` returns it, or
        asking again with the same `message_id`. Raises NotDelivered when the question was not delivered.
        """
        receipt = await self.send_message(target, body, wait="replied", timeout_s=timeout_s, **options)
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

        Raises MessageNotFound (it was not received at this node), NotAllowed (somebody else has to answer),
        Conflict (it has an answer) and InvalidRequest (nobody reads an answer to it).
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

    async def schedule(self, target: str, body: str | bytes, **options: Any) -> dict[str, Any]:
        """Have `body` sent to the agent `target` later; return the schedule (as `novactl schedule show --json`).

        Options are those of the call `schedule_add`: one of `in_s` (seconds), `at` (a text such as `17:30`),
        `every_s`, `cron`; `tz`, `missed`, `late_s`, `priority`, `form`, `ttl_s`, `id`, `sender`. Without `tz` the
        local zone is meant. Raises InvalidRequest, AgentNotFound, Busy (too many) and Conflict.
        """
        from nova_torch.zones import local_zone

        args = {
            "id": new_ulid(self._clock_ms()),
            "tz": local_zone(),
            "target": target,
            "body": body,
            **options,
        }
        return dict(await self._road.call("schedule_add", args, what="schedules are kept by daemons"))

    # -- what is known --

    async def receipt(self, message_id: str) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        async for receipt in self._postbox.follow(arguments.text("message_id", message_id)):
            return receipt
        raise AssertionError("a followed message has a receipt")

    async def agents(self, *, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents of the fleet by name; all of `skills` must match."""
        role, wanted = arguments.optional_text("role", role), arguments.texts("skills", skills)
        return matching(await self._road.agents(), role=role, skills=wanted)

    async def ping(self, name: str) -> Presence:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`): its state and when it was seen.

        It is the word of the agent's daemon; of an agent whose node's lease is over the state is `lost`. Raises
        AgentNotFound or NotFound with the nearest name.
        """
        return await self._road.presence(arguments.text("name", name))

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message: `{id, state, hops: [{at_ms, node, state, reason}]}`."""
        return await self._road.trace(arguments.text("message_id", message_id))

    async def history(
        self, *, agent: str | None = None, sender: str | None = None, limit: int = 50
    ) -> list[MessageRecord]:
        """Return the last messages that this node sent or received, the newest last.

        With `agent` those for that agent, with `sender` those from that one. Only a daemon remembers them.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise InvalidRequest(f"limit is {limit!r}.", "It is a whole number from 1 to 1000.")
        args = {
            "agent": arguments.optional_text("agent", agent),
            "sender": arguments.optional_text("sender", sender),
            "limit": limit,
        }
        rows = await self._road.call("history", args, what="messages are remembered by daemons")
        return [MessageRecord.from_json(row) for row in rows]

    # -- what happens --

    async def events(
        self,
        *,
        agent: str | None = None,
        sender: str | None = None,
        state: str | None = None,
        priority: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of the node as they happen, those that match all that is given, until the daemon ends.

        Raises Lagged when the caller reads too slowly, DaemonUnreachable without a daemon.
        """
        wanted = Filter(agent=agent, sender=sender, state=state, priority=priority)
        async with aclosing(watch(self._road, wanted)) as events:
            async for event in events:
                if event is not None:
                    yield event

    def on_message(
        self,
        handler: EventHandler,
        *,
        agent: str | None = None,
        sender: str | None = None,
        state: str | None = None,
        priority: str | None = None,
    ) -> None:
        """Have `listen` call `handler` (plain or async) with every change of a message that matches."""
        wanted = Filter(agent=agent, sender=sender, state=state, priority=priority)
        self._listening.on_event(handler, wanted, prefix="message.")

    def on_event(self, handler: EventHandler, *, agent: str | None = None) -> None:
        """Have `listen` call `handler` with every event, of agents too."""
        self._listening.on_event(handler, Filter(agent=agent))

    def on_reply(self, handler: ReplyHandler) -> None:
        """Have `listen` call `handler` with each answer to what this object asked, once."""
        self._listening.on_reply(handler)

    async def listen(self, *, timeout_s: float | None = None) -> None:
        """Call the handlers as things happen: for `timeout_s` seconds, else until it is cancelled.

        A daemon that is started anew is listened to again; what happened meanwhile is not told, but no answer is
        missed. What a handler raises ends it. Raises DaemonUnreachable when no daemon answers.
        """
        limit_s = arguments.seconds("timeout_s", timeout_s)
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._listening.run(self._road, gone_s=self._gone_s)
        except TimeoutError:
            if not deadline.expired():
                raise

    async def _answer_of(self, receipt: Receipt) -> Reply:
        if receipt.state is State.REPLIED:
            return await self.answer(receipt.id)
        why = f": {receipt.reason}" if receipt.reason else ""
        error = NotDelivered(
            f"question {receipt.id} is {receipt.state}{why}.", f"See: novactl trace {receipt.id}"
        )
        error.message_id = receipt.id
        raise error


def _ran_out(message: Message, receipt: Receipt | None, timeout_s: float | None) -> TimedOut:
    """Say how far a message came within the time limit."""
    if receipt is None:
        error = TimedOut(
            f"nobody took message {message.id} over within {timeout_s:g} s; whether it was taken is not known.",
            "Send it again with the same message_id: it is typed once.",
        )
    else:
        error = TimedOut(
            f"message {message.id} is {receipt.state} after {timeout_s:g} s; it goes on.",
            f"Look at it with: novactl trace {message.id}",
        )
    error.message_id = message.id
    return error
