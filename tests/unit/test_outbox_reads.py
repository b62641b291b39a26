"""What the outbox asks the state file for each message, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from tests.support.aio import run

NODE = NodeId("here")


class Counting(Store):
    reads = 0

    def read(self, sql: str, values: Any = ()) -> Any:
        self.reads += 1
        return super().read(sql, values)


def message() -> Message:
    return Message(id=MessageId(new_ulid()), sender="user:a", target="raw", body="x", created_ms=1)


def hop(name: MessageId, state: State, *, final: bool = False) -> Hop:
    return Hop(message=name, at_ms=1, node=NODE, state=state, reason="", final=final)


def test_whether_a_message_of_others_is_open_here_is_known_without_reading(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Counting(str(tmp_path / "state.db"))
        await store.open()
        earlier, ours, later = message(), message(), message()
        await Outbox(store, NODE, lambda: 1).accept(earlier, AgentId("raw"))
        outbox = Outbox(store, NODE, lambda: 1)  # as after a start
        await outbox.accept(ours, AgentId("raw"))
        assert not outbox.open(MessageId(new_ulid()))
        before = store.reads
        assert not any(outbox.open(MessageId(new_ulid())) for _ in range(9))
        assert store.reads == before
        await outbox.accept(later, AgentId("raw"))
        assert all(outbox.open(one.id) for one in (earlier, ours, later))
        await outbox.apply([hop(ours.id, State.UNCONFIRMED, final=True)])
        assert not outbox.open(ours.id)
        await outbox.apply([hop(ours.id, State.QUEUED)])  # somebody ordered it again
        assert outbox.open(ours.id)
        await store.close()

    run(scenario())
