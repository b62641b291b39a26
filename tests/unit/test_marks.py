"""When a message may be marked as it is read, whose mark still counts, and that who waits holds none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, call

import pytest

from nova_torch.broker import Entry, Lane, Owner
from nova_torch.errors import BrokerUnavailable, NotOwner
from nova_torch.values import AgentId, NodeId
from noval_d.agents.sight import Sight
from noval_d.delivery.item import Item
from noval_d.mailroom.fence import Fence, marked
from noval_d.mailroom.ledger import Phase
from noval_d.talk.pigeonhole import Pigeonhole
from tests.support.aio import run
from tests.unit.test_review_claims import facts, line_agent, message, worker

ONE, LATER = Owner(node="n", epoch=1), Owner(node="n", epoch=2)


def item(**more: Any) -> Item:
    return Item(message=message(), agent=AgentId("a"), arrival=0, **more)


def fence(*, owner: Owner = ONE, lease_ok: bool = True, here: str = "") -> tuple[Fence, Any]:
    broker = AsyncMock()
    link: Any = SimpleNamespace(
        broker=broker, owner=owner, superseded="", taken=lambda _: False, claimed=lambda _: True,
        lease_ok=lease_ok, failed=lambda _: None,
    )  # fmt: skip
    outbox: Any = SimpleNamespace(here=lambda message: message == here)
    return Fence(NodeId("n"), link, outbox), broker


@pytest.mark.parametrize(
    "change", [{}, {"in_mode": True}, {"input_off": True}, {"dead": True}, {"command": "vim"}]
)
def test_an_agent_whose_pane_is_known_to_be_free_has_messages_typed_at_once(change: dict[str, Any]) -> None:
    agent = line_agent()
    agent.moved(replace(facts(), **change), "1.1")
    assert agent.open is (not change)


@pytest.mark.parametrize("why", ["paused", "ending", "launching"])
def test_one_that_is_known_to_be_kept_from_it_has_not(why: str) -> None:
    agent = line_agent()
    setattr(agent, why, True)
    agent.restate()
    assert not agent.open


def test_one_without_a_pane_has_not() -> None:
    agent = line_agent()
    agent.moved(None, "1.1")
    assert not agent.open


@pytest.mark.parametrize(
    ("driver", "sight", "free"),
    [
        ("claude", Sight(composer=""), True),
        ("claude", Sight(composer="", busy=True), True),
        ("aider", Sight(composer=None, busy=True), False),
        ("claude", Sight(composer="half a line"), False),
        ("claude", Sight(composer="", dialog="may it?"), False),
    ],
)
def test_what_its_screen_showed_last_decides(driver: str, sight: Sight, free: bool) -> None:
    agent = line_agent(driver)
    agent.spec = replace(agent.spec, program=driver)
    agent.moved(facts(command=driver), "1.1")
    agent.sight, agent.was_ready, agent.looked_at = sight, True, agent.clock()
    agent.restate()
    assert agent.open is free


def test_a_worker_takes_a_mark_only_with_empty_hands() -> None:
    idle, busy, ended = (worker(line_agent()) for _ in range(3))
    busy.put(item(phase=Phase.ENTERED))
    ended.stop()
    assert [each.at_once for each in (idle, busy, ended)] == [True, False, False]
    assert not Pigeonhole(AgentId("@n"), AsyncMock()).at_once


def test_a_worker_that_ends_leaves_no_mark() -> None:
    desk = AsyncMock()
    made = worker(line_agent())
    made._desk = desk
    waiting = item(marked=ONE)
    made.put(waiting)
    made.stop()
    run(made.run())
    assert desk.unmark.mock_calls == [call([waiting])]


def test_what_was_marked_over_this_connection_is_marked_only_once() -> None:
    made, broker = fence()
    run(made.begin(item(marked=ONE)))
    assert not broker.hold.called
    run(made.begin(item()))
    assert broker.hold.call_count == 1


def test_what_was_marked_over_an_earlier_connection_is_marked_again() -> None:
    made, broker = fence(owner=LATER)
    run(made.begin(item(marked=ONE)))
    assert broker.hold.call_count == 1


def test_a_mark_does_not_open_a_fence_that_is_shut() -> None:
    made, _ = fence(lease_ok=False)
    with pytest.raises(NotOwner):
        run(made.begin(item(marked=ONE)))


def test_the_mark_of_a_message_of_its_own_outbox_stays() -> None:
    waiting = item(marked=ONE)
    made, broker = fence(here=waiting.message.id)
    run(made.undo(waiting))
    assert not broker.hold.called


def test_a_mark_that_may_be_gone_counts_no_more() -> None:
    made, broker = fence()
    broker.hold.side_effect = BrokerUnavailable("it is away.", "")
    waiting = item(marked=ONE)
    run(made.undo(waiting))
    broker.hold.side_effect = None
    run(made.begin(waiting))
    assert [each.kwargs.get("typing", True) for each in broker.hold.mock_calls] == [False, True]


@pytest.mark.parametrize(
    ("found", "new", "phase", "named", "origin", "counts"),
    [
        ("", True, Phase.RECEIVED, "", "far", True),
        ("", False, Phase.RECEIVED, "", "far", True),  # ordered again
        ("n", True, Phase.RECEIVED, "", "far", True),  # as this node died, or lost its connection
        ("n", False, Phase.RECEIVED, "", "far", False),
        ("", False, Phase.TYPING, "", "far", False),  # it may be typed: who waits must not take that away
        ("", True, Phase.RECEIVED, "another id", "far", False),
        ("n", True, Phase.RECEIVED, "", "n", False),  # its own bear theirs from the beginning
    ],
)
def test_a_mark_counts_where_it_is_sure_to_be_there_and_nothing_was_begun(
    found: str, new: bool, phase: Phase, named: str, origin: str, counts: bool
) -> None:
    waiting = item(phase=phase)
    waiting.message = replace(waiting.message, headers={"origin": origin})
    place = Entry(
        lane=Lane.MBX, entry_id="1-1", message_id=named or waiting.message.id, payload=b"", holder=found, marked=ONE
    )  # fmt: skip
    assert marked(place, waiting, new=new) == (ONE if counts else None)
