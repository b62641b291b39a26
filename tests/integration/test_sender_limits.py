"""Limits for each sender of a real node: at the socket, and for what comes from the broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.errors import LimitReached
from nova_torch.ulid import new_ulid
from tests.support.agents import raw
from tests.support.attacker import Attacker
from tests.support.node import node, until


def test_a_sender_with_too_many_open_is_told_and_goes_on_when_some_are_delivered(tmp_path: Path) -> None:
    with node(env={"NOVA_LIMITS_SENDER_OPEN": "2", "NOVA_LIMITS_PAIR_OPEN": "2"}) as made:
        agent = raw(made, tmp_path)
        made.call("pause", {"agent_id": "raw"})
        first, _ = (made.send("raw", f"{n}")["id"] for n in range(2))
        with pytest.raises(LimitReached, match=r"limits\.sender_open"):
            made.send("raw", "too many")
        assert made.send("raw", "0", id=first)["id"] == first  # known already: told, not counted
        done = made.novactl("send", "raw", "too many")
        assert done.returncode == 1
        assert "limits.sender_open" in done.stderr
        assert "novactl status" in done.stderr
        assert made.send("raw", "another", sender="somebody")["state"] == "accepted"
        made.kill()
        made.start()
        made.wait_up()
        with pytest.raises(LimitReached):
            made.send("raw", "still too many")
        # a neighbour's node has other limits: what comes of one sender beyond ours is not taken
        attacker = Attacker(made)
        messages = [attacker.message("raw", f"far {n}") for n in range(3)]
        for message in messages:
            attacker.put("raw", message)
        until(lambda: len(made.call("dead_list")) == 1, what="the refusal")
        (dead,) = made.call("dead_list")
        assert dead["id"] == messages[2].id
        assert "2 messages of user:boss wait for raw already (limits.pair_open)" in dead["reason"]
        made.call("resume", {"agent_id": "raw"})
        until(lambda: agent.bytes() == b"0\r1\ranother\rfar 0\rfar 1\r", what="all that was taken")
        made.send("raw", "room again")


def test_the_rate_of_a_sender_is_an_error_here_and_a_hold_for_what_comes_from_elsewhere(
    tmp_path: Path,
) -> None:
    with node(env={"NOVA_LIMITS_SENDER_PER_MINUTE": "2"}) as made:
        agent = raw(made, tmp_path)
        for n in range(2):
            made.wait_state(made.send("raw", f"{n}")["id"], "submitted")
        with pytest.raises(LimitReached) as caught:
            made.send("raw", "too fast")
        assert caught.value.hint.startswith("Try again in ")
        attacker = Attacker(made)
        for n in range(3):
            attacker.put("raw", attacker.message("raw", f"far {n}"))
        until(lambda: agent.bytes() == b"0\r1\rfar 0\rfar 1\r", what="two of the neighbour's")
        (held,) = until(lambda: made.call("status")["held"], what="the third")
        assert held["reason"] == "rate_limited"
        assert "user:boss has sent 2 messages within a minute" in held["detail"]
        assert made.send("raw", "from another", sender="other", id=new_ulid())["state"] == "accepted"
        until(lambda: agent.bytes().endswith(b"from another\r"), what="another sender's")


def test_a_body_over_this_nodes_limit_is_not_typed_whatever_its_sender_allows(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_MAX_BODY_BYTES": "100"}) as made:
        agent = raw(made, tmp_path)
        attacker = Attacker(made)
        large = attacker.put("raw", attacker.message("raw", "x" * 101))
        attacker.put("raw", attacker.message("raw", "x" * 100))
        until(lambda: agent.bytes() == b"x" * 100 + b"\r", what="the small one")
        (dead,) = made.call("dead_list")
        assert dead["id"] == large.id
        assert "101 bytes, this node takes 100" in dead["reason"]
