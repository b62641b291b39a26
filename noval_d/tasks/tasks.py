"""The tasks of a node: know those of the fleet, take some for idle agents, and see that each comes to its end.

Every node does this for its own agents, and no node leads. Who takes a task is decided in the broker: a move is
made only from the record that was read. An agent has a task as long as it lives: its node watches it, and the lease
of its node is the lease of its tasks. The message that carries a task is accepted here after the task is assigned,
under an id made from task and attempt: after a crash in between it is accepted then, and never twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from nova_torch.broker import Broker, TaskStep
from nova_torch.broker.connection import MAX_BLOCK_S
from nova_torch.errors import BrokerUnavailable, Busy, NovaError, StoreFailed
from nova_torch.values import DELIVERED, Message, MessageId, State
from noval_d.delivery.standing import HAND_OVER, MOVED, OVER
from noval_d.node.pulse import at_most, idle
from noval_d.tasks.assign import by_worth, choose, stand_back_s
from noval_d.tasks.copies import Copies
from noval_d.tasks.graph import held_by, standing
from noval_d.tasks.ground import Ground, Mine
from noval_d.tasks.known import RESTORED, Known
from noval_d.tasks.moves import Moves
from noval_d.tasks.taken import Taken
from noval_d.tasks.task import Status, Task, TaskId, carried, recalled

log = logging.getLogger("nova.tasks")

RETRY_S = 1.0
READ_S = 5.0
LOOK_S = 5.0
"""While tasks are open: at agents that may have died without a word."""
UNDELIVERED = frozenset({State.FAILED, State.EXPIRED, State.DEAD})
TALLIED = ("done", "failed", "released", "overdue")
DAY_MS = 86_400_000
PURGE_MS = 3_600_000
FORGOTTEN_AT_ONCE = 500


class Tasks:
    """What a node knows of tasks, and does with them."""

    def __init__(
        self,
        ground: Ground,
        copies: Copies,
        *,
        takes: Callable[[], bool],
        keep_days: float,
        remind_s: Callable[[], float],
    ) -> None:
        self._ground = ground
        self._takes = takes
        self._keep_days = keep_days
        self._remind_s = remind_s
        self._ready_since: dict[TaskId, int] = {}
        self._changed = asyncio.Event()
        self._loaded = asyncio.Event()
        self._cursor = ""
        self._lost = True  # what the broker lost while this node was down is put back at its first connection
        self._held_until_ms = self._judges_from_ms = 0
        self._purged_ms = 0
        self.known = Known(ground.name, ground.seals, copies, ground.now_ms)
        self._taken = Taken(self.known, ground.name, self._tell)
        self.moves = Moves(ground, self.known, self._changed.set)

    def __repr__(self) -> str:
        return f"<Tasks {self.known!r}>"

    # -- what others say --

    def wake(self) -> None:
        """Look again: an agent or a message of this node changed."""
        self._changed.set()

    def free(self) -> None:
        """Look again, if there is any task: an agent of this node has nothing in hand any more."""
        if self.known.open:
            self._changed.set()

    def broker_up(self, lost: bool) -> None:
        """Read everything anew; first put back what the broker lost.

        Then nothing is given out for the length of a lease: another node may have a later record of a task. Nor is
        any other node called lost so soon: it may not be in the registry again.
        """
        self._judges_from_ms = self._in_a_lease_ms()
        if lost:
            self._lost = True
            self._held_until_ms = self._in_a_lease_ms()
        self._loaded.clear()
        self._changed.set()

    @property
    def held_s(self) -> float:
        """For how long nothing is given out yet, because the broker may have lost tasks; 0: they are given."""
        return max(0, self._held_until_ms - self._ground.now_ms()) / 1000

    def _in_a_lease_ms(self) -> int:
        return self._ground.now_ms() + round(self._ground.link.pace.lease_s * 1000)

    async def read(self) -> None:
        """Return when the open tasks were read. Raises Busy when they cannot be."""
        try:
            async with asyncio.timeout(READ_S):
                await self._loaded.wait()
        except TimeoutError:
            raise Busy("the tasks of the fleet are not read yet.", "Ask again in a moment.") from None

    def of(self, agent: str) -> str:
        """Return the task that an agent has; empty: none."""
        return self.known.holding.get(agent, "")

    def tally(self, agent: str) -> Mapping[str, int]:
        """Return what became of an agent's tasks: how many were done and failed, and ms that the done ones took."""
        return self.known.tallies.get(agent, {})

    async def overtaken(self, message: Message) -> str:
        """Return why a message that tells of a task is not to be typed any more; '' for one that is.

        When the broker cannot be asked, it goes on, and the notice behind it tells its agent.
        """
        name = TaskId(message.headers.get(HAND_OVER, ""))
        broker = self._ground.link.broker
        if not name or broker is None:
            return ""
        try:
            found = await broker.tasks([name])
        except BrokerUnavailable as error:
            self._ground.link.failed(error)
            return ""
        task = self.known.read(found[name]) if name in found else None
        if task is None:  # a broker that lost it is given it back
            return ""
        if task.over:
            return OVER
        stands = task.status is Status.ASSIGNED and message.id in (task.message_id(), task.reminder_id())
        return "" if stands else MOVED

    # -- loops --

    async def run(self) -> None:
        """Take, hand over and take back until cancelled."""
        while True:
            self._changed.clear()
            broker = self._ground.link.broker
            wait_s: float | None = None
            if broker is not None:
                try:
                    if not self._loaded.is_set():
                        await self._load(broker)
                    wait_s = await self._round(broker)
                except BrokerUnavailable as error:
                    self._ground.link.failed(error)
                    self._loaded.clear()
                    wait_s = RETRY_S
                except StoreFailed as error:
                    log.warning("tasks.store_failed", extra={"problem": error.message})
                    wait_s = RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await idle(self._changed.wait)

    async def run_log(self) -> None:
        """Follow the moves of others until cancelled."""
        link = self._ground.link
        while True:
            await idle(self._loaded.wait)
            try:
                broker = await link.wait_up()
                steps = await broker.task_steps(self._cursor, block_ms=round(at_most(MAX_BLOCK_S) * 1000))
                if steps and self._loaded.is_set():
                    await self._follow(broker, steps)
            except BrokerUnavailable as error:
                link.failed(error)
                self._loaded.clear()
                self._changed.set()
            except StoreFailed as error:  # an agent could not be told: it is, from the very step on
                log.warning("tasks.store_failed", extra={"problem": error.message})
                await asyncio.sleep(RETRY_S)

    async def _load(self, broker: Broker) -> None:
        cursor = "" if self._lost else self._cursor  # what others did without the connection is news too
        if self._lost:
            if await self.known.put_back(broker, since_ms=self._keep_from_ms):
                self._held_until_ms = self._in_a_lease_ms()
            self._lost = False
            self._taken.remember(self._keep_from_ms)
        cursor = cursor or await broker.last_task_step()
        await self.known.load(broker)
        self._cursor = cursor
        self._loaded.set()

    async def _follow(self, broker: Broker, steps: list[TaskStep]) -> None:
        """Learn what others did; tell an agent of this node whose task was taken from it."""
        restored = any(step.what == RESTORED and step.node != self._ground.name for step in steps)
        if restored and not self.held_s:  # the broker lost its data, and another node noticed it first
            self.broker_up(lost=True)
            return
        mine = self._mine()
        found = await broker.tasks(sorted({step.task for step in steps}))
        if any(step.what in TALLIED for step in steps):
            self.known.tallies = await broker.task_tallies()
        self.known.take(found)
        for step in steps:
            task = self.known.tasks.get(TaskId(step.task))
            await self._taken.hear(step, task, found.get(step.task), mine)
            self._publish(step, task)
            self._cursor = step.entry
        await self.known.complete(broker)
        self._changed.set()

    # -- a round --

    async def _round(self, broker: Broker) -> float | None:
        """Do what is to be done; return the seconds until something may be, None when no task is open."""
        latest_ms = self._in_a_lease_ms()  # a clock that was set back makes nothing longer
        self._held_until_ms = min(self._held_until_ms, latest_ms)
        self._judges_from_ms = min(self._judges_from_ms, latest_ms)
        await self._forget_old(broker)
        await self._taken.catch_up(broker, self._mine)
        if not self.known.open:
            return None
        if any(self.known.unsure(task) for task in self.known.open):
            await self.known.complete(broker)
        mine = self._mine()
        await self._tend(broker, mine)
        wait_s = await self._assign(broker, mine)
        open_tasks = self.known.open
        now_ms = self._ground.now_ms()
        due = [task.due_ms for task in open_tasks if task.due_ms is not None and task.agent in mine]
        return max(0.001, min([LOOK_S, wait_s, *((at - now_ms) / 1000 for at in due)]))

    async def _tend(self, broker: Broker, mine: Mapping[str, Mine]) -> None:
        """See that every task that is assigned is with an agent that lives, and was told of it."""
        for task in [task for task in self.known.open if task.status is Status.ASSIGNED]:
            reason = await self._why_back(task, mine)
            if reason:
                await self._take_back(broker, task, reason)
            elif task.agent in mine and await self._carry(broker, task):
                await self._remind(broker, task, mine[task.agent])

    async def _why_back(self, task: Task, mine: Mapping[str, Mine]) -> str:
        agent = mine.get(task.agent)
        if agent is None:
            if task.node == self._ground.name:
                return f"{task.agent} is not registered here any more"
            if self._ground.now_ms() < self._judges_from_ms:
                return ""
            return await self._ground.lost(task.node, task.agent)
        if agent.gone:
            return f"{task.agent}: {agent.gone}"
        if agent.life and agent.life != task.life:
            return f"{task.agent} was started anew"
        if task.due_ms is not None and self._ground.now_ms() >= task.due_ms:
            return "the time for it is over"
        return ""

    async def _take_back(self, broker: Broker, task: Task, reason: str) -> None:
        now_ms = self._ground.now_ms()
        late = task.due_ms is not None and now_ms >= task.due_ms
        new = task.released(reason, now_ms=now_ms, what="overdue" if late else "released")
        if not await self._moved(broker, task, new, tally={"failed": 1} if late else None):
            return
        log.warning("tasks.released", extra={"task": task.id, "agent": task.agent, "problem": reason})

    async def _carry(self, broker: Broker, task: Task) -> bool:
        """Accept the message that tells the agent of its task, if it is not yet; give up what cannot be told.

        Return whether the agent is known to have been told.
        """
        if task.claimed:
            return True
        self._taken.told[task.id, task.agent] = task.message_id()
        state = self._ground.message_state(task.message_id())
        reason = ""
        if state is None:
            reason = await self._tell(
                task.agent, task, carried(task), task.message_id(), {HAND_OVER: task.id}
            )
        elif state in UNDELIVERED:
            reason = f"message {task.message_id()}, which told {task.agent} of it, is {state.value}"
        if reason:
            await self._take_back(broker, task, reason)
        return not reason and state in DELIVERED

    async def _remind(self, broker: Broker, task: Task, agent: Mine) -> None:
        """Remind an agent whose turn has ended, and its task has not: once for each time that it was given one."""
        now_ms, after_s = self._ground.now_ms(), self._remind_s()
        rest_s = min(agent.rest_s, (now_ms - task.since_ms) / 1000)
        if not after_s or rest_s < after_s or self._ground.message_state(task.reminder_id()) is not None:
            return
        if not await self._tell(task.agent, task, recalled(task), task.reminder_id(), {HAND_OVER: task.id}):
            new = task.reminded(f"idle for {rest_s:.0f} s, and not ended", now_ms=now_ms)
            await self._moved(broker, task, new)

    async def _tell(
        self, agent: str, task: Task, body: str, message: MessageId, headers: Mapping[str, str]
    ) -> str:
        """Send a message to an agent of this node; return why that cannot be, empty when it is accepted."""
        try:
            await self._ground.tell(agent, body, message, task, headers)
        except StoreFailed:
            raise
        except NovaError as error:
            log.warning("tasks.not_told", extra={"task": task.id, "agent": agent, "problem": error.message})
            return f"{agent} cannot be told of it: {error.message}"
        return ""

    async def _moved(
        self, broker: Broker, old: Task, new: Task, *, tally: Mapping[str, int] | None = None
    ) -> bool:
        """Make a move; look again soon when somebody was quicker."""
        if await self.known.write(broker, old, new, tally=tally, agent=old.agent or new.agent):
            return True
        self._changed.set()
        return False

    async def _assign(self, broker: Broker, mine: Mapping[str, Mine]) -> float:
        """Take tasks for idle agents of this node; return the seconds until one more may be taken."""
        link = self._ground.link
        if not link.lease_ok or not self._takes():
            return LOOK_S
        now_ms = self._ground.now_ms()
        if self.held_s:
            return self.held_s
        ready = [task for task in self.known.open if self._is_ready(task)]
        self._ready_since = {task.id: min(self._ready_since.get(task.id, now_ms), now_ms) for task in ready}
        free = [
            each.candidate
            for each in mine.values()
            if each.life and each.candidate.agent not in self.known.holding
        ]
        pairs = choose(ready, free)
        if not pairs:
            return LOOK_S
        others = by_worth(
            each
            for each in await self._ground.others(self.known.tallies)
            if not each.why_not and each.agent not in self.known.holding
        )
        wait_s = LOOK_S
        for task, verdict in pairs:
            left_s = stand_back_s(task, verdict, others) - (now_ms - self._ready_since[task.id]) / 1000
            if left_s > 0:
                wait_s = min(wait_s, left_s)
                continue
            agent = verdict.candidate.agent
            new = task.assigned(
                agent, self._ground.name, mine[agent].life, now_ms=now_ms, why=f"score {verdict.told}"
            )
            async with self.moves.giving:  # it may take another one itself meanwhile
                given = agent not in self.known.holding and await self._moved(broker, task, new)
            if given and not await self._why_back(new, self._mine()):
                await self._carry(broker, new)
        return wait_s

    def _mine(self) -> dict[str, Mine]:
        return self._ground.mine(self.known.tallies)

    def _is_ready(self, task: Task) -> bool:
        waits = self.known.unsure(task) or held_by(task, self.known.tasks.get)
        return task.status is Status.QUEUED and not waits

    async def _forget_old(self, broker: Broker) -> None:
        now_ms = self._ground.now_ms()
        if now_ms - self._purged_ms < PURGE_MS:
            return
        self._purged_ms = now_ms
        await self.known.keep_open()
        full = True
        while full:
            old = await broker.tasks_ended_before(self._keep_from_ms, FORGOTTEN_AT_ONCE)
            gone = await broker.forget_tasks([name for name in old if TaskId(name) not in self.known.tasks])
            full = gone > 0 and len(old) == FORGOTTEN_AT_ONCE

    @property
    def _keep_from_ms(self) -> int:
        return self._ground.now_ms() - int(self._keep_days * DAY_MS)

    def _seen(self, task: Task) -> str:
        """Return the state of a task as people see it; what it depends on may not have been read yet."""
        state, _ = standing(task, self.known.tasks.get)
        return "waiting" if state == "ready" and self.known.unsure(task) else state

    def _publish(self, step: TaskStep, task: Task | None) -> None:
        self._ground.publish(
            {
                "at_ms": self._ground.now_ms(),
                "event": f"task.{step.what}",
                "id": "",
                "task": step.task,
                "title": task.title if task is not None else "",
                "agent": step.agent,
                "state": self._seen(task) if task is not None else step.what,
                "reason": task.steps[-1].reason if task is not None and task.steps else "",
                "node": step.node,
            }
        )
