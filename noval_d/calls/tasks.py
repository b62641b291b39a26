"""Answer the calls about tasks: add, list, show, claim, update, done, fail, cancel, reassign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from nova_torch.clean import checked_body, clean
from nova_torch.durations import spoken
from nova_torch.errors import AgentNotFound, Busy, Conflict, InvalidRequest, NotAllowed, ShuttingDown
from nova_torch.nearest import suggestion
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AGENT_ID, Priority
from noval_d.calls.schedules import Schedules
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.delivery.template import is_agent
from noval_d.scale.seeing import could_be_started
from noval_d.tasks.assign import lacking, ranked, refuse_impossible, unfit
from noval_d.tasks.graph import Find, standing
from noval_d.tasks.task import Status, Task, TaskId

OVER_ROWS = 500
TITLE_CHARS = 200
ARTIFACTS = 50
SHOWN = 20
"""So many candidates are explained, the best first."""
MOST_S = 366 * 86400.0


class TaskCalls(Schedules):
    """One method a call."""

    async def task_add(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Add a task. The same id again is the same task."""
        node, asked = self._node, Args(args)
        if node.stopping.is_set():
            raise ShuttingDown("the daemon is stopping and takes no tasks.", "Add it again in a moment.")
        task = await self._asked_for(peer, asked)
        self._demand_move(peer, asked, task, self._caller(peer, asked))
        known = await node.tasks.moves.named([task.id, *task.depends_on])
        missing = [name for name in task.depends_on if name not in known]
        if missing:
            raise InvalidRequest(f"no task {missing[0]} is known.", "See them all: novactl task list --all")
        if task.id not in known:
            scaled = could_be_started(node.config.scaling, node.config.agents, task)
            if not asked.flag("anyway") and not scaled:
                refuse_impossible(task, await node.tasks.moves.candidates())
            if len(node.tasks.known.open) >= node.config.tasks.max_open:
                raise Busy(
                    f"{node.config.tasks.max_open} tasks are open (tasks.max_open).",
                    "Wait until some are done, or cancel some: novactl task list",
                )
        return self._row(await node.tasks.moves.add(task), known.get)

    async def task_list(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the open tasks of the fleet, in the order in which they are given; with `all` the last others."""
        asked = Args(args)
        role, agent, state = (asked.optional_text(name) for name in ("role", "agent", "state"))
        tasks = await self._node.tasks.moves.all(over=OVER_ROWS if asked.flag("all") or state in _OVER else 0)
        known = {task.id: task for task in tasks}
        wanted = {name for task in tasks for name in task.depends_on} - known.keys()
        known |= await self._node.tasks.moves.named(wanted) if wanted else {}
        rows = [self._row(task, known.get) for task in tasks]
        asked_for = (("role", role), ("agent", agent), ("state", state))
        return [row for row in rows if all(value is None or row[name] == value for name, value in asked_for)]

    async def task_show(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return one task with all that happened to it, and which agents could have it."""
        tasks = self._node.tasks.moves
        task = await tasks.get(Args(args).text("id").upper())
        known = await tasks.named(task.depends_on) if task.depends_on else {}
        further = {name for other in known.values() for name in other.depends_on} - known.keys()
        find = {**known, **(await tasks.named(further) if further else {})}.get
        private = peer.access >= Access.WRITE
        candidates = await tasks.candidates() if task.status is Status.QUEUED else ()
        verdicts, row = ranked(task, candidates), self._row(task, known.get)
        if row["state"] == "ready" and (missing := lacking(task, candidates)):
            row["reason"] = missing
        return {
            **row,
            "body": task.body if private else None,
            "result": task.result if private else None,
            "artifacts": list(task.artifacts),
            "depends_on": [
                {"id": name, "state": standing(known[name], find)[0] if name in known else "done"}
                for name in task.depends_on
            ],
            "steps": [asdict(step) for step in task.steps],
            "candidates": [verdict.to_json() for verdict in verdicts[:SHOWN]],
        }

    async def task_claim(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Give a task, or the first that fits, to the agent that asks."""
        asked, tasks, node = Args(args), self._node.tasks.moves, self._node
        agent = self._caller(peer, asked)
        self._demand("task", peer, asked, node.guard.party(agent))
        life = tasks.life_of(agent)
        if not life:
            raise NotAllowed(
                f"{agent} is no agent of this node.",
                "Claim a task in an agent's pane, or: novactl task reassign ID --to AGENT",
            )
        tasks.broker()
        await node.tasks.read()
        async with tasks.giving:
            return await self._claimed(agent, life, asked.optional_text("id"))

    async def _claimed(self, agent: str, life: str, named: str | None) -> dict[str, Any]:
        tasks, node = self._node.tasks.moves, self._node
        if held := node.tasks.of(agent):
            task = await tasks.get(held)
            if task.claimed and (named or held).upper() == held:
                return {**self._row(task, _nothing), "body": task.body}  # asked again: its answer was lost
            raise Conflict(f"{agent} has task {held}.", f"End it first: novactl task done {held}")
        if node.tasks.held_s:
            raise Busy(
                "the broker began anew, and the nodes put back what it may have lost.",
                f"Ask again in {spoken(node.tasks.held_s)}.",
            )
        name = named.upper() if named is not None else await self._first_for(agent)
        known = await tasks.named((await tasks.get(name)).depends_on)
        _, task = await tasks.change(
            name,
            lambda task: _unheld(task, known).assigned(
                agent, node.name, life, now_ms=node.clock_ms(), by=agent, why="it asked for it"
            ),
        )
        return {**self._row(task, known.get), "body": task.body}

    async def task_update(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Change what is asked for, or what its agent says of it."""
        asked, tasks, node = Args(args), self._node.tasks.moves, self._node
        name, by = asked.text("id").upper(), self._caller(peer, asked)
        changes: dict[str, Any] = {}
        if (note := asked.optional_text("note")) is not None:
            changes["note"] = self._text(note, "note")
        if (progress := asked.optional_integer("progress", least=0, most=100)) is not None:
            changes["progress"] = progress
        own = set(changes)
        if (title := asked.optional_text("title")) is not None:
            changes["title"] = _title(title)
        if (priority := asked.optional_choice("priority", [p.value for p in Priority])) is not None:
            changes["priority"] = Priority(priority)
        if (deadline_s := asked.optional_number("deadline_s", least=1, most=MOST_S)) is not None:
            changes["deadline_s"] = deadline_s
        depends_on = self._depends_on(asked) if "depends_on" in args else None
        if not changes and depends_on is None:
            raise InvalidRequest(
                "nothing is to be changed.", "Give --note, --progress, --title, --priority …"
            )
        task = await tasks.get(name)
        self._demand_move(peer, asked, task, by)
        if set(changes) - own or depends_on is not None:
            _demand_owner(task, by)
        else:
            _demand_holder(task, by, self._node.name)
        if depends_on is not None:
            known = await tasks.named(depends_on)
            missing = [each for each in depends_on if each not in known]
            if missing:
                raise InvalidRequest(f"no task {missing[0]} is known.", "See: novactl task list --all")
            task = await tasks.rewire(name, depends_on, now_ms=node.clock_ms(), by=by)
        if changes:
            _, task = await tasks.change(
                name, lambda old: old.edited(now_ms=node.clock_ms(), by=by, **changes)
            )
        return self._row(task, (await tasks.named(task.depends_on)).get)

    async def task_done(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """End a task well, with its result. Twice with the same result is once."""
        asked, node = Args(args), self._node
        by = self._caller(peer, asked)
        result = self._text(asked.optional_text("result") or "", "result")
        artifacts = tuple(clean(name) for name in asked.texts("artifacts"))
        if len(artifacts) > ARTIFACTS or any(len(name) > 1024 for name in artifacts):
            raise InvalidRequest(f"at most {ARTIFACTS} artifacts of 1024 characters are kept.")

        def make(task: Task) -> Task:
            self._demand_move(peer, asked, task, by)
            _demand_holder(task, by, self._node.name)
            return task.done(result, artifacts, now_ms=node.clock_ms(), by=by)

        name = asked.text("id").upper()
        known = await node.tasks.moves.get(name)
        again = known.status is Status.DONE and known.steps and known.steps[-1].who == by
        if again and (known.result, known.artifacts) == (result, artifacts):
            return self._row(known, _nothing)
        _, task = await node.tasks.moves.change(
            name, make, tally=lambda old: {"done": 1, "ms": max(0, node.clock_ms() - old.since_ms)}
        )
        return self._row(task, _nothing)

    async def task_fail(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Give a task back: another agent gets it, unless it is `final` or was given too often."""
        asked, node = Args(args), self._node
        by, final = self._caller(peer, asked), asked.flag("final")
        reason = self._text(asked.text("reason"), "reason")

        def make(task: Task) -> Task:
            self._demand_move(peer, asked, task, by)
            _demand_holder(task, by, self._node.name)
            return task.released(reason, now_ms=node.clock_ms(), final=final, by=by)

        name = asked.text("id").upper()
        waiting = await self._waiting_for(name)
        _, task = await node.tasks.moves.change(name, make, tally=lambda _old: {"failed": 1})
        return {**self._row(task, _nothing), "blocks": waiting if task.over else []}

    async def task_cancel(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """End a task without a result; the agent that has it is told."""
        asked, node = Args(args), self._node
        by = self._caller(peer, asked)
        reason = self._text(asked.optional_text("reason") or "", "reason")

        def make(task: Task) -> Task:
            self._demand_move(peer, asked, task, by)
            _demand_owner(task, by)
            return task.cancelled(now_ms=node.clock_ms(), by=by, reason=reason)

        name = asked.text("id").upper()
        waiting = await self._waiting_for(name)
        _, task = await node.tasks.moves.change(name, make)
        return {**self._row(task, _nothing), "blocks": waiting}

    async def task_reassign(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Let a task wait again, for anybody or for one agent; one that failed is opened again."""
        asked, node = Args(args), self._node
        by, to = self._caller(peer, asked), asked.optional_text("to") or ""
        if to:
            self._demand("task", peer, asked, node.guard.party(to))
        there = {each.agent: each for each in (await node.tasks.moves.candidates() if to else ())}
        if to and to not in there:
            cure = suggestion(to, there, otherwise="See them all: novactl agents")
            raise AgentNotFound(f"no agent {to!r} is registered.", cure)

        def make(task: Task) -> Task:
            self._demand_move(peer, asked, task, by)
            _demand_owner(task, by)
            if to and (why := unfit(replace(task, wanted=to), there[to])):
                raise Conflict(f"{to} cannot have task {task.id}: {why}.", "Name an agent that fits.")
            return task.reassigned(to, now_ms=node.clock_ms(), by=by)

        _, task = await node.tasks.moves.change(asked.text("id").upper(), make)
        return self._row(task, (await node.tasks.moves.named(task.depends_on)).get)

    # -- parts --

    async def _waiting_for(self, name: str) -> list[TaskId]:
        """Return the open tasks that depend on this one: if it ends without being done, they are blocked."""
        return [task.id for task in await self._node.tasks.moves.all() if name in task.depends_on]

    def _demand_move(self, peer: Peer, asked: Args, task: Task, by: str) -> None:
        """Raise NotAllowed when the policy denies moving tasks of who has it; one that waits is of who asks."""
        self._demand("task", peer, asked, self._node.guard.party(task.agent or by))

    async def _asked_for(self, peer: Peer, asked: Args) -> Task:
        node, now_ms = self._node, self._node.clock_ms()
        named = asked.optional_text("id")
        if named is not None and not is_ulid(named):
            raise InvalidRequest(
                f"{named[:40]!r} is not a ULID.", "Leave the id away, or give 26 letters of base 32."
            )
        sender = self._sender(peer, asked)
        role = asked.optional_text("role") or ""
        skills = tuple(dict.fromkeys(asked.texts("skills")))
        for word in (role, *skills):
            if word and not AGENT_ID.match(word):
                raise InvalidRequest(
                    f"{word[:40]!r} is no role and no skill.", "Use letters, digits, '_', '.', '-'."
                )
        retries = asked.optional_integer("retries", least=0, most=1000)
        return Task(
            id=TaskId(named or new_ulid(now_ms)),
            title=_title(asked.text("title")),
            body=self._text(asked.optional_text("body") or "", "body"),
            role=role,
            skills=skills,
            priority=Priority(
                asked.optional_choice("priority", [p.value for p in Priority]) or Priority.NORMAL
            ),
            deadline_s=asked.optional_number("deadline_s", least=1, most=MOST_S),
            retries=node.config.tasks.retries if retries is None else retries,
            depends_on=self._depends_on(asked),
            creator=sender,
            origin=node.name,
            answers=await self._answers_to(sender),
            created_ms=now_ms,
            since_ms=now_ms,
        )

    def _depends_on(self, asked: Args) -> tuple[TaskId, ...]:
        names = tuple(dict.fromkeys(name.upper() for name in asked.texts("depends_on")))
        for name in names:
            if not is_ulid(name):
                raise InvalidRequest(
                    f"{name[:40]!r} is no task's id.", "See them all: novactl task list --all"
                )
        return tuple(TaskId(name) for name in names)

    def _text(self, text: str, name: str) -> str:
        if not text:
            return ""
        try:
            return checked_body(text, max_bytes=self._node.config.tasks.max_body_bytes)
        except InvalidRequest as error:
            raise type(error)(f"the {name}: {error.message}", error.hint) from None

    async def _first_for(self, agent: str) -> str:
        tasks = self._node.tasks.moves
        mine = [each for each in await tasks.candidates() if each.agent == agent]
        open_tasks = await tasks.all()
        known = {task.id: task for task in open_tasks}
        for task in open_tasks:
            if standing(task, known.get)[0] == "ready" and any(
                not verdict.why_not or verdict.why_not == each.why_not
                for each in mine
                for verdict in ranked(task, [each])
            ):
                return task.id
        raise AgentNotFound(f"no task waits that {agent} could have.", "See them all: novactl task list")

    def _row(self, task: Task, find: Find) -> dict[str, Any]:
        state, reason = standing(task, find)
        return {
            "id": task.id,
            "title": task.title,
            "state": state,
            "reason": reason,
            "role": task.role,
            "skills": list(task.skills),
            "priority": task.priority.value,
            "agent": task.agent,
            "node": task.node,
            "attempt": task.attempt,
            "retries": task.retries,
            "deadline_s": task.deadline_s,
            "due_ms": task.due_ms,
            "progress": task.progress,
            "wanted": task.wanted,
            "creator": task.creator,
            "created_ms": task.created_ms,
            "since_ms": task.since_ms,
            "message": task.message_id() if task.status is Status.ASSIGNED and not task.claimed else None,
        }


_OVER = ("done", "failed", "cancelled")


def _nothing(_name: TaskId) -> None:
    return None


def _title(text: str) -> str:
    title = clean(text).strip()
    if not title or "\n" in title or len(title) > TITLE_CHARS:
        raise InvalidRequest(
            f"a title is one line of 1 to {TITLE_CHARS} characters.",
            "Put the rest into the body: --body, --file",
        )
    return title


def _unheld(task: Task, known: Mapping[TaskId, Task]) -> Task:
    waits = [name for name in task.depends_on if name in known and known[name].status is not Status.DONE]
    if waits and task.status is Status.QUEUED:
        raise Conflict(f"task {task.id} depends on {', '.join(waits)}.", f"See: novactl task show {task.id}")
    return task


def _demand_holder(task: Task, by: str, node: str) -> None:
    """Raise NotAllowed when an agent of this node speaks of a task that is not its own; people may.

    Nor may the old pane of one that was started elsewhere, which has its name.
    """
    if is_agent(by) and task.status is Status.ASSIGNED and (task.agent, task.node) != (by, node):
        whose = f"{task.agent}'s" if task.agent != by else f"that of {by} of node {task.node}"
        raise NotAllowed(f"task {task.id} is {whose}, not {by}'s.", f"See: novactl task show {task.id}")
    if is_agent(by) and task.status is Status.QUEUED:
        raise NotAllowed(
            f"task {task.id} is not {by}'s: it waits for an agent.",
            f"Take it first: novactl task claim {task.id}",
        )


def _demand_owner(task: Task, by: str) -> None:
    """Raise NotAllowed when an agent changes a task that it did not add; people may."""
    if is_agent(by) and task.creator != by:
        raise NotAllowed(f"task {task.id} was added by {task.creator}, not by {by}.", "Ask its creator.")
