"""Answer the call `driver_record`: what a pane shows, as a recorded screen of a driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_torch.errors import NotFound
from nova_torch.nearest import suggestion
from noval_d.agents.record import record
from noval_d.calls.fleet import Fleet
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.tmux.front import read_front


class Recordings(Fleet):
    """One method a call."""

    async def driver_record(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return a pane as a `.screen` text, with what its driver sees now as its expectation."""
        asked = Args(args)
        roster = self._node.roster
        pane = await self._pane(asked)
        agent = roster.of_pane(pane.pane_id)
        name = asked.optional_text("driver") or (agent.driver.name if agent is not None else None)
        if name is None:
            front = read_front(pane.pid)
            name = self._driver_of(pane, front.argv if front is not None else ())
        driver = roster.drivers.get(name)
        if driver is None:
            cure = suggestion(name, roster.drivers, otherwise=f"Known: {', '.join(sorted(roster.drivers))}.")
            raise NotFound(f"there is no driver {name!r}.", cure)
        text = await record(self._node.tmux.client, pane.pane_id, driver)
        return {"pane": pane.pane_id, "driver": name, "text": text}
