"""Ask another node for something, through the broker, and do what others ask for: each id once.

What is asked lies at the node that is asked until it is over, and so do its answers, so that it survives a restart
of either and is put again into a broker that was wiped. Who asks waits for a bell, and looks once a second besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nova_torch.asks import Ask, Told, pack_ask, pack_told, read_ask, read_told, seal, unseal
from nova_torch.errors import BrokerUnavailable, InternalError, InvalidRequest, NovaError, TimedOut, from_wire
from nova_torch.keys import is_name
from nova_torch.ulid import is_ulid
from noval_d.mailroom.seals import Unproven
from noval_d.node.pulse import idle

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.node")

HOLDS_MS = 600_000
"""What is older is not done any more: whoever asked has long been told so."""
UNHEARD_S = 15.0
"""A node that says nothing for so long, though its lease holds, is not waited for."""
LOOK_S = 1.0
AT_ONCE = 64

Handler = Callable[[str, Mapping[str, Any]], AsyncIterator[dict[str, Any]]]
"""Do what is asked under an id; yield what is to be told of it."""


class Asks:
    """What this node asks of others, and what others ask of it."""

    def __init__(self, node: Node, handlers: Mapping[str, Handler]) -> None:
        self._node = node
        self._handlers = handlers
        self._news = asyncio.Event()
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self.coming: dict[str, int] = {}
        """By node: how many agents it was asked for and has not begun to start."""

    def __repr__(self) -> str:
        return f"<Asks doing={len(self._doing)} waiting={len(self._waiting)}>"

    def rung(self) -> None:
        """The bell says that somebody asks or has answered."""
        self._news.set()
        for waiting in self._waiting.values():
            waiting.set()

    # -- what others ask --

    async def run(self) -> None:
        """Do what others ask for, until cancelled."""
        try:
            while True:
                try:
                    broker = await self._node.broker.wait_up()
                    for ask_id, raw in (await broker.asks(self._node.name)).items():
                        if ask_id not in self._doing and len(self._doing) < AT_ONCE:
                            task = asyncio.create_task(self._do(ask_id, raw), name=f"ask-{ask_id[:26]}")
                            self._doing[ask_id] = task
                            task.add_done_callback(partial(self._done, ask_id))
                except BrokerUnavailable as error:
                    self._node.broker.failed(error)
                    continue
                await idle(self._news.wait)
                self._news.clear()
        finally:
            for task in self._doing.values():
                task.cancel()
            await asyncio.gather(*self._doing.values(), return_exceptions=True)

    def _done(self, ask_id: str, _task: asyncio.Task[None]) -> None:
        del self._doing[ask_id]
        if len(self._doing) == AT_ONCE - 1:
            self._news.set()  # others wait for a place

    async def _do(self, ask_id: str, raw: bytes) -> None:
        try:
            ask = self._opened(ask_id, raw)
        except (Unproven, InvalidRequest) as error:
            log.warning("node.ask_refused", extra={"id": ask_id[:64], "problem": str(error)})
            await self._say(ask_id, None, "")
            return
        told: list[dict[str, Any]] = []
        try:
            handler = self._handlers.get(ask.what)
            if handler is None:
                raise NovaError(f"node {self._node.name} does not know {ask.what!r}.", "Update that node.")  # noqa: TRY301
            async for each in handler(ask_id, {**ask.details, "from": ask.asker}):
                told.append(each)
                await self._say(ask_id, Told(steps=told), ask.asker)
        except NovaError as error:
            await self._say(ask_id, Told(steps=told, over=True, error=error.to_wire()), ask.asker)
        except Exception:  # a defect of ours, met by one asker
            log.exception("node.ask_failed", extra={"id": ask_id})
            wire = InternalError(f"node {self._node.name} failed.", "Its log has more.").to_wire()
            await self._say(ask_id, Told(steps=told, over=True, error=wire), ask.asker)
        else:
            await self._say(ask_id, Told(steps=told, over=True), ask.asker)

    def _opened(self, ask_id: str, raw: bytes) -> Ask:
        """Return what is asked. Raises Unproven, InvalidRequest."""
        packed, signature = unseal(raw)
        ask, node = read_ask(packed), self._node
        node.guard.seals.check(
            signature, "ask", node.name, ask_id, packed, target=node.name, named=ask_id, sender=ask.asker
        )
        if not is_ulid(ask_id) or not is_name(ask.asker):
            raise InvalidRequest("it is not in the form of an ask")
        if abs(node.clock_ms() - ask.at_ms) > HOLDS_MS:
            raise InvalidRequest("it is too old, or the clocks differ")
        return ask

    async def _say(self, ask_id: str, answer: Told | None, asker: str) -> None:
        """Answer; None: it is no ask, and goes. Waits until the broker has it."""
        name = self._node.name
        while True:
            broker = await self._node.broker.wait_up()
            try:
                if answer is not None:
                    packed = pack_told(answer)
                    signature = self._node.guard.seals.sign("answer", name, ask_id, packed)
                    await broker.answer(name, ask_id, seal(packed, signature), asker)
                if answer is None or answer.over:
                    await broker.ask_over(name, ask_id, answered=False)
            except BrokerUnavailable as error:
                self._node.broker.failed(error)
                await asyncio.sleep(0.05)
            else:
                return

    # -- what this node asks --

    async def follow(
        self, target: str, ask_id: str, what: str, details: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Ask `target` for `what` and yield what it tells, until it is over. The same id asks for the same thing.

        Raises the error that the target tells, TimedOut when it says nothing, BrokerUnavailable at the beginning.
        Whoever stops listening withdraws nothing.
        """
        node = self._node
        if node.broker.broker is None:
            raise BrokerUnavailable(
                f"node {target} cannot be asked: {node.broker.problem}",
                "Without the broker only this node starts agents.",
            )
        packed = pack_ask(Ask(what=what, asker=node.name, at_ms=node.clock_ms(), details=details))
        raw = seal(packed, node.guard.seals.sign("ask", target, ask_id, packed))
        rung = self._waiting[ask_id] = asyncio.Event()
        told, heard_at = 0, node.clock()
        self.coming[target] = self.coming.get(target, 0) + 1
        try:
            while True:
                answer = await self._look(target, ask_id, raw)
                if answer is not None:
                    heard_at = node.clock()
                    if not told and answer.steps:
                        self._come(target)
                    for each in answer.steps[told:]:
                        told += 1
                        yield dict(each)
                    if answer.over:
                        if answer.error is not None:
                            raise from_wire(answer.error)
                        return
                elif not told and node.clock() - heard_at > UNHEARD_S:
                    await self._withdraw(target, ask_id)
                    raise TimedOut(
                        f"node {target} has not answered within {UNHEARD_S:g} s.",
                        f"See whether it lives: novactl node show {target}",
                    )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await rung.wait()
                rung.clear()
        finally:
            self._waiting.pop(ask_id, None)
            if not told:
                self._come(target)

    def _come(self, target: str) -> None:
        left = self.coming.get(target, 0) - 1
        if left > 0:
            self.coming[target] = left
        else:
            self.coming.pop(target, None)

    async def _look(self, target: str, ask_id: str, raw: bytes) -> Told | None:
        """Return what the target says; put the ask there (again) while it says nothing. None: not known now."""
        broker = self._node.broker.broker
        if broker is None:
            return None
        try:
            said = await broker.answer_of(target, ask_id)
            answer = self._answer(target, ask_id, said) if said else None
            if answer is None:
                await broker.ask(target, ask_id, raw)  # a broker that was wiped has lost it
            elif answer.over:
                await broker.ask_over(target, ask_id, answered=True)
        except BrokerUnavailable as error:
            self._node.broker.failed(error)
            return None
        return answer

    def _answer(self, target: str, ask_id: str, raw: bytes) -> Told | None:
        try:
            packed, signature = unseal(raw)
            self._node.guard.seals.check(
                signature,
                "answer",
                target,
                ask_id,
                packed,
                target=self._node.name,
                named=ask_id,
                sender=target,
            )
            return read_told(packed)
        except (Unproven, InvalidRequest):
            return None

    async def _withdraw(self, target: str, ask_id: str) -> None:
        broker = self._node.broker.broker
        if broker is not None:
            with contextlib.suppress(BrokerUnavailable):
                await broker.ask_over(target, ask_id, answered=False)
