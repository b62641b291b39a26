"""What was lost with the broker's data is not overtaken by what is sent before its sender has noticed."""

from __future__ import annotations

import pytest

from tests.support.machine import hold, let
from tests.support.node import until
from tests.support.pair import pair

pytestmark = pytest.mark.slow


def test_what_a_wiped_broker_lost_comes_before_what_is_sent_after_another_node_has_noticed() -> None:
    with pair({"NOVA_BROKER_BEAT_S": "5"}) as made:  # what notices a wipe by itself is the beat
        near, far = made.near, made.far
        near.send_wait("there", "before")
        hold(made.there)
        lost = near.send("there", "lost")["id"]
        near.wait_state(lost, "held", "queued")
        far.kill()
        made.server.ask("FLUSHALL")
        far.start()
        far.wait_up()
        until(
            lambda: [a for a in far.call("agents") if a["agent_id"] == "there" and a["pane"]],
            what="the agent",
        )
        let(made.there)
        later = near.send("there", "later")["id"]
        for message in (later, lost):
            near.wait_state(message, "submitted")
        assert made.there.bytes() == b"before\rlost\rlater\r"
