"""What a node does when its clock was set: it forgets nothing early, and asks again for news that never came."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nova_torch.config import load
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from noval_d.node.node import Node
from tests.support.aio import run

DAY_MS = 86_400_000
ID = MessageId("01M8BAQ60AQWRNQ5J5FRH40TGY")


def test_a_clock_set_forward_makes_a_node_forget_nothing_that_it_still_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVA_STATE_DIR", str(tmp_path))
    node = Node(load())
    kept_ms = node.clock_ms() - node.keep_from_ms()
    assert kept_ms == pytest.approx(node.config.state.keep_days * DAY_MS, abs=5000)
    now_ms = time.time_ns() // 1_000_000
    node.clock_ms = lambda: now_ms + 400 * DAY_MS
    assert now_ms - node.keep_from_ms() == pytest.approx(kept_ms, abs=5000)
    node.clock_ms = lambda: now_ms - DAY_MS
    assert now_ms - node.keep_from_ms() == pytest.approx(kept_ms + DAY_MS, abs=5000)


def test_a_message_whose_last_news_is_of_a_time_to_come_is_asked_for_again(tmp_path: Path) -> None:
    clock = [1_000 * DAY_MS]

    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        outbox = Outbox(store, NodeId("here"), lambda: clock[0])
        message = Message(id=ID, sender="user:x", target="a", body="b", created_ms=clock[0])
        await outbox.accept(message, AgentId("a"))
        hop = Hop(message=ID, at_ms=clock[0], node=NodeId("there"), state=State.QUEUED)
        await outbox.advance([hop])

        def silent() -> list[MessageId]:
            return [out.message.id for out in outbox.silent(clock[0] - 60_000, 10)]

        assert silent() == []
        clock[0] -= DAY_MS
        assert silent() == [ID]
        await outbox.asked_again([ID])
        assert silent() == []
        assert outbox.receipt(ID).timings_ms == {"accepted": 0, "queued": 0}
        late = Hop(message=ID, at_ms=clock[0], node=NodeId("there"), state=State.SUBMITTED, final=True)
        await outbox.apply([late])
        assert outbox.receipt(ID).timings_ms == {"accepted": 0, "queued": 0}
        await store.close()

    run(scenario())
