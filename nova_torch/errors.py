"""The one error tree. Each error has a stable code, a sentence for a person, a cure and an exit code.

Light on purpose: the hot commands import it. Errors cross the control socket as `{code, message, hint}` and
are made again on the other side by `from_wire`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class NovaError(Exception):
    """Something that Nova-Torch can explain: `message` says what happened, `hint` what to do."""

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.message_id = ""
        """The id of the message that could not be sent or followed: sent again with it, it is typed once."""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_wire(self) -> dict[str, str]:
        """Return `{code, message, hint}`, what a peer sees of this error."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidRequest(NovaError):
    """An argument is missing, of the wrong type or out of range."""

    code = "invalid_request"
    exit_code = 2


class MessageNewer(InvalidRequest):
    """The message is of a newer version than this node reads."""

    code = "message_newer"


class InvalidText(InvalidRequest):
    """A body is not UTF-8."""

    code = "invalid_text"


class BodyEmpty(InvalidRequest):
    """Nothing is left of a body once it is cleaned."""

    code = "body_empty"


class BodyTooLarge(InvalidRequest):
    """A body is over the limit. Nothing was stored."""

    code = "body_too_large"


class ConfigInvalid(InvalidRequest):
    """The configuration cannot be used."""

    code = "config_invalid"


class DriverInvalid(InvalidRequest):
    """A driver's file cannot be used."""

    code = "driver_invalid"


class DaemonUnreachable(NovaError):
    """The control socket cannot be reached."""

    code = "daemon_unreachable"
    exit_code = 3


class NotAllowed(NovaError):
    """The peer may not do this."""

    code = "not_allowed"
    exit_code = 4


class NotFound(NovaError):
    """Nothing of that name is known."""

    code = "not_found"
    exit_code = 5


class AgentNotFound(NotFound):
    """No agent of that name is registered."""

    code = "agent_not_found"


class MessageNotFound(NotFound):
    """No message of that id is known here."""

    code = "message_not_found"


class ScheduleNotFound(NotFound):
    """No schedule of that id is known."""

    code = "schedule_not_found"


class TaskNotFound(NotFound):
    """No task of that id is known."""

    code = "task_not_found"


class PaneNotFound(NotFound):
    """No such pane on the tmux server."""

    code = "pane_not_found"


class TimedOut(NovaError):
    """The time limit ran out; the work may go on."""

    code = "timed_out"
    exit_code = 6


class NotDelivered(NovaError):
    """A message is final and was not delivered: failed, expired, dead or unconfirmed."""

    code = "not_delivered"
    exit_code = 7


class ProtocolMismatch(NovaError):
    """The two sides speak no common version of the control protocol."""

    code = "proto_mismatch"
    exit_code = 8


class UnknownCall(NovaError):
    """The daemon has no such call."""

    code = "unknown_call"


class FrameTooLarge(NovaError):
    """A frame is over the limit of the control protocol."""

    code = "frame_too_large"


class BadFrame(NovaError):
    """What came over the control socket is not a frame of the protocol."""

    code = "bad_frame"


class Lagged(NovaError):
    """A reader of a stream was too slow; the stream ended."""

    code = "lagged"


class Busy(NovaError):
    """A limit of the daemon is reached (connections, queue)."""

    code = "busy"


class LimitReached(Busy):
    """A sender has too many messages open, or sends too fast; the hint says when it may go on."""

    code = "limit_reached"


class Conflict(NovaError):
    """Something is in the way: another owner, another agent, another daemon."""

    code = "conflict"


class ShuttingDown(NovaError):
    """The daemon is stopping and takes no new work."""

    code = "shutting_down"


class BrokerUnavailable(NovaError):
    """The broker does not answer."""

    code = "broker_unavailable"


class BrokerGivenUp(BrokerUnavailable):
    """The connection was given up meanwhile: this says nothing of the broker. Ask for the next connection."""


class KeyUnfit(BrokerUnavailable):
    """A key of the broker that is ours by its name is of another type: somebody else wrote it."""


class ForeignRefused(NovaError):
    """The broker refuses something about one key of another program: it has another type, or is not there."""

    code = "foreign_refused"


class MailboxFull(NovaError):
    """The agent's mailbox takes no more messages."""

    code = "mailbox_full"


class MailboxLost(NovaError):
    """The broker does not hold the mailbox: it was wiped, or nobody claimed it."""

    code = "mailbox_lost"


class NotOwner(NovaError):
    """Another node, or a later epoch of this one, owns the mailbox."""

    code = "not_owner"


class TmuxUnavailable(NovaError):
    """There is no tmux server to talk to."""

    code = "tmux_unavailable"


class TmuxNotAnswering(TmuxUnavailable):
    """The tmux server exists and does not answer in time."""

    code = "tmux_not_answering"


class StoreFailed(NovaError):
    """The state file cannot be written or read."""

    code = "store_failed"


class StateNewer(StoreFailed):
    """The state file was written by a newer version than this."""

    code = "state_newer"
    exit_code = 2
    """As for a wrong configuration: starting again does not help."""


class InternalError(NovaError):
    """A defect of the daemon; its log has the traceback."""

    code = "internal"


def _tree(root: type[NovaError]) -> dict[str, type[NovaError]]:
    found = (
        {root.code: root} if "code" in vars(root) else {}
    )  # one without a code of its own is as its parent
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_wire(err: Mapping[str, object]) -> NovaError:
    """Make the error that a peer reported; an unknown code gives a plain NovaError with that code."""
    code = str(err.get("code", "failed"))
    kind = _tree(NovaError).get(code, NovaError)
    error = kind(str(err.get("message", code)), str(err.get("hint", "")))
    error.code = code
    return error
