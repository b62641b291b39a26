"""Ask nodes for something through the broker, as a program that is none: the node that is asked does it once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from nova_torch.asks import Ask, Told, pack_ask, read_told, seal, unseal
from nova_torch.broker import Broker
from nova_torch.communication.direct import Endpoint
from nova_torch.errors import BrokerUnavailable, InvalidRequest, TimedOut, from_wire
from nova_torch.signing import Keyring, Problem
from nova_torch.ulid import new_ulid

UNHEARD_S = 15.0
"""A node that says nothing for so long, though its lease holds, is not waited for."""
LOOK_S = 0.25
"""The bell may have rung for another of this program's questions."""
RETRY_S = 0.2


class Asker:
    """Asks on behalf of one program; its bell is in a place of its own, which `close` deletes."""

    def __init__(
        self, broker: Broker, *, keyring: Keyring, strict: bool, clock_ms: Callable[[], int], gone_s: float
    ) -> None:
        self._broker = broker
        self._keyring = keyring
        self._strict = strict
        self._clock_ms = clock_ms
        self._gone_s = gone_s
        self._place = Endpoint.of(new_ulid()).node
        self._asked = False

    def __repr__(self) -> str:
        return f"<Asker {self._place}>"

    async def close(self) -> None:
        """Leave nothing behind."""
        if self._asked:
            with contextlib.suppress(BrokerUnavailable):
                await self._broker.leave_place(self._place)

    async def follow(
        self, node: str, what: str, details: Mapping[str, Any], *, ask_id: str = ""
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Ask `node` for `what`; yield what it tells until it is over. The same `ask_id` asks for the same thing.

        Raises the error that the node tells, TimedOut when it says nothing, BrokerUnavailable at the beginning
        and when the broker stays away.
        """
        ask_id = ask_id or new_ulid(self._clock_ms())
        packed = pack_ask(Ask(what=what, asker=self._place, at_ms=self._clock_ms(), details=details))
        raw = seal(packed, self._keyring.sign("ask", [node, ask_id, packed]))
        self._asked = True
        await self._broker.ask(node, ask_id, raw)
        told, heard_at = 0, _now()
        while True:
            try:
                answer = await self._answer_of(node, ask_id)
                if answer is None and not told and _now() - heard_at > UNHEARD_S:
                    await self._broker.ask_over(node, ask_id, answered=False)
                    raise TimedOut(
                        f"node {node} has not answered within {UNHEARD_S:g} s.",
                        "Ask again in a moment; a node that is gone is left out then.",
                    )
                if answer is not None:
                    heard_at = _now()
                    for each in answer.steps[told:]:
                        told += 1
                        yield dict(each)
                    if answer.over:
                        await self._broker.ask_over(node, ask_id, answered=True)
                        if answer.error is not None:
                            raise from_wire(answer.error)
                        return
                await self._broker.bells(self._place, block_s=LOOK_S)
            except BrokerUnavailable:
                if _now() - heard_at > self._gone_s:
                    raise
                await asyncio.sleep(RETRY_S)

    async def _answer_of(self, node: str, ask_id: str) -> Told | None:
        """Return what the node has said, None while that is nothing."""
        raw = await self._broker.answer_of(node, ask_id)
        if not raw:
            return None
        try:
            packed, signature = unseal(raw)
            if self.proven(signature, "answer", node, ask_id, packed):
                return read_told(packed)
        except InvalidRequest:
            pass  # it is nobody's answer, like nothing at all
        return None

    def proven(self, signature: str, purpose: str, *values: object) -> bool:
        """Tell whether a node of the fleet said it, as far as that must be proven here."""
        return not self._strict or self._keyring.check(signature, purpose, values) is Problem.NONE


def _now() -> float:
    return asyncio.get_running_loop().time()
