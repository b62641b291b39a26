"""Answer a dialog on somebody's explicit order: look, compare, press in one guarded line, see it go.

It shares the pane's order with deliveries (`Agent.hands`): while it looks, presses and waits, no key of a message
is pressed, and it begins only when none is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.errors import Conflict, PaneNotFound, TimedOut
from noval_d.agents.agent import Agent
from noval_d.agents.dialogs import Dialog, Option, choose, read_dialog
from noval_d.delivery.injector import Injector
from noval_d.delivery.view import AgentView
from noval_d.tmux.link import TmuxLink

HANDS_S = 5.0  # a delivery's key is pressed within milliseconds
GONE_S = 5.0  # an agent closes an answered dialog within 0.1 s; a starved one needs longer
LOOK_S = 0.02
DRAWN_S = 0.1  # opencode draws what stands around a permission some frames after it
DRAWN_LOOKS = 5
SURE_LOOKS = 2  # another screen in so many looks: not one that was half drawn
KEY = "{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was pressed, and what is seen since: `gone`, `another` (a further dialog), `changed` or `still`."""

    option: Option
    answered: Dialog
    outcome: str
    now: Dialog | None


async def show(agent: Agent, link: TmuxLink) -> Dialog | None:
    """Look at the agent's pane now; return the dialog that is open there, as it stands once it is drawn."""
    await agent.view(link.client)
    dialog = _open(agent)
    for _ in range(DRAWN_LOOKS):
        if dialog is None:
            break
        before = dialog.fingerprint
        await asyncio.sleep(DRAWN_S)
        await agent.view(link.client)
        dialog = _open(agent)
        if dialog is not None and dialog.fingerprint == before:
            break
    return dialog


async def answer(
    agent: Agent, link: TmuxLink, injector: Injector, choice: str, *, fingerprint: str | None
) -> Answered:
    """Press what `choice` means in the open dialog; with `fingerprint` only if it is that very one.

    Raises Conflict (no dialog, another one, the pane cannot be typed into), InvalidRequest (no such option), and
    TmuxNotAnswering when it is not known whether the keys were pressed.
    """
    try:
        async with asyncio.timeout(HANDS_S):
            await agent.hands.acquire()
    except TimeoutError:
        raise TimedOut(
            f"{agent.id} is being typed into and does not come to an end.", "Try again in a moment."
        ) from None
    try:
        view = await agent.view(link.client)
        dialog = _dialog_in_front(agent, view, fingerprint)
        if fingerprint is not None and fingerprint != dialog.fingerprint:
            raise Conflict(
                f"another dialog is open in {agent.id} now ({dialog.fingerprint}, not {fingerprint}):"
                f" {dialog.question}",
                f"Look at it: novactl answer {agent.id}",
            )
        option = choose(dialog, choice)
        if agent.driver.dialog_next:
            view = await _marked(agent, link, injector, view, dialog, option)
        keys = [option.key if key == KEY else key for key in agent.driver.dialog_answer]
        await _press(agent, injector, view, dialog, keys, option.piece)
        return await _proven(agent, link, dialog, option)
    finally:
        agent.hands.release()
        agent.wake.set()


async def _press(
    agent: Agent, injector: Injector, view: AgentView, dialog: Dialog, keys: Sequence[str], piece: str
) -> None:
    """Press `keys` in the dialog that was seen. Raises Conflict when another screen is there."""
    assert view.facts is not None
    pieces = tuple(dict.fromkeys(filter(None, (*dialog.pieces, piece))))
    if not await injector.press(view.facts, keys, pieces, at_cursor=agent.driver.dialog_at_cursor):
        raise _changed(agent)


def _changed(agent: Agent) -> Conflict:
    return Conflict(
        f"the dialog of {agent.id} changed in the moment of the answer; nothing was chosen.",
        f"Look at it: novactl answer {agent.id}",
    )


async def _marked(
    agent: Agent, link: TmuxLink, injector: Injector, view: AgentView, dialog: Dialog, option: Option
) -> AgentView:
    """Move the mark to `option`, one key and one look at a time; return the view that shows it there.

    No key goes out before the one before it was seen to move the mark: a late one would move it once more, in
    front of the key that chooses. Raises Conflict when the dialog is another one, or the mark does not move.
    """
    now = dialog
    for _ in dialog.options:
        if (mark := _mark(now)) == option.key:
            return view
        await _press(agent, injector, view, dialog, [agent.driver.dialog_next], option.piece)
        ends, others = agent.clock() + GONE_S, 0
        while _mark(now) == mark:
            if agent.clock() >= ends:
                raise Conflict(
                    f"the mark in the dialog of {agent.id} does not move; nothing was chosen.",
                    f"Answer it in its pane: novactl attach {agent.id}",
                )
            await asyncio.sleep(LOOK_S)
            view = await agent.view(link.client)
            seen = _open(agent)
            if seen is not None and seen.fingerprint == dialog.fingerprint:
                now, others = seen, 0
            elif (others := others + 1) >= SURE_LOOKS:
                raise _changed(agent)
    if _mark(now) != option.key:
        raise _changed(agent)
    return view


def _mark(dialog: Dialog) -> str:
    return next((option.key for option in dialog.options if option.chosen), "")


def _open(agent: Agent) -> Dialog | None:
    return read_dialog(agent.driver, agent.screen) if agent.screen is not None else None


def _dialog_in_front(agent: Agent, view: AgentView, fingerprint: str | None) -> Dialog:
    """Return the dialog that may be answered now. Raises PaneNotFound, Conflict."""
    facts, name = view.facts, agent.id
    if facts is None:
        raise PaneNotFound(f"agent {name} has no pane now.", "Register it in its new one: novactl register")
    if facts.dead or not view.present:
        raise Conflict(
            f"{name} is not in front: its pane runs {facts.command or 'nothing'}.", "Start it again there."
        )
    if facts.in_mode or facts.input_off or facts.synchronized:
        why = (
            "somebody reads in copy mode" if facts.in_mode else "its input is off or goes to other panes too"
        )
        raise Conflict(f"{name} cannot be answered now: {why}.", f"See: novactl attach {name}")
    if view.unread_bytes:
        raise Conflict(f"{name} leaves {view.unread_bytes} bytes unread.", "Try again when it reads.")
    dialog = _open(agent)
    if dialog is None:
        gone = f"the dialog {fingerprint} is gone, " if fingerprint is not None else ""
        raise Conflict(
            f"{gone}no dialog is open in {name}: it is {agent.state.value}.", f"Look: novactl peek {name}"
        )
    if not agent.driver.dialog_answer:
        raise Conflict(
            f"the driver {agent.driver.name} does not say how its dialogs are answered.",
            f"Answer it in its pane: novactl attach {name}",
        )
    return dialog


async def _proven(agent: Agent, link: TmuxLink, dialog: Dialog, option: Option) -> Answered:
    """Look until the dialog is gone or another one stands there; say what is seen in the end.

    A screen that is merely half drawn is not one in two looks."""
    ends = agent.clock() + GONE_S
    other: str | None = None
    looks = 0
    while True:
        view = await agent.view(link.client)
        now = _open(agent)
        outcome = _outcome(dialog, now, drawn=view.sight is not None and not view.sight.starting)
        looks = looks + 1 if outcome == other else 1
        other = outcome
        if (outcome != "still" and looks >= SURE_LOOKS) or agent.clock() >= ends:
            return Answered(option=option, answered=dialog, outcome=outcome, now=now)
        await asyncio.sleep(LOOK_S)


def _outcome(dialog: Dialog, now: Dialog | None, *, drawn: bool) -> str:
    if now is None:
        return "gone" if drawn else "still"
    if now.fingerprint == dialog.fingerprint:
        return "still"
    return "changed" if now.question == dialog.question else "another"
