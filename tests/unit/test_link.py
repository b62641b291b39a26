"""A beat ends as soon as somebody else has waited in vain for the same broker."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from nova_torch.broker import Owner
from nova_torch.errors import BrokerUnavailable
from nova_torch.login import NOBODY
from nova_torch.nodes import Pace
from nova_torch.values import NodeId
from noval_d.fleet.saying import Saying
from noval_d.node.link import BrokerLink, since_boot
from tests.support.aio import run, until

NODE = NodeId("here")


class Mute:
    """A broker that answers nothing."""

    asked = 0

    async def beat(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        await asyncio.Event().wait()


def link_to(broker: Mute) -> BrokerLink:
    link = BrokerLink(
        node=NODE, url="", prefix="nova", login=lambda: NOBODY, lease_s=20, beat_s=5, keeper=None,
        saying=Saying(bytes, tuple), agents=tuple, clock=since_boot,
    )  # fmt: skip
    link.pace = Pace(beat_s=0.01, lease_s=20, again_s=1, soon_s=0)
    link.broker, link.owner = cast("Any", broker), Owner(node=NODE, epoch=1)
    return link


@pytest.mark.parametrize("times", [1, 3])
def test_a_beat_waits_no_longer_than_somebody_else_has_waited_in_vain(times: int) -> None:
    async def scenario() -> None:
        broker = Mute()
        link = link_to(broker)
        staying = asyncio.create_task(link._stay(since_boot()))
        await until(lambda: broker.asked > 0)
        for _ in range(times):
            link.failed(BrokerUnavailable("it does not answer"))
            await asyncio.sleep(0)
        await asyncio.wait_for(staying, 1)
        assert (broker.asked, link.problem) == (1, "it does not answer")

    run(scenario())


def test_a_beat_that_is_given_up_with_its_node_ends() -> None:
    async def scenario() -> None:
        broker = Mute()
        link = link_to(broker)
        staying = asyncio.create_task(link._stay(since_boot()))
        await until(lambda: broker.asked > 0)
        staying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staying

    run(scenario())
