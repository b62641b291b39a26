"""The daemon with a part that gets stuck for good once the file $NOVA_TEST_STUCK is there. Run by tests."""

from __future__ import annotations

import asyncio
import os
import sys

from noval_d.__main__ import main
from noval_d.node import node
from noval_d.vitals.lag import LoopLag

STUCK = "stuck-part"


class Stuck(LoopLag):
    """A part of the node that goes on until the file is there, and then waits for what nobody answers."""

    async def run(self) -> None:
        file = os.path.join(os.environ["NOVA_STATE_DIR"], STUCK)
        while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240 - a file of another process, and a test
            await asyncio.sleep(0.05)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    vars(node)["LoopLag"] = Stuck
    sys.exit(main())
