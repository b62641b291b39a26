"""A node put together: its parts, the order in which they start, run and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from nova_torch import paths
from nova_torch.communication import AsyncNovaOrchestrator
from nova_torch.config import Config
from nova_torch.errors import NovaError
from nova_torch.login import read_login
from nova_torch.values import AgentId, Hop, Message, NodeId
from noval_d.agents.agent import Agent
from noval_d.agents.driver_file import read_drivers
from noval_d.agents.roster import Roster
from noval_d.agents.watcher import Watcher
from noval_d.bridges.bridges import Bridges
from noval_d.control.hub import Hub
from noval_d.delivery.injector import Injector
from noval_d.delivery.lines import COUNT_NO_MORE
from noval_d.delivery.worker import Worker
from noval_d.fleet.answers import answers
from noval_d.fleet.asks import Asks
from noval_d.fleet.card import saying
from noval_d.fleet.drain import Draining
from noval_d.fleet.load import Meter
from noval_d.fleet.others import Others
from noval_d.fleet.taken import let_go
from noval_d.fleet.watchers import Watchers
from noval_d.life.lives import Lives
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.dispatch import Dispatch
from noval_d.mailroom.fence import Fence
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.ledger import Ledger
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.performances import Performances
from noval_d.mailroom.receipts import Receipts
from noval_d.mailroom.rejections import Rejections
from noval_d.mailroom.store import Store
from noval_d.node.crew import Crew
from noval_d.node.directory import identity, locked, message_directory
from noval_d.node.embedded import EmbeddedKeeper
from noval_d.node.following import Following
from noval_d.node.guard import Guard
from noval_d.node.hooks import Hooks
from noval_d.node.link import BrokerLink, since_boot
from noval_d.node.part import Part
from noval_d.node.parts import CONTROL, parts
from noval_d.node.postbox import NodePostbox
from noval_d.node.standing import overtaken
from noval_d.node.telling import Telling
from noval_d.node.watchdog import Watchdog
from noval_d.scale.scaler import Scaler
from noval_d.schedule.clockwork import Clockwork
from noval_d.talk.limits import Limits
from noval_d.talk.pigeonhole import Hands, Pigeonhole
from noval_d.talk.talk import Talk
from noval_d.tasks.copies import Copies as TaskCopies
from noval_d.tasks.ground import NodeGround
from noval_d.tasks.tasks import Tasks
from noval_d.tmux.control import ControlClient, session_name
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.server import find_socket, server_alive
from noval_d.vitals.lag import LoopLag

log = logging.getLogger("nova.node")

CONTROL_GRACE_S = 10.0

Event = dict[str, Any]
Serve = Callable[["Node"], Coroutine[Any, Any, None]]


class Node:
    """The parts of a running node. `run` returns when `stop` was asked for and everything is down."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.config = config
        self.watchdog = watchdog
        self.name = NodeId(config.node.name)
        self.started_ms = _now_ms()
        self.clock = clock
        self.started = clock()
        self.clock_ms = _now_ms
        self.stopping = asyncio.Event()
        self.stopped_typing = asyncio.Event()
        self.events: Hub[Event] = Hub()
        self.hops: Hub[tuple[Hop, AgentId]] = Hub()
        self.telling = Telling(self)
        directory = Path(config.state.dir)
        self.store = Store(str(directory / "state.db"))
        self.outbox = Outbox(
            self.store,
            self.name,
            self.clock_ms,
            role_of=lambda name: self.guard.role_of(name),  # noqa: PLW0108 - made below
            quota=lambda: self.guard.quota,
            demand=lambda mailbox: self.rejections.demand(mailbox),  # noqa: PLW0108 - made below
            coming=lambda mailbox: self.dispatch.foresee(mailbox),  # noqa: PLW0108 - made below
        )
        self.ledger = Ledger(self.store)
        self.performances = Performances(self.ledger)
        self.tmux = TmuxLink(find_socket(config.tmux.socket), session_name(self.name))
        self.injector = Injector(self.tmux, str(message_directory(directory)))
        embedded = config.broker.url == "embedded"
        self.keeper = EmbeddedKeeper(str(directory / "broker")) if embedded else None
        own = config.delivery.drivers_dir
        drivers, self.broken_drivers = read_drivers(Path(own) if own else None)
        for error in self.broken_drivers.values():
            log.error("node.driver_broken", extra={"problem": error.message, "cure": error.hint})
        self.crew = Crew(lambda agent, report: self.hooks.take(agent, report))  # noqa: PLW0108 - made below
        self.lag = LoopLag(clock)
        self.roster = Roster(
            node=self.name,
            store=self.store,
            drivers=drivers,
            clock=clock,
            clock_ms=self.clock_ms,
            make_worker=self._make_worker,
            tell=self.telling.agent,
            emptied=lambda: self.tasks.free(),  # noqa: PLW0108 - made below
            task_of=lambda agent, asked: (
                self.tasks.of(agent) or (self.talk.current_task(agent) if asked else "")
            ),
            performance_of=self.performances.of,
            tally_of=lambda agent: self.tasks.tally(agent),  # noqa: PLW0108 - made below
            in_question=lambda: self.talk.in_question(),  # noqa: PLW0108 - made below
        )
        self.guard = Guard(
            self.name,
            config,
            roster=lambda: self.roster,
            outbox=self.outbox,
            clock=clock,
            clock_ms=lambda: self.clock_ms(),  # noqa: PLW0108 - tests set the clock
            publish=self.events.publish,
        )
        self.watcher = Watcher(
            self.roster.agents,
            self.tmux,
            clock=clock,
            processed_s=lambda: self.config.delivery.processed_warning_s,
            unprocessed=self.telling.unprocessed,
        )
        self.following = Following(self.tmux, self.roster, self.watcher)
        self.talk = Talk(
            node=self.name,
            store=self.store,
            ledger=self.ledger,
            outbox=self.outbox,
            limits=self._limits,
            clock=clock,
            clock_ms=self.clock_ms,
            post=lambda node, hop: self.receipts.post(node, hop),  # noqa: PLW0108 - made below
            publish=self.events.publish,
            refused=self.guard.refused,
            too_fast=self.guard.too_fast,
            read_on=lambda agent: self.inbox.read_on(agent),  # noqa: PLW0108 - made below
        )
        self.pigeonhole = Pigeonhole(
            self.talk.box,
            lambda item, state, why: self.desk.settle(item, state, why),  # noqa: PLW0108 - made below
        )
        hands = Hands(self.roster.workers, self.pigeonhole)
        read_login(config.broker)  # a password file that is not there stops the start
        self.broker = BrokerLink(
            node=self.name,
            url=config.broker.url,
            prefix=config.broker.prefix,
            login=partial(read_login, config.broker),
            lease_s=config.broker.lease_s,
            beat_s=config.broker.beat_s,
            keeper=self.keeper,
            saying=saying(self),
            agents=lambda: (*self.roster.agents, self.talk.box),
            clock=since_boot,
            bearer=partial(identity, directory),
            strict=lambda: self.guard.seals.strict,
        )
        self.others = Others(self.name, self.broker, clock)
        self.meter = Meter()
        self.draining = Draining(self)
        self.fence = Fence(self.name, self.broker, self.outbox)
        self.rejections = Rejections(
            self.name,
            ledger=self.ledger,
            outbox=self.outbox,
            seals=self.guard.seals,
            workers=hands,
            strict=self.others.strict,
            clock_ms=self.clock_ms,
            answer=lambda node, hop: self.receipts.post(node, hop),  # noqa: PLW0108 - made below
        )
        self.inbox = Inbox(
            node=self.name,
            ledger=self.ledger,
            link=self.broker,
            workers=hands,
            clock_ms=self.clock_ms,
            answer=lambda node, hop: self.receipts.post(node, hop),  # noqa: PLW0108 - made below
            settle=lambda item, state, why: self.desk.settle(item, state, why),  # noqa: PLW0108 - the same
            forgotten=self._forgotten,
            arrived=self.talk.arrived,
            schedules=lambda agent: self.schedules.stale(agent),  # noqa: PLW0108 - the same
            asked=lambda: self.asks.rung(),  # noqa: PLW0108 - the same
            seals=self.guard.seals,
            unfit=self.guard.unfit,
            rejected=self.rejections.tell,
        )
        self.dispatch = Dispatch(
            node=self.name,
            outbox=self.outbox,
            inbox=self.inbox,
            link=self.broker,
            workers=hands,
            clock_ms=self.clock_ms,
            mailbox_limit=config.broker.mailbox_limit,
            seals=self.guard.seals,
        )
        self.receipts = Receipts(
            node=self.name,
            store=self.store,
            outbox=self.outbox,
            link=self.broker,
            seals=self.guard.seals,
            heard=self.rejections.heard,
        )
        self.desk = Desk(
            self.store,
            self.outbox,
            self.ledger,
            self.name,
            self.clock_ms,
            self.telling.receipt,
            self.inbox.release,
            self.performances,
            self.fence,
        )
        self.postbox = NodePostbox(
            self.outbox, self.talk, self.hops, max_bytes=lambda: self.config.delivery.max_body_bytes
        )
        self.orchestrator = AsyncNovaOrchestrator(
            postbox=self.postbox,
            clock_ms=self.clock_ms,
            max_bytes=lambda: self.config.delivery.max_body_bytes,
        )
        self.lives = Lives(self)
        self.watchers = Watchers(self)
        self.asks = Asks(self, answers(self, self.watchers))
        self.scaler = Scaler(self)
        self.schedules = Clockwork(self)
        self.tasks = Tasks(
            NodeGround(self),
            TaskCopies(self.store),
            takes=lambda: self.config.tasks.take,
            remind_s=lambda: self.config.tasks.remind_s,
            keep_days=config.state.keep_days,
        )
        self.bridges = Bridges(self)
        self.hooks = Hooks(
            self.roster,
            self.watcher,
            tmux=self.tmux,
            kept=str(Path(self.config.state.dir) / paths.SPOOL_NAME),
            heard=self.lives.heard,
            state_changed=self.broker.beat_soon,
        )

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.tmux!r} {self.broker!r} {self.roster!r}>"

    # -- life --

    async def run(self, serve: Serve) -> None:
        """Start everything, call `serve` (the control socket) as one of the tasks, stop in order."""
        with locked(self.config.state.dir):
            try:
                await self.store.open()
                await self._prepare()
                async with asyncio.TaskGroup() as group:
                    tasks = [part.start(group, self.watchdog) for part in self._parts(serve)]
                    self.crew.start(group, self.roster.workers.values())
                    self.lives.start(group)
                    await self.stopping.wait()
                    await self._stop(tasks)
            finally:
                if self.keeper is not None:
                    with contextlib.suppress(NovaError):
                        await self.keeper.stop()
                await self.store.close()
                self.guard.audit.close()
                log.info("node.stopped", extra={"node": self.name})

    def _parts(self, serve: Serve) -> tuple[Part, ...]:
        return parts(self, serve)

    def stop(self) -> None:
        """Ask the node to stop in order."""
        self.stopping.set()

    async def _prepare(self) -> None:
        self.injector.sweep()
        self.roster.load()
        await self.lives.load()
        self.schedules.book.load()
        self.outbox.listen(self.telling.hop)
        self.outbox.listen(self.guard.quota.heard)
        self.guard.quota.load(self.outbox.all_open())
        self.tmux.on_up(Injector.prepare)
        self.tmux.farewell = COUNT_NO_MORE
        self.tmux.on_up(self._tmux_up)
        self.tmux.on_down(self.roster.lose_all)
        self.tmux.on_down(self.broker.beat_soon)
        self.tmux.on_down(self.following.soon)  # the watch of the next client begins at once
        self.draining.load()
        self.scaler.load()
        self.broker.on_order(self.draining.ordered, lambda: self.draining.done)
        self.broker.on_lost(self.outbox.resend_all)
        self.broker.claims.on_taken(partial(let_go, self))
        self.broker.on_up(self._broker_up)
        self.broker.claims.on_claimed(self.inbox.claimed)
        await self.outbox.resend_all()
        self.inbox.restore()
        self.hooks.load(self.clock_ms())

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Workers first, so that what is typed is proven and told while everything else still runs."""
        self.lives.stop()
        await self.crew.stop(self.roster.workers.values())
        self.events.close()
        self.hops.close()
        self.stopped_typing.set()  # the control socket ends now, and with it the last callers
        await asyncio.wait([task for task in tasks if task.get_name() == CONTROL], timeout=CONTROL_GRACE_S)
        for task in reversed(tasks):
            task.cancel()

    # -- workers --

    def _make_worker(self, agent: Agent) -> Worker:
        worker = Worker(
            agent,
            link=self.tmux,
            injector=self.injector,
            desk=self.desk,
            lease_ok=lambda item: self.fence.open(item),  # noqa: PLW0108 - made later
            max_attempts=self.config.delivery.max_attempts,
            server_alive=server_alive,
            talk=self.talk,
            overtaken=partial(overtaken, self),
        )
        self.crew.add(worker)
        return worker

    # -- tmux --

    async def _tmux_up(self, client: ControlClient) -> None:
        await self.roster.adopt(client)
        self.inbox.restore()
        self.schedules.together()
        await self.hooks.hear_late(client)
        self.broker.beat_soon()

    # -- broker --

    def _broker_up(self, lost: bool) -> None:
        if lost:
            self.others.lost()
        self.inbox.recheck(pending=True)
        self.outbox.grew.set()
        self.schedules.together()
        self.tasks.broker_up(lost)
        self.asks.rung()
        self.scaler.broker_up(lost)

    def _forgotten(self, message: Message) -> bool:
        """Tell whether the ledger may have known, and purged, a message that it does not know (a late resend)."""
        return message.created_ms < self.keep_from_ms() and not self.outbox.open(message.id)

    def _limits(self) -> Limits:
        section = self.config.delivery
        return Limits(exchanges=section.max_exchanges, per_minute=section.pair_rate_per_minute)

    def keep_from_ms(self) -> int:
        """Return since when settled messages are kept, ms since the epoch."""
        # a clock that is set forward must not make the node forget what may still come again
        steady_ms = self.started_ms + int((self.clock() - self.started) * 1000)
        return min(self.clock_ms(), steady_ms) - int(self.config.state.keep_days * 86_400_000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
