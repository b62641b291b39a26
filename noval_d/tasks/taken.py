"""Tell agents of this node what was taken from them, also what was taken while this node was down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from nova_torch.broker import Broker, TaskStep
from nova_torch.values import MessageId, NodeId
from noval_d.delivery.standing import TAKES_BACK
from noval_d.tasks.ground import Mine
from noval_d.tasks.known import Known
from noval_d.tasks.task import Task, TaskId, taken_back

TAKEN = ("cancelled", "reassigned", "overdue")
GIVEN_BACK = ("released", "failed")
"""What its own node does when the agent says so, or has ended; what another node does, the agent is told."""
BY_PEOPLE = (*GIVEN_BACK, "done")
"""What people may do, too: the agent does not know of it."""
ENDED = frozenset((*TAKEN, *BY_PEOPLE))
"""Steps after which an agent has a task no longer."""

Tell = Callable[[str, Task, str, MessageId, Mapping[str, str]], Awaitable[str]]


class Taken:
    """What the agents of a node have had. Methods raise BrokerUnavailable and StoreFailed."""

    def __init__(self, known: Known, name: NodeId, tell: Tell) -> None:
        self._known = known
        self._name = name
        self._tell = tell
        self.told: dict[tuple[str, str], MessageId] = {}
        """By task and agent of this node that has it: the message that tells of it."""
        self._missed: dict[TaskId, Task] = {}
        """What agents of this node had when it wrote of it last: it may have been taken from them since."""

    def __repr__(self) -> str:
        return f"<Taken {len(self.told)} told, {len(self._missed)} to be looked at>"

    def remember(self, since_ms: int) -> None:
        """Look with the next `catch_up` at what the agents of this node had."""
        self._missed = self._known.held_here(since_ms)

    async def hear(
        self, step: TaskStep, task: Task | None, raw: bytes | None, mine: Mapping[str, Mine]
    ) -> None:
        """Tell an agent of this node when this step took its task: not when it ended it itself."""
        move = task.step_to(step.rank) if task is not None else None
        by_other = step.node != self._name if step.what in GIVEN_BACK else step.what in TAKEN
        if step.what in BY_PEOPLE and move is not None:
            by_other = by_other or move.who != step.agent
        if by_other and step.agent in mine and task is not None and task.lost(step.agent, step.rank):
            told = self.told.get((task.id, step.agent))
            await self._take(task, raw, step.agent, step.what, step.rank, told)
        if step.what in ENDED:
            self.told.pop((step.task, step.agent), None)

    async def catch_up(self, broker: Broker, mine: Callable[[], Mapping[str, Mine]]) -> None:
        """Tell agents what was taken from them while nobody here heard of it, as soon as each is seen to live."""
        if not self._missed:
            return
        agents, found = mine(), await broker.tasks(sorted(self._missed))
        for held in list(self._missed.values()):
            agent, raw = agents.get(held.agent), found.get(held.id)
            if agent is not None and not agent.life and not agent.gone:
                continue
            task = self._known.read(raw) if raw else None
            if agent is not None and agent.life == held.life and task is not None:
                end = task.ended_since(held, ENDED)
                if end is not None and (end.what != "done" or end.who != held.agent):
                    told = None if held.claimed else held.message_id()
                    await self._take(task, raw, held.agent, end.what, task.rank, told)
            del self._missed[held.id]  # only now: where it could not be told, it is tried again

    async def _take(
        self, task: Task, raw: bytes | None, agent: str, what: str, rank: str, told: MessageId | None
    ) -> None:
        """Tell an agent that it has a task no longer, and take back what told of it if that was not typed yet."""
        headers = {TAKES_BACK: told} if told else {}
        await self._tell(agent, task, taken_back(task, what), task.notice_id(agent, rank), headers)
        seen = self._known.read(raw) if raw else None
        if raw and seen is not None and seen.rank == task.rank:
            await self._known.keep(task, raw)
