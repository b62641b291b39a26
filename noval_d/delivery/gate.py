"""Decide what to do with a message for an agent. No I/O, no clock. Rules: DELIVERY, sections 2, 3 and 5."""

from __future__ import annotations

from dataclasses import dataclass

from nova_torch.clean import clean
from nova_torch.values import Form, HoldReason, Message, State
from noval_d.delivery.view import AgentView

LINE_BYTES = 4095  # a line-buffered reader loses what is over it (DELIVERY 2.7)


@dataclass(frozen=True, slots=True)
class Type:
    """Type it now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not type yet. `recheck_s` is when to look again if nothing is heard before; `detail` is for people.

    `shown` is what the pane shows of it: only for those who may write.
    """

    reason: HoldReason
    detail: str
    recheck_s: float = 1.0
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never type it: `state` is final and `reason` says why."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Denied(Refuse):
    """The policy of this node does not allow it."""


Decision = Type | Hold | Refuse


def decide(message: Message, view: AgentView, now_ms: int) -> Decision:
    """Return what to do with `message` at `now_ms` (epoch), as far as `view` tells."""
    refused = _refusal(message, view, now_ms)
    if refused is not None:
        return refused
    return _pane_hold(view) or _screen_hold(view) or Type()


def _refusal(message: Message, view: AgentView, now_ms: int) -> Refuse | None:
    if message.expires_ms is not None and now_ms >= message.expires_ms:
        return Refuse(State.EXPIRED, "its time to live ran out before it could be typed")
    if message.form is Form.COMMAND and not view.driver.accepts_commands:
        return Refuse(
            State.FAILED, f"the driver {view.driver.name} knows no commands: send it without --command"
        )
    if view.driver.strategy == "cursor_line" and (number := _like_a_dialog(message, view)):
        return Refuse(
            State.FAILED,  # the line itself is not said: a reason is for readers too
            f"its line {number} looks like a dialog, and the driver {view.driver.name} cannot tell them"
            " apart: put it in other words",
        )
    if view.line_buffered:
        longest = max(len(line.encode()) for line in clean(message.body).split("\n"))
        if longest > LINE_BYTES:
            return Refuse(
                State.FAILED,
                f"a line has {longest} bytes and the program reads lines of {LINE_BYTES} at most: break it up",
            )
    return None


def _like_a_dialog(message: Message, view: AgentView) -> int:
    """Return which line of a body, from 1, would be taken for a dialog and never be entered; else 0."""
    lines = enumerate(clean(message.body).split("\n"), start=1)
    return next((n for n, line in lines if any(p.search(line.strip()) for p in view.driver.dialogs)), 0)


def _pane_hold(view: AgentView) -> Hold | None:
    """Return why the pane, whatever its screen shows, must not be typed into."""
    if view.paused:
        return Hold(HoldReason.PAUSED, "paused by its operator: novactl resume", 3600.0)
    if not view.lease_ok:
        return Hold(HoldReason.NODE_LOST, "its agent may be another node's now: novactl status", 0.5)
    facts = view.facts
    if view.ending:
        return Hold(HoldReason.NO_AGENT, "it is being ended by order", 0.25)
    if view.launching and (view.driver.kind == "line" or facts is None or facts.dead or not view.present):
        return Hold(HoldReason.STARTING, "it is being started", 0.25)
    if facts is None:
        return Hold(HoldReason.NO_AGENT, "its pane is gone", 5.0)
    if facts.dead:
        return Hold(HoldReason.NO_AGENT, "the program in its pane has ended")
    if not view.present:
        return _absent(view, facts.command)
    if facts.input_off:
        return Hold(HoldReason.INPUT_OFF, "input into its pane is switched off (select-pane -e allows it)")
    if facts.in_mode:
        return Hold(HoldReason.COPY_MODE, "somebody reads in copy mode (q leaves it)")
    if not view.terminal and view.driver.kind == "line":
        return Hold(HoldReason.NOT_READING, "its terminal cannot be asked what was read")
    if view.unread_bytes > 0:
        return Hold(HoldReason.NOT_READING, f"the program leaves {view.unread_bytes} bytes unread", 0.25)
    return None


def _absent(view: AgentView, command: str) -> Hold:
    """Return why something else than the agent is in front."""
    if view.driver.missing:
        return Hold(HoldReason.NO_AGENT, f"its driver {view.driver.name} cannot be used: novactl doctor")
    if view.behind:
        return Hold(HoldReason.BUSY, f"it runs {view.running or command}", 0.25)
    return Hold(HoldReason.NO_AGENT, f"its pane runs {view.running or command}, not the agent")


def _screen_hold(view: AgentView) -> Hold | None:
    """Return why the screen says that a paste would go wrong now; of a `line` agent only its prompt is known."""
    sight = view.sight
    if sight is None:
        return _line_hold(view)
    if sight.dialog is not None or view.asking:
        return Hold(HoldReason.DIALOG, "a dialog is open", 0.5, sight.dialog or "it asks for a permission")
    if not view.ready:
        return Hold(HoldReason.STARTING, "it has just started", 0.25)
    if view.direct:
        return None
    if sight.composer is None and sight.busy and view.driver.busy_cursor_hidden:
        return Hold(HoldReason.BUSY, "it works and has no input box meanwhile", 0.25)
    if sight.composer is None:
        return Hold(HoldReason.DIALOG, "its input box is not on the screen (another view is open)", 0.5)
    if view.opening:
        return Hold(HoldReason.STARTING, "its first prompt opens the conversation", 0.1)
    if sight.composer:
        draft = repr(sight.composer[:60])
        return Hold(HoldReason.DRAFT, "a half-typed line is in its input box", 0.5, draft)
    if view.driver.busy_cursor_hidden and not view.rested:
        return Hold(HoldReason.BUSY, "its input box has just come back", 0.1)
    if (sight.busy or view.working) and not view.driver.queues_while_busy:
        return Hold(HoldReason.BUSY, "it works and takes no text meanwhile", 0.25)
    return None


def _line_hold(view: AgentView) -> Hold | None:
    if not view.half_typed:
        return None
    draft = repr(view.half_typed[:60])
    return Hold(HoldReason.DRAFT, "a half-typed line is behind its prompt", 0.5, draft)
