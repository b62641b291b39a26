"""Prove that a line-based program has read what was typed: its terminal's input queue is empty. DELIVERY 4.3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nova_torch.errors import TmuxNotAnswering, TmuxUnavailable
from nova_torch.values import State
from noval_d.agents.agent import Agent
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.tty import in_front

QUEUE_BYTES = 4000  # what a terminal's input queue takes at once; the rest still waits in tmux
EMPTY_LOOKS = 2
EMPTY_LOOKS_LARGE = 12
TELL_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, or why there is none yet."""

    verdict: State | None
    reason: str = ""


class LineProver:
    """Follows a typed line until its program has read it."""

    def __init__(self, link: TmuxLink) -> None:
        self._link = link

    async def follow(self, agent: Agent, pane: str, typed_bytes: int) -> AsyncIterator[Finding]:
        """Yield `not_reading` when it takes long, then one verdict; `pane` is the key of the pane typed into.

        The queue counts as read when it was empty in several looks, with a turn of tmux's own loop between
        them, in which tmux would have refilled it.
        """
        needed = EMPTY_LOOKS if typed_bytes <= QUEUE_BYTES else EMPTY_LOOKS_LARGE
        empty = 0
        began = agent.clock()
        told = False
        pause_s = 0.0005
        while True:
            try:
                view = await agent.view(self._link.client)
            except TmuxNotAnswering:
                self._link.answered(well=False)
                continue
            except TmuxUnavailable:
                return  # the server may live on without our client: the marker and the terminal tell later
            if agent.pane_key != pane:
                yield Finding(State.UNCONFIRMED, "its pane went away before the program read it")
                return
            if view.facts is None or not (view.present or view.behind):
                yield Finding(State.UNCONFIRMED, "the program ended before it read the text")
                return
            # a terminal whose program has ended is empty too, a little before tmux knows of the end
            consumed = view.terminal and view.unread_bytes == 0 and in_front(view.facts.pid)
            empty = empty + 1 if consumed else 0
            if empty >= needed:
                yield Finding(State.SUBMITTED)
                return
            if not consumed:
                if not told and agent.clock() - began > TELL_S:
                    told = True
                    yield Finding(None, "not_reading")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.1)
