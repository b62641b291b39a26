"""Get one start of an agent through its dialogs, and see when it is ready."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nova_torch.errors import TmuxUnavailable
from nova_torch.values import AgentState
from noval_d.agents.start import StartDialog, known_dialog

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.delivery.view import AgentView
    from noval_d.life.starter import Starter
    from noval_d.node.node import Node

DIALOG_S = (
    1.0  # a dialog that stands so long waits for somebody; between two that are answered is so much time
)
AGAIN_S = 5.0
"""So long after its keys were read a dialog stands before they are pressed again: what a program that is late makes
of them then may be an answer to its next dialog, which nobody allowed."""
ANSWERS = 5
PRESENT = (AgentState.IDLE, AgentState.BUSY, AgentState.DRAFT)


class Beginning:
    """One start of one agent, from its program's first moment until it is ready."""

    def __init__(self, node: Node, starter: Starter, agent: Agent, tell: Callable[[str, str], None]) -> None:
        self._node = node
        self._starter = starter
        self._agent = agent
        self._tell = tell
        self._dialog: tuple[str, float] | None = None
        self._answered: list[str] = []
        self._quiet_at = 0.0
        """When the last keys were pressed, or seen unread."""
        self._told = ""

    def __repr__(self) -> str:
        return f"<Beginning {self._agent.id} answered={len(self._answered)}>"

    async def look(self, allow: Collection[str]) -> bool:
        """Look at its pane once; True when it is ready. `allow` are the dialogs that may be answered."""
        agent = self._agent
        try:
            view = await agent.view(self._node.tmux.client)
        except TmuxUnavailable:
            return False
        if view.facts is not None and not view.present and not agent.driver.commands:
            await self._starter.identify(agent, view.facts, self._node.tmux.client)  # a script became it
            return False
        if _is_ready(agent, view):
            return True
        if view.sight is None or view.sight.composer is not None or agent.screen is None:
            self._dialog = None
            return False
        known = known_dialog(agent.driver.start, agent.screen, agent.driver.dialog_rows)
        if known is None and view.sight.dialog is None:
            self._dialog = None
            return False
        if view.unread_bytes:
            self._quiet_at = self._node.clock()
        await self._meet(known, allow)
        return False

    async def _meet(self, known: StartDialog | None, allow: Collection[str]) -> None:
        """Answer a dialog of the start that its owner allowed; report any other one that stays."""
        agent, now = self._agent, self._node.clock()
        name = known.name if known is not None else ""
        if self._dialog is None or self._dialog[0] != name:
            self._dialog = (name, now)
        allowed = known is not None and known.name in allow
        if known is not None and allowed and len(self._answered) < ANSWERS:
            patience_s = AGAIN_S if name in self._answered[-1:] else DIALOG_S
            if self._answered and now - self._quiet_at < patience_s:
                return
            facts = agent.facts
            async with agent.hands:
                if facts is not None and await self._node.injector.press(facts, known.keys, known.marks):
                    self._answered.append(name)
                    self._quiet_at = self._node.clock()
                    self._tell("life.answered", name)
            return
        if now - self._dialog[1] >= DIALOG_S and self._told != (name or "?"):
            self._told = name or "?"
            self._tell("life.dialog", name)


def _is_ready(agent: Agent, view: AgentView) -> bool:
    if not view.present or not view.ready or view.facts is None or view.facts.dead:
        return False
    if agent.driver.kind == "line":
        return True
    sight = view.sight
    if sight is None or sight.composer is None:
        return False
    # a paused agent says only that: what else it may be is read from the screen
    return agent.state in PRESENT or (view.paused and sight.dialog is None and not view.asking)
