"""Answer the calls about agents' panes: what they show, where they are, and the dialogs that are open in them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.errors import InvalidRequest, NotAllowed, PaneNotFound, TmuxNotAnswering
from nova_torch.policy import Request
from nova_torch.values import AgentId
from noval_d.agents.agent import Agent
from noval_d.agents.dialogs import Dialog
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.delivery import answer as answering
from noval_d.node.news import answer_event
from noval_d.tmux.panes import observe

FOLLOW_S = 0.25  # between two looks at a followed pane that changes
QUIET_LOOKS = 4  # without a change, then nothing is asked until tmux tells that it draws again
LONG_S = 30.0  # and one look in this time anyway

log = logging.getLogger("nova.answers")


class Panes(Base):
    """One method a call."""

    async def peek(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return what an agent's pane shows; as a stream, again whenever that changes."""
        asked = Args(args)
        agent = await self._here_in(asked.text("agent_id"), "peek")
        lines = asked.optional_integer("lines", least=1, most=1000)
        shown = await self._shown(agent, lines)
        yield shown
        quiet = 0
        while True:
            stirred = self._node.watcher.heard(agent.id).stirred
            now = await self._shown(agent, lines)
            if now != shown:
                shown, quiet = now, 0
                yield shown
            quiet += 1
            if quiet <= QUIET_LOOKS:
                await asyncio.sleep(FOLLOW_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONG_S):
                    await stirred.wait()
            quiet = 0

    async def occupies(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Tell whether a pane that carries an agent's name, and the name of `node`, is where that agent is.

        An agent of this node without a pane may come back into it, and what no live node denies is believed of
        another node's.
        """
        asked = Args(args)
        name, pane = asked.text("agent_id"), asked.text("pane")
        agent = self._node.roster.agents.get(AgentId(name))
        if agent is not None:
            here = self._same_server(asked.optional_text("tmux"))
            return {"occupies": here and (agent.facts is None or agent.facts.pane_id == pane)}
        node = asked.optional_text("node") or ""
        if node in ("", self._node.name):
            return {"occupies": False}
        records = [record for record in await self._elsewhere() if record.agent_id == name]
        return {"occupies": not records or any((r.pane, r.node) == (pane, node) for r in records)}

    async def place(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return where an agent's pane is, for a terminal that is to show it."""
        agent = await self._here_in(Args(args).text("agent_id"), "attach")
        facts = self._facts(agent)
        return {
            "agent_id": agent.id,
            "tmux": self._node.tmux.socket.path,
            "pane": facts.pane_id,
            "session": facts.session,
            "window": facts.window_index,
        }

    async def dialog_answer(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Show the dialog of an agent, or answer it on the caller's order."""
        asked = Args(args)
        agent = await self._here_in(asked.text("agent_id"), "answer")
        choice, fingerprint = asked.optional_text("choice"), asked.optional_text("fingerprint")
        self._facts(agent)
        if choice is None:
            if fingerprint is not None:
                raise InvalidRequest("a fingerprint without a choice answers nothing.", "Say which option.")
            dialog = await answering.show(agent, self._node.tmux)
            return {"agent_id": agent.id, "state": agent.state.value, "dialog": shown_dialog(dialog)}
        by = self._allowed(peer, asked, agent)
        try:
            done = await answering.answer(
                agent, self._node.tmux, self._node.injector, choice, fingerprint=fingerprint
            )
        except TmuxNotAnswering as error:
            raise TmuxNotAnswering(
                f"{error.message} Whether the answer was pressed is not known.", f"novactl answer {agent.id}"
            ) from None
        told = {"by": by, "choice": done.option.key, "fingerprint": done.answered.fingerprint}
        log.info("dialog.answered", extra={"agent": agent.id, "outcome": done.outcome, **told})
        self._node.events.publish(
            answer_event(agent, done, by=by, at_ms=self._node.clock_ms(), node=self._node.name)
        )
        return {
            "agent_id": agent.id,
            **told,
            "question": done.answered.question,
            "option": done.option.text,
            "outcome": done.outcome,
            "state": agent.state.value,
            "dialog": shown_dialog(done.now),
        }

    def _allowed(self, peer: Peer, asked: Args, agent: Agent) -> str:
        """Return who answers. Raises NotAllowed for who may not."""
        guard, by = self._node.guard, self._caller(peer, asked)
        request = Request(action="answer", by=guard.party(by), to=guard.party(agent.id))
        ruling = guard.policy.decide(request)
        if ruling.allow:
            return by
        if ruling.rule == 0:
            raise NotAllowed(
                f"agent {by} may not answer dialogs.",
                f'A person may, or allow it in the configuration: [delivery] may_answer = ["{by}"]',
            )
        raise NotAllowed(
            f"{by} may not answer the dialogs of {agent.id}: {ruling.why}.",
            f"See: novactl policy check {by} {agent.id} --do answer",
        )

    async def _shown(self, agent: Agent, lines: int | None) -> dict[str, Any]:
        facts = self._facts(agent)
        seen = await observe(self._node.tmux.client, facts.pane_id, capture=True)
        if seen is None or seen.screen is None:
            raise PaneNotFound(f"the pane of agent {agent.id} is gone.", "novactl agents")
        text = [seen.screen.text(row) for row in range(len(seen.screen.rows))]
        if seen.facts.dead:  # tmux's line about it has pushed out the uppermost, perhaps the only one
            from noval_d.tmux.windows import history

            kept = (await history(self._node.tmux.socket, facts.pane_id)).splitlines()
            text = kept[-len(text) - 1 :]
        while text and not text[-1]:
            text.pop()
        return {
            "agent_id": agent.id,
            "pane": seen.facts.pane_id,
            "state": agent.state.value,
            "lines": text[-lines:] if lines else text,
        }

    @staticmethod
    def _facts(agent: Agent) -> Any:
        if agent.facts is None:
            raise PaneNotFound(
                f"agent {agent.id} has no pane now.", "Register it in its new one: novactl register"
            )
        return agent.facts


def shown_dialog(dialog: Dialog | None) -> dict[str, Any] | None:
    """Return a dialog as `answer` shows it."""
    if dialog is None:
        return None
    return {
        "question": dialog.question,
        "fingerprint": dialog.fingerprint,
        "options": [{"key": each.key, "text": each.text, "chosen": each.chosen} for each in dialog.options],
        "lines": list(dialog.rows),
    }
