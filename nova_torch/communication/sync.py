"""The plain synchronous face of the asynchronous core, for scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, Unpack

from nova_torch.communication.asking import REQUEST_S
from nova_torch.communication.listening import EventHandler, Listening, ReplyHandler
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.orchestrator import AsyncNovaOrchestrator
from nova_torch.communication.road import GONE_S
from nova_torch.events import Filter
from nova_torch.fleet import Presence
from nova_torch.history import MessageRecord
from nova_torch.plain import run
from nova_torch.values import AgentRecord, Kind, Priority, Receipt, Reply

T = TypeVar("T")


class NovaOrchestrator:
    """Sends messages and asks about agents, one call at a time, from a script without an event loop.

    Arguments, results and errors are those of AsyncNovaOrchestrator, method by method.

    >>> from nova_torch import NovaOrchestrator
    >>> receipt = NovaOrchestrator().send_message('agent_123', 'Task assignment: implement auth')
    >>> receipt.state.value, receipt.agent
    ('accepted', 'agent_123')
    >>> NovaOrchestrator().send_message('agent_123', 'Please hurry.', wait='submitted', timeout_s=30).delivered
    True

    An unknown name is answered with the nearest one:

    >>> NovaOrchestrator().send_message('agent_132', 'Hello')
    Traceback (most recent call last):
        ...
    nova_torch.errors.AgentNotFound: no agent 'agent_132' is registered. Did you mean agent_123?
    """

    def __init__(
        self, *, socket: str | None = None, broker: str | None = None, gone_s: float = GONE_S
    ) -> None:
        self._socket = socket
        self._broker = broker
        self._gone_s = gone_s
        self._listening = Listening()

    def send_message(
        self,
        target: str,
        body: str | bytes,
        *,
        wait: str | None = None,
        timeout_s: float | None = None,
        kind: str = Kind.MESSAGE,
        answer: str = "",
        any_member: bool = False,
        **options: Unpack[MessageOptions],
    ) -> Receipt:
        """Send `body` to the agent `target`, or to one of a group; see AsyncNovaOrchestrator.send_message.

        >>> from nova_torch import NovaOrchestrator
        >>> NovaOrchestrator().send_message('role:developer,skill:sql', 'Mind the index.', any_member=True).agent
        'agent_123'
        """
        return self._run(
            lambda nova: nova.send_message(
                target,
                body,
                wait=wait,
                timeout_s=timeout_s,
                kind=kind,
                answer=answer,
                any_member=any_member,
                **options,
            )
        )

    def broadcast(
        self,
        body: str | bytes,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        wait: str | None = None,
        timeout_s: float | None = None,
        minimum: int | None = None,
        queue_offline: bool = False,
        **options: Unpack[MessageOptions],
    ) -> list[Receipt]:
        """Send `body` to many agents, one receipt each; see AsyncNovaOrchestrator.broadcast.

        >>> from nova_torch import NovaOrchestrator
        >>> nova = NovaOrchestrator()
        >>> [receipt.agent for receipt in nova.broadcast('Stand-up at ten.', role='developer')]
        ['agent_123']

        With a quorum it returns as soon as so many have it:

        >>> told = nova.broadcast('Stand-up is over.', wait='submitted', minimum=1, timeout_s=30)
        >>> sum(receipt.delivered for receipt in told) >= 1
        True
        """
        return self._run(
            lambda nova: nova.broadcast(
                body,
                role=role,
                skills=skills,
                node=node,
                labels=labels,
                wait=wait,
                timeout_s=timeout_s,
                minimum=minimum,
                queue_offline=queue_offline,
                **options,
            )
        )

    def ask(
        self,
        target: str,
        body: str | bytes,
        *,
        timeout_s: float | None = None,
        **options: Unpack[MessageOptions],
    ) -> Reply:
        """Ask and return the answer; see AsyncNovaOrchestrator.ask."""
        return self._run(lambda nova: nova.ask(target, body, timeout_s=timeout_s, **options))

    def request(
        self,
        target: str,
        body: str | bytes,
        *,
        timeout_s: float = REQUEST_S,
        **options: Unpack[MessageOptions],
    ) -> str:
        """Ask and return the answer's body; see AsyncNovaOrchestrator.request.

        >>> from nova_torch import NovaOrchestrator
        >>> NovaOrchestrator().request('reviewer', 'Is it safe to merge?', timeout_s=30)
        'Yes, merge it.'
        """
        return self._run(lambda nova: nova.request(target, body, timeout_s=timeout_s, **options))

    def answer(self, message_id: str) -> Reply:
        """Return the answer to a message. Raises MessageNotFound when none has come yet."""
        return self._run(lambda nova: nova.answer(message_id))

    def reply(
        self,
        question_id: str,
        body: str | bytes,
        *,
        sender: str = "",
        message_id: str | None = None,
        priority: str = Priority.NORMAL,
    ) -> Receipt:
        """Answer a message; see AsyncNovaOrchestrator.reply.

        >>> from nova_torch import NovaOrchestrator
        >>> nova = NovaOrchestrator()
        >>> task = nova.send_message('agent_123', 'Count.', kind='task', wait='submitted', timeout_s=30)
        >>> reply = nova.reply(task.id, 'There are 7.', sender='agent_123')
        >>> nova.task_result(task.id, timeout_s=30).body
        'There are 7.'
        """
        return self._run(
            lambda nova: nova.reply(
                question_id, body, sender=sender, message_id=message_id, priority=priority
            )
        )

    def assign_task(
        self,
        agent: str,
        description: str | bytes,
        *,
        task_id: str | None = None,
        priority: str = Priority.NORMAL,
        ttl_s: float | None = None,
        sender: str = "",
    ) -> Receipt:
        """Give an agent a task, whose answer is the result; see AsyncNovaOrchestrator.assign_task.

        >>> from nova_torch import NovaOrchestrator
        >>> nova = NovaOrchestrator()
        >>> task = nova.assign_task('reviewer', 'Review the parser.')
        >>> nova.task_result(task.id, timeout_s=30).body
        'Yes, merge it.'
        """
        return self._run(
            lambda nova: nova.assign_task(
                agent, description, task_id=task_id, priority=priority, ttl_s=ttl_s, sender=sender
            )
        )

    def task_result(self, task_id: str, *, timeout_s: float | None = None) -> Reply:
        """Wait for the result of a task; see AsyncNovaOrchestrator.task_result."""
        return self._run(lambda nova: nova.task_result(task_id, timeout_s=timeout_s))

    def schedule(self, target: str, body: str | bytes, **options: Any) -> dict[str, Any]:
        """Have `body` sent later; options, result and errors of AsyncNovaOrchestrator.schedule."""
        return self._run(lambda nova: nova.schedule(target, body, **options))

    def receipt(self, message_id: str) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        return self._run(lambda nova: nova.receipt(message_id))

    def agents(self, *, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents of the fleet; all of `skills` must match."""
        return self._run(lambda nova: nova.agents(role=role, skills=skills))

    def ping(self, name: str) -> Presence:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`).

        >>> from nova_torch import NovaOrchestrator
        >>> presence = NovaOrchestrator().ping('agent_123')
        >>> presence.alive, presence.kind
        (True, 'agent')
        """
        return self._run(lambda nova: nova.ping(name))

    def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message."""
        return self._run(lambda nova: nova.trace(message_id))

    def history(
        self, *, agent: str | None = None, sender: str | None = None, limit: int = 50
    ) -> list[MessageRecord]:
        """Return the last messages of an agent or a sender; see AsyncNovaOrchestrator.history.

        >>> from nova_torch import NovaOrchestrator
        >>> [row.agent for row in NovaOrchestrator().history(agent='agent_123', limit=1)]
        ['agent_123']
        """
        return self._run(lambda nova: nova.history(agent=agent, sender=sender, limit=limit))

    def on_message(
        self,
        handler: EventHandler,
        *,
        agent: str | None = None,
        sender: str | None = None,
        state: str | None = None,
        priority: str | None = None,
    ) -> None:
        """Have `listen` call `handler` with every change of a message that matches."""
        wanted = Filter(agent=agent, sender=sender, state=state, priority=priority)
        self._listening.on_event(handler, wanted, prefix="message.")

    def on_event(self, handler: EventHandler, *, agent: str | None = None) -> None:
        """Have `listen` call `handler` with every event, of agents too."""
        self._listening.on_event(handler, Filter(agent=agent))

    def on_reply(self, handler: ReplyHandler) -> None:
        """Have `listen` call `handler` with each answer to what this object asked, once."""
        self._listening.on_reply(handler)

    def listen(self, *, timeout_s: float | None = None) -> None:
        """Call the handlers as things happen, for `timeout_s` seconds, else until it is interrupted."""
        self._run(lambda nova: nova.listen(timeout_s=timeout_s))

    def _run(self, ask: Callable[[AsyncNovaOrchestrator], Awaitable[T]]) -> T:
        return run(self._once(ask), name="NovaOrchestrator")

    async def _once(self, ask: Callable[[AsyncNovaOrchestrator], Awaitable[T]]) -> T:
        async with AsyncNovaOrchestrator(
            socket=self._socket, broker=self._broker, gone_s=self._gone_s, listening=self._listening
        ) as nova:
            return await ask(nova)
