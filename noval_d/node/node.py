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
from nova_torch.config import Config, changes, read_password
from nova_torch.errors import ConfigInvalid, NovaError
from nova_torch.fleet import write_blob
from nova_torch.values import AgentId, Hop, Message, NodeId
from noval_d.agents.agent import Agent
from noval_d.agents.attention import Attention
from noval_d.agents.driver_file import read_drivers
from noval_d.agents.roster import Roster
from noval_d.agents.states import Transition
from noval_d.agents.watcher import Watcher
from noval_d.bridges.bridges import Bridges
from noval_d.control.hub import Hub
from noval_d.delivery.injector import Injector
from noval_d.delivery.item import Item
from noval_d.delivery.worker import Worker
from noval_d.life.lives import Lives
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.dispatch import Dispatch
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.ledger import Ledger
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from noval_d.node.crew import Crew
from noval_d.node.directory import locked, message_directory
from noval_d.node.embedded import EmbeddedKeeper
from noval_d.node.following import Following
from noval_d.node.hooks import Hooks
from noval_d.node.link import BrokerLink
from noval_d.node.news import agent_event, hop_event, unprocessed_event
from noval_d.node.part import Part
from noval_d.node.postbox import NodePostbox
from noval_d.node.purge import purge
from noval_d.schedule.clockwork import Clockwork
from noval_d.talk.limits import Limits
from noval_d.talk.pigeonhole import Hands, Pigeonhole
from noval_d.talk.talk import Talk
from noval_d.tmux.control import ControlClient, session_name
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.server import find_socket, server_alive
from noval_d.vitals.lag import LoopLag

log = logging.getLogger("nova.node")

CONTROL = "control"
CONTROL_GRACE_S = 10.0

Event = dict[str, Any]
Serve = Callable[["Node"], Coroutine[Any, Any, None]]


class Node:
    """The parts of a running node. `run` returns when `stop` was asked for and everything is down."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.name = NodeId(config.node.name)
        self.started_ms = _now_ms()
        self.clock = clock
        self.clock_ms = _now_ms
        self.stopping = asyncio.Event()
        self.stopped_typing = asyncio.Event()
        self.events: Hub[Event] = Hub()
        self.hops: Hub[tuple[Hop, AgentId]] = Hub()
        directory = Path(config.state.dir)
        self.store = Store(str(directory / "state.db"))
        self.outbox = Outbox(self.store, self.name, self.clock_ms)
        self.ledger = Ledger(self.store)
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
            tell=self._agent_news,
            task_of=lambda agent: self.talk.current_task(agent),  # noqa: PLW0108 - made below
        )
        self.watcher = Watcher(
            self.roster.agents,
            self.tmux,
            clock=clock,
            processed_s=lambda: self.config.delivery.processed_warning_s,
            unprocessed=self._unprocessed,
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
            post=lambda node, hop: self.dispatch.post(node, hop),  # noqa: PLW0108 - made below
            publish=self.events.publish,
            read_on=lambda agent: self.inbox.read_on(agent),  # noqa: PLW0108 - made below
        )
        self.pigeonhole = Pigeonhole(
            self.talk.box,
            lambda item, state, why: self.desk.settle(item, state, why),  # noqa: PLW0108 - made below
        )
        hands = Hands(self.roster.workers, self.pigeonhole)
        self.broker = BrokerLink(
            node=self.name,
            url=config.broker.url,
            prefix=config.broker.prefix,
            password=read_password(config.broker),
            lease_s=config.broker.lease_s,
            beat_s=config.broker.beat_s,
            keeper=self.keeper,
            blob=self._blob,
            agents=lambda: (*self.roster.agents, self.talk.box),
            clock=clock,
        )
        self.inbox = Inbox(
            node=self.name,
            ledger=self.ledger,
            link=self.broker,
            workers=hands,
            clock_ms=self.clock_ms,
            answer=lambda node, hop: self.dispatch.post(node, hop),  # noqa: PLW0108 - made below
            settle=lambda item, state, why: self.desk.settle(item, state, why),  # noqa: PLW0108 - the same
            forgotten=self._forgotten,
            arrived=self.talk.arrived,
            schedules=lambda agent: self.schedules.stale(agent),  # noqa: PLW0108 - the same
        )
        self.dispatch = Dispatch(
            node=self.name,
            outbox=self.outbox,
            inbox=self.inbox,
            link=self.broker,
            workers=hands,
            clock_ms=self.clock_ms,
            mailbox_limit=config.broker.mailbox_limit,
        )
        self.desk = Desk(self.store, self.outbox, self.name, self.clock_ms, self._post, self.inbox.release)
        self.postbox = NodePostbox(
            self.outbox, self.talk, self.hops, max_bytes=lambda: self.config.delivery.max_body_bytes
        )
        self.orchestrator = AsyncNovaOrchestrator(
            postbox=self.postbox,
            clock_ms=self.clock_ms,
            max_bytes=lambda: self.config.delivery.max_body_bytes,
        )
        self.lives = Lives(self)
        self.schedules = Clockwork(self)
        self.bridges = Bridges(self)
        self.hooks = Hooks(
            self.roster,
            self.watcher,
            socket=self.tmux.socket.path,
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
                    tasks = [part.start(group) for part in self._parts(serve)]
                    self.crew.start(group, self.roster.workers.values())
                    self.lives.start(group)
                    await self.stopping.wait()
                    await self._stop(tasks)
            finally:
                if self.keeper is not None:
                    with contextlib.suppress(NovaError):
                        await self.keeper.stop()
                await self.store.close()
                log.info("node.stopped", extra={"node": self.name})

    def _parts(self, serve: Serve) -> tuple[Part, ...]:
        """Return what runs as long as the node does, in the order of its start; a further part is one more line."""
        return (
            Part("tmux", self.tmux.run),
            Part("panes", self.following.run),
            Part("states", self.watcher.run),
            Part("broker", self.broker.run),
            Part("bells", self.inbox.run_bells),
            Part("sweep", self.inbox.run_sweep),
            Part("reader", self.inbox.run_reader),
            Part("letting-go", self.inbox.run_letting_go),
            Part("dispatch", self.dispatch.run),
            Part("receipts-out", self.dispatch.run_post),
            Part("receipts-in", self.dispatch.run_mail),
            Part("receipts-own", self.dispatch.run_own),
            Part("pigeonhole", self.pigeonhole.run),
            Part("schedules", self.schedules.run),
            Part("lag", self.lag.run),
            Part("bridges", self.bridges.run),
            Part("purge", partial(purge, self.store, self._keep_from)),
            Part(CONTROL, partial(serve, self)),
        )

    def stop(self) -> None:
        """Ask the node to stop in order."""
        self.stopping.set()

    def reload(self, config: Config) -> list[str]:
        """Take over a new, valid configuration; return what changed and holds from now on.

        Raises ConfigInvalid when something changed that only a restart can change; nothing is taken over then.
        """
        fixed = ("node", "state", "control", "tmux", "broker", "bridges")
        for section in fixed:
            if getattr(config, section) != getattr(self.config, section):
                raise ConfigInvalid(f"[{section}] cannot change while the daemon runs.", "Restart it.")
        changed = changes(self.config, config)
        if config.delivery.drivers_dir != self.config.delivery.drivers_dir:
            raise ConfigInvalid("delivery.drivers_dir cannot change while the daemon runs.", "Restart it.")
        self.config = config
        for worker in self.roster.workers.values():
            worker.max_attempts = config.delivery.max_attempts
            worker.agent.wake.set()  # what a limit kept back may go on
        log.info("node.reloaded", extra={"changed": ",".join(changed)})
        return changed

    async def _prepare(self) -> None:
        self.injector.sweep()
        self.roster.load()
        await self.lives.load()
        self.schedules.book.load()
        self.outbox.listen(self._publish)
        self.tmux.on_up(Injector.prepare)
        self.tmux.on_up(self._tmux_up)
        self.tmux.on_down(self.roster.lose_all)
        self.tmux.on_down(self.following.soon)  # the watch of the next client begins at once
        self.broker.on_lost(self.outbox.resend_all)
        self.broker.on_up(self._broker_up)
        await self.outbox.resend_all()
        self.inbox.restore()
        self.hooks.load(paths.hook_spool({"NOVA_STATE_DIR": self.config.state.dir, "HOME": "/"}))

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
            lease_ok=self._lease_ok,
            max_attempts=self.config.delivery.max_attempts,
            server_alive=server_alive,
            talk=self.talk,
        )
        self.crew.add(worker)
        return worker

    def _lease_ok(self, item: Item) -> bool:
        # what came from another node's outbox may be read by a new owner once this node's lease is over
        return item.message.origin == self.name or self.broker.lease_ok

    # -- tmux --

    async def _tmux_up(self, client: ControlClient) -> None:
        await self.roster.adopt(client)
        self.inbox.restore()
        self.schedules.together()
        await self.hooks.hear_late(client)
        self.broker.beat_soon()

    # -- broker --

    def _broker_up(self, _lost: bool) -> None:
        self.inbox.recheck(pending=True)
        self.outbox.grew.set()
        self.schedules.together()

    def _blob(self) -> bytes:
        return write_blob(
            self.name, self.roster.records(), now_ms=self.clock_ms(), bridges=self.bridges.names
        )

    def _forgotten(self, message: Message) -> bool:
        """Tell whether the ledger may have known, and purged, a message that it does not know (a late resend)."""
        return message.created_ms < self._keep_from() and not self.outbox.open(message.id)

    def _limits(self) -> Limits:
        section = self.config.delivery
        return Limits(exchanges=section.max_exchanges, per_minute=section.pair_rate_per_minute)

    def _keep_from(self) -> int:
        return self.clock_ms() - int(self.config.state.keep_days * 86_400_000)

    # -- news --

    def _agent_news(self, agent: Agent, news: Transition | Attention | None) -> None:
        self.events.publish(agent_event(agent, news, at_ms=self.clock_ms(), node=self.name))

    def _unprocessed(self, agent: Agent) -> None:
        self.events.publish(unprocessed_event(agent, at_ms=self.clock_ms(), node=self.name))

    def _publish(self, hop: Hop, agent: AgentId) -> None:
        self.hops.publish((hop, agent))
        if self.events.readers:
            self.events.publish(hop_event(hop, agent, self.outbox.find(hop.message)))

    def _post(self, message: Message, hop: Hop) -> None:
        """Send the receipt of a message that was sent elsewhere, and tell those who watch here."""
        self.dispatch.post(message.origin, hop)
        if self.events.readers:
            self.events.publish(hop_event(hop, AgentId(message.headers.get("agent", "")), message))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
