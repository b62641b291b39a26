"""Keep one spawned agent: start it, get it ready, notice its end, start it again as its policy says, stop it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova_torch.errors import (
    InternalError,
    MessageNotFound,
    NovaError,
    PaneNotFound,
    StoreFailed,
    TmuxUnavailable,
)
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, MessageId
from noval_d.life.archive import archive_name, keep, summary
from noval_d.life.beginning import Beginning
from noval_d.life.plan import Life, Phase
from noval_d.life.policy import Again, Exit, GiveUp, Limits, after_exit, recent
from noval_d.life.program import Program
from noval_d.node.retire import retire

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.life.book import Book
    from noval_d.life.starter import Starter
    from noval_d.node.node import Node

log = logging.getLogger("nova.life")

LOOK_S = 0.1  # while it is not ready
GLANCE_S = 0.5  # at a process that runs: one file of /proc
TROUBLED_S = 1.0


@dataclass(slots=True, kw_only=True)
class Order:
    """Something that a person wants of a running life; `done` gets the outcome."""

    stop: bool
    force: bool
    done: asyncio.Future[Mapping[str, Any]]


class Keeper:
    """One agent's life. `run` is a task of the node; orders are given through `order`."""

    def __init__(self, node: Node, book: Book, starter: Starter, agent: Agent, life: Life) -> None:
        self._node = node
        self._book = book
        self._starter = starter
        self.agent = agent
        self.life = life
        agent.launching = life.phase in (Phase.STARTING, Phase.LAUNCHED)
        agent.kept = True
        agent.session = life.session
        agent.prompted = life.phase is Phase.LAUNCHED and starter.carries(agent, life)
        self.started: asyncio.Future[None] | None = None
        """Of a spawn whose caller waits: done when the program runs, or failed, and then nothing is left."""
        self.by_order = False
        """Its next start was ordered by a person: it may start a tmux server."""
        self._order: Order | None = None
        self._news = asyncio.Event()
        self._beginning = Beginning(node, starter, agent, self._tell)
        self._program = Program(node, agent)

    def __repr__(self) -> str:
        return f"<Keeper {self.life.agent} {self.life.phase} starts={self.life.starts}>"

    @property
    def ready(self) -> bool:
        """Whether the agent has been ready since its present start."""
        return self.life.phase is Phase.READY

    def order(self, *, stop: bool, force: bool) -> asyncio.Future[Mapping[str, Any]]:
        """Have the agent stopped or restarted; return the future of the outcome."""
        done: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        if self._order is not None:
            done.set_exception(
                NovaError(f"agent {self.agent.id} already has an order.", "Again in a moment.")
            )
            return done
        self._order = Order(stop=stop, force=force, done=done)
        self._news.set()
        return done

    def look(self) -> None:
        """Have it look at its agent now: a hook has told something."""
        if self.agent.session != self.life.session:
            self._news.set()

    async def run(self) -> None:
        """Go on from the life's phase until it is over."""
        try:
            await self._run()
        finally:
            why = NovaError(f"agent {self.agent.id} is no longer in this node's care.", "See: novactl agents")
            for waiting in (self.started, self._order.done if self._order is not None else None):
                if waiting is not None and not waiting.done():
                    waiting.set_exception(why)

    async def _run(self) -> None:
        while True:
            try:
                if not await self._step():
                    return
            except NovaError as error:
                log.warning("life.troubled", extra={"agent": self.life.agent, "problem": error.message})
                await self._pause(TROUBLED_S)
            except Exception:  # a defect of ours, met by one agent: the others and the node live on
                log.exception("life.failed", extra={"agent": self.life.agent})
                await self._pause(TROUBLED_S)

    async def _step(self) -> bool:
        """Do what the phase asks for; False when the life is over."""
        order, self._order = self._order, None
        if order is not None:
            return await self._obey(order)
        match self.life.phase:
            case Phase.STARTING:
                return await self._start()
            case Phase.LAUNCHED | Phase.READY:
                await self._watch()
            case Phase.WAITING:
                await self._wait()
            case Phase.EXITED:
                await self._pause(None)
            case Phase.STOPPING:
                await self._stop(force=False)
                return False
        return True

    # -- starting --

    async def _start(self) -> bool:
        agent, node = self.agent, self._node
        by_order, self.by_order = self.by_order, False
        agent.launching, agent.ending = True, False
        agent.restate()
        if not by_order and node.tmux.state != "up":
            await self._pause(TROUBLED_S)  # no policy starts a tmux server
            return True
        self._beginning = Beginning(node, self._starter, agent, self._tell)
        try:
            life, prompt = await self._starter.start(agent, self.life, self._become, may_start=by_order)
        except NovaError as error:
            return await self._start_failed(error)
        self.life = life.to(Phase.STARTING)  # until its prompt is accepted: else a death here would forget it
        refused = await self._send_prompt(prompt) if prompt else None
        await self._become(self.life.to(Phase.LAUNCHED))
        self._tell("life.started", "resumed" if life.resumed else "")
        if self.started is not None and not self.started.done():
            if refused is None:
                self.started.set_result(None)
            else:
                self.started.set_exception(refused)
        return True

    async def _start_failed(self, error: NovaError) -> bool:
        """Undo the first start of a spawn; any other one counts as an end of the program."""
        log.warning("life.not_started", extra={"agent": self.agent.id, "problem": error.message})
        waiting, self.started = self.started, None
        if waiting is not None and not waiting.done():
            await self.bury(f"agent {self.agent.id} could not be started")
            waiting.set_exception(error)
            return False
        await self._ended(Exit(code=127), error.message)
        return True

    async def _send_prompt(self, prompt: str) -> NovaError | None:
        """Send the first prompt as a message, once for each start; one that still waits serves the next one too.

        Return what is to be said when it is not accepted. Raises StoreFailed.
        """
        node, life = self._node, self.life
        if life.prompt_of != life.token:
            message_id = life.prompt_id if self._is_open(life.prompt_id) else new_ulid()
            await self._become(replace(life, prompt_id=message_id, prompt_of=life.token))
        try:
            message = node.orchestrator.compose(
                self.agent.id,
                prompt.encode(),
                message_id=self.life.prompt_id,
                sender=self.life.plan.owner,
                headers={"origin": node.name, "agent": self.agent.id},
            )
            await node.postbox.post(message)
        except StoreFailed:
            raise
        except NovaError as error:
            log.warning("life.no_prompt", extra={"agent": self.agent.id, "problem": error.message})
            return NovaError(
                f"agent {self.agent.id} runs, and was not sent its first prompt: {error.message}",
                f"{error.hint} Then send it: novactl send {self.agent.id}".strip(),
            )
        return None

    def _is_open(self, message: str) -> bool:
        try:
            return bool(message) and not self._node.outbox.receipt(MessageId(message)).final
        except MessageNotFound:
            return False

    # -- watching --

    async def _watch(self) -> None:
        while self._order is None:
            program = self.agent.facts
            ended = await self._program.exit()
            if ended is not None:
                await self._program.end_rest(program)
                await self._ended(ended)
                return
            if self.life.phase is Phase.LAUNCHED:
                await self._get_ready()
            await self._starter.follow(self.agent)
            if self.agent.session and self.agent.session != self.life.session:
                await self._become(self.life)
            await self._pause(GLANCE_S if self.ready else LOOK_S)

    async def _get_ready(self) -> None:
        agent = self.agent
        if await self._beginning.look(self.life.plan.allow):
            agent.launching = False
            await self._become(self.life.to(Phase.READY, gave_up=""))
            agent.restate()
            agent.wake.set()
            self._tell("life.ready")

    async def _ended(self, ended: Exit, why: str = "") -> None:
        """Write down that the program ended, and what follows from that."""
        node, life, agent = self._node, self.life, self.agent
        now, settings = node.clock_ms(), node.config.life
        limits = Limits(
            tries=settings.tries,
            window_s=settings.tries_window_s,
            first_s=settings.back_off_s,
            most_s=settings.back_off_most_s,
        )
        said = why or str(ended)
        if life.resumed and life.phase is Phase.LAUNCHED and ended.failed:
            agent.session = ""  # the conversation could not be resumed: the next start begins a new one
        agent.launching = False
        agent.restate()
        tries = recent(life.tries_ms, now, limits)
        decision = after_exit(life.plan.restart, ended, tries, now, random.random(), limits)
        match decision:
            case Again(after_s):
                due = now + int(after_s * 1000)
                await self._become(life.to(Phase.WAITING, due_ms=due, tries_ms=(*tries, now), gave_up=""))
            case GiveUp(reason):
                await self._become(life.to(Phase.EXITED, gave_up=reason))
            case _:
                await self._become(life.to(Phase.EXITED, gave_up=""))
        self._tell("life.exited", said)
        if self.life.gave_up:
            self._tell("life.gave_up", self.life.gave_up)

    async def _wait(self) -> None:
        """Let the pause before the next start pass; a clock that was set back does not make it longer."""
        node = self._node
        left_s = (self.life.due_ms - node.clock_ms()) / 1000
        await self._pause(min(max(left_s, 0.0), node.config.life.back_off_most_s))
        if self._order is None:
            await self._become(self.life.to(Phase.STARTING))

    # -- orders --

    async def _obey(self, order: Order) -> bool:
        try:
            if order.stop:
                outcome = await self._stop(force=order.force)
                order.done.set_result(outcome)
                return False
            how = await self._program.end(order.force)
            self.agent.launching, self.agent.ending = True, False
            self.agent.restate()
            await self._become(self.life.to(Phase.STARTING, tries_ms=(), gave_up=""))
            self.by_order = True
            self._tell("life.restarting", how.value)
            order.done.set_result({"agent_id": self.agent.id, "ended": how.value})
        except NovaError as error:
            self.agent.ending = False
            order.done.set_exception(error)
        except Exception:  # a defect of ours: who ordered it is no part of it
            self.agent.ending = False
            order.done.set_exception(InternalError(f"node {self._node.name} failed.", "Its log has more."))
            raise
        except BaseException:
            order.done.cancel()
            raise
        return True

    async def _stop(self, *, force: bool) -> Mapping[str, Any]:
        """End the program, archive its pane and a summary, take the agent off the node. Can be done again."""
        from noval_d.tmux.windows import close_pane, history

        node, agent = self._node, self.agent
        await self._program.find()
        agent.ending = True
        pane = agent.facts.pane_id if agent.facts is not None else None
        again = self.life.phase is Phase.STOPPING
        if not again:
            name = archive_name(agent.id, node.clock_ms())
            await self._become(self.life.to(Phase.STOPPING, archive=name))
        directory = Path(node.config.state.dir) / "archive" / self.life.archive
        shown: dict[str, str] = {}
        if pane is not None and not again:
            try:
                shown["before.txt"] = await history(node.tmux.socket, pane)
            except PaneNotFound:
                pane = None
        how = await self._program.end(force)
        ended = None
        if pane is not None:
            try:
                shown["pane.txt"] = await history(node.tmux.socket, pane)
                ended = await self._program.reaped(node.tmux.client, pane)
            except (PaneNotFound, TmuxUnavailable) as error:
                log.info("life.pane_gone", extra={"agent": agent.id, "problem": error.message})
        told = {
            "agent_id": agent.id, "node": node.name, "role": agent.spec.role, "skills": list(agent.spec.skills),
            "driver": agent.spec.driver, "command": list(self.life.plan.command), "cwd": self.life.plan.cwd,
            "env": sorted(self.life.plan.env), "restart": self.life.plan.restart.value,
            "session": self.life.session, "starts": self.life.starts, "started_ms": self.life.started_ms,
            "stopped_ms": node.clock_ms(), "ended": how.value,
            "exit": {"code": ended.code if ended else None, "signal": ended.signal if ended else None},
        }  # fmt: skip
        keep(directory, {**shown, "summary.json": summary(told)})
        if pane is not None:
            await close_pane(node.tmux.socket, pane)
        retired = await retire(node, agent.id, f"agent {agent.id} was stopped")
        messages = {
            "failed": retired.failed,
            "submitted": retired.submitted,
            "unconfirmed": retired.unconfirmed,
        }
        keep(directory, {"summary.json": summary({**told, "messages": messages})})
        await self._book.erase(agent.id)
        self._tell("life.stopped", how.value)
        return {"agent_id": agent.id, "ended": how.value, "archive": str(directory), "messages": messages}

    async def bury(self, why: str) -> None:
        """Take an agent off the node whose start came to nothing."""
        await retire(self._node, self.agent.id, why)
        await self._book.erase(self.agent.id)

    # -- small things --

    async def _become(self, life: Life) -> None:
        """Go on with `life`, durably, and with the conversation that the hooks last told of."""
        life = replace(life, session=self.agent.session)
        await self._book.write(life)
        self.life = life

    async def _pause(self, seconds: float | None) -> None:
        """Wait for an order, for so long at most."""
        if self._order is not None:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def _tell(self, event: str, reason: str = "") -> None:
        """Publish a step of the life. Readers get it too: nothing of what a pane shows."""
        node, agent = self._node, self.agent
        log.info(event, extra={"agent": agent.id, "reason": reason})
        node.events.publish(
            {
                "at_ms": node.clock_ms(),
                "event": event,
                "id": "",
                "agent": AgentId(agent.id),
                "state": agent.state.value,
                "reason": reason,
                "node": node.name,
            }
        )
        node.broker.beat_soon()
