"""A node is cut off, its agent goes on at another one, and it comes back with messages of its own for it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nova_torch.errors import Conflict, NotOwner
from tests.faults.test_lease import codes
from tests.support.agents import Raw, held
from tests.support.machine import hold, let
from tests.support.node import until
from tests.support.pair import Pair, pair

pytestmark = pytest.mark.slow
SHORT = {"NOVA_BROKER_LEASE_S": "2"}


class Cut:
    """`near`, which has the agent `here`, cut off from the broker until `end`."""

    def __init__(self, pair: Pair, how: str) -> None:
        self.pair = pair
        self.how = how
        self._back = contextlib.ExitStack()

    def begin(self) -> None:
        """Cut it off; return when it goes on without the broker."""
        if self.how == "silent":
            self._back.enter_context(self.pair.near_way.hole())
        else:
            self.pair.near_way.refuse()
            self._back.callback(self.pair.near_way.listen)
        until(lambda: self.pair.mode() == "fallback", 45, "fallback mode")

    def away(self) -> None:
        """Have it stand still as well, if it is to: its network is back before it is."""
        if self.how == "stopped":
            assert self.pair.near.process is not None
            pid = self.pair.near.process.pid
            os.kill(pid, signal.SIGSTOP)
            self._back.close()
            self._back.callback(os.kill, pid, signal.SIGCONT)

    def end(self) -> None:
        """Bring it back; return when it knows whose the agent is."""
        self._back.close()
        until(
            lambda: "mailbox_not_claimed" in codes(self.pair.near), 30, "its word that the agent is another's"
        )


@pytest.fixture(params=["reset", "silent", "stopped"])
def cut(request: pytest.FixtureRequest) -> Iterator[Cut]:
    with pair(SHORT) as made:
        between = Cut(made, request.param)
        try:
            yield between
        finally:
            between._back.close()


def taken_over(pair: Pair, folder: Path) -> Raw:
    """Register the agent `here` on `far`, as soon as the lease of `near` is over."""
    log = folder / "new.bytes"
    pane = pair.far.tmux.open_program("rawlog.py", [str(log)])
    pair.far.tmux.wait_for(pane, "READY")

    def registered() -> bool:
        with contextlib.suppress(Conflict, NotOwner):
            pair.far.register("here", pane)
            return True
        return False

    until(registered, what="the end of the lease")
    return Raw(pair.far, "here", pane, log)


def send(pair: Pair, node: str, body: str) -> str:
    return str((pair.near if node == "near" else pair.far).send("here", body)["id"])


def test_what_a_node_held_while_it_was_cut_off_is_typed_where_its_agent_is_now(
    cut: Cut, tmp_path: Path
) -> None:
    pair, old = cut.pair, cut.pair.here
    near, far = pair.near, pair.far
    assert near.send_wait("here", "before")["state"] == "submitted"
    hold(old)
    theirs = send(pair, "far", "theirs")
    far.wait_state(theirs, "held")
    marked = send(pair, "near", "marked")
    near.wait_state(marked, "queued", "held")
    cut.begin()
    kept = [send(pair, "near", f"kept {number}") for number in range(3)]
    cut.away()
    new = taken_over(pair, tmp_path)
    meanwhile = send(pair, "far", "meanwhile")
    for message in (theirs, meanwhile):
        far.wait_state(message, "submitted")
    cut.end()
    let(old)
    for message in kept:
        assert near.wait_state(message, "submitted")["node"] == "far"
    # it was in the mailbox of its own node, which needs no broker to type it: nobody else can know whether it did
    assert near.wait_state(marked, "unconfirmed")["final"]
    assert near.send_wait("here", "later")["state"] == "submitted"
    typed = ["theirs", "meanwhile", "kept 0", "kept 1", "kept 2", "later"]
    assert old.bytes() == b"before\r"
    assert new.bytes() == "".join(f"{body}\r" for body in typed).encode()
    assert held(near, "here") is None
    assert near.call("status")["outbox"] == 0


def test_what_a_node_typed_while_it_was_cut_off_is_typed_nowhere_else(cut: Cut, tmp_path: Path) -> None:
    pair, old = cut.pair, cut.pair.here
    cut.begin()
    alone = send(pair, "near", "alone")
    pair.near.wait_state(alone, "submitted")
    hold(old)
    kept = send(pair, "near", "kept")
    cut.away()
    new = taken_over(pair, tmp_path)
    pair.far.wait_state(send(pair, "far", "meanwhile"), "submitted")
    cut.end()
    let(old)
    pair.near.wait_state(kept, "submitted")
    assert pair.near.receipt(alone)["state"] == "submitted"
    pair.far.wait_state(send(pair, "far", "last"), "submitted")
    assert old.bytes() == b"alone\r"
    assert new.bytes() == b"meanwhile\rkept\rlast\r"


@pytest.mark.parametrize("first", ["the pane", "the broker"])
def test_what_can_be_typed_just_as_the_node_comes_back_is_typed_once(
    cut: Cut, tmp_path: Path, first: str
) -> None:
    pair, old = cut.pair, cut.pair.here
    cut.begin()
    hold(old)
    kept = [send(pair, "near", f"kept {number}") for number in range(8)]
    cut.away()
    new = taken_over(pair, tmp_path)
    steps: list[Callable[[], None]] = [lambda: let(old), cut.end]
    for step in steps if first == "the pane" else steps[::-1]:
        step()
    for message in kept:
        assert pair.near.wait_state(message, "submitted", "unconfirmed")["state"] == "submitted"
    pair.far.wait_state(send(pair, "far", "last"), "submitted")
    both = sorted((old.bytes() + new.bytes()).decode().split("\r")[:-1])
    assert both == sorted([*(f"kept {number}" for number in range(8)), "last"])
    assert new.bytes().endswith(b"last\r")
