"""Send a message and, if asked, wait for its state. Light: the hottest command there is."""

from __future__ import annotations

import os
import time

from nova_torch.clean import CURE_TOO_LARGE, MAX_BODY_BYTES, checked_body
from nova_torch.durations import seconds, spoken
from nova_torch.errors import (
    BodyTooLarge,
    DaemonUnreachable,
    InvalidRequest,
    NotDelivered,
    NovaError,
    ShuttingDown,
    TimedOut,
)
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.words import PROVEN, UNDELIVERED
from novactl import out
from novactl.session import CALL_S, caller, connect, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

    Receipt = dict[str, Any]

WAIT_S = 120.0
AGAIN_S = 0.2
ABSENT_S = 10.0  # how long a daemon that restarts under a --wait may be away


def send(values: Values) -> int:
    """Send one message; print its id, and with --wait its state."""
    wait: str | None = values["wait"]
    if values["in_"] is not None or values["at"] is not None:
        from novactl.commands.schedule import later

        return later(values, body(values))
    if values["tz"] is not None:
        raise InvalidRequest("--tz goes with --at.", "Give --at, or leave it out.")
    group = is_group(values["target"])
    if not group:
        _refuse_group_options(values)
    limit = limit_s(values, WAIT_S if wait else CALL_S)
    args = given(
        {
            "id": message_id(values["id"]),
            "target": values["target"],
            "body": body(values),
            "priority": values["priority"],
            "ttl_s": None if values["ttl"] is None else seconds(values["ttl"]),
            "form": form(values),
            "wait": wait,
            **caller(),
        }
    )
    if group and not values["any"]:
        from novactl.commands.groupsend import send_group

        return send_group(values, args, limit)
    if values["any"]:
        _refuse_group_options(values, but="any")
        args["any"] = True
    if wait:
        receipt = waited(values, args, limit)
        _say_who(values, receipt)
        if receipt["state"] == "replied":
            from novactl.commands.talk import with_reply

            receipt = with_reply(values, receipt)
        show(values, receipt, state=True)
        return judged(receipt, wait, limit)
    receipt = sent(values, "send", args, limit)
    _say_who(values, receipt)
    show(values, receipt, state=False)
    if receipt.get("state") in UNDELIVERED:
        raise _undelivered(receipt)
    return 0


def _say_who(values: Values, receipt: Receipt) -> None:
    """Say which agent of a group was chosen; its JSON says so by itself."""
    if values["any"] and not values["json"]:
        out.note(out.safe(f"to {receipt.get('agent') or receipt.get('target')}"), quiet=values["quiet"])


def is_group(target: str) -> bool:
    """Tell whether a target is a group, as nova_torch.communication.group does, which is not light."""
    return target == "all" or target.partition(":")[0] in ("role", "skill", "node", "label")


def _refuse_group_options(values: Values, but: str = "") -> None:
    for name in ("any", "dry_run", "queue_offline", "min"):
        if values[name] and name != but:
            option = name.replace("_", "-")
            if but:
                raise InvalidRequest(f"--{option} and --{but} exclude each other.", "Use one of them.")
            raise InvalidRequest(
                f"--{option} is for groups, and {values['target']} is one agent.",
                "A group is all, role:R, skill:S, node:N or label:L.",
            )


def sent(values: Values, call: str, args: dict[str, Any], limit: float) -> Receipt:
    """Send and return the receipt; when the answer was lost, ask again once: one id is sent once."""
    client = connect(values, limit)
    try:
        with client:
            return _receipt(client.call(call, args), args)
    except DaemonUnreachable:
        time.sleep(AGAIN_S)
    except TimedOut:
        raise _unanswered(args["id"]) from None
    try:
        with connect(values, limit) as client:
            return _receipt(client.call(call, args), args)
    except DaemonUnreachable as error:
        raise _maybe_taken(error, args["id"]) from error


def waited(values: Values, args: dict[str, Any], limit: float) -> Receipt:
    """Send, follow the message to the state of `args["wait"]` or as far as it gets in time; return its receipt.

    Whoever is interrupted is told the id: the message goes on.
    """
    heard: Receipt = {}
    try:
        return _waited(values, args, limit, heard)
    except KeyboardInterrupt:
        what = "the message goes on." if heard else "the message may have been taken."
        out.error(f"interrupted; {what} The same command with --id {args['id']} waits on.")
        raise


def _waited(values: Values, args: dict[str, Any], limit: float, receipt: Receipt) -> Receipt:
    """Do that; `receipt` is empty, and holds at any time what was heard last."""
    deadline = time.monotonic() + limit
    away_since: float | None = None
    while True:
        try:
            with connect(values, min(CALL_S, max(deadline - time.monotonic(), 0.05))) as client:
                away_since = None
                for update in client.stream("send", args, max(deadline - time.monotonic(), 0.001)):
                    receipt.clear()
                    receipt.update(_receipt(update, args))
            if _over(receipt, args["wait"]):
                break
            time.sleep(AGAIN_S)  # the daemon stopped in order: the next one goes on
        except TimedOut:
            if not receipt:
                show(
                    values,
                    {"id": args["id"], "target": args["target"], "state": "", "reason": ""},
                    state=False,
                )
                raise _unanswered(args["id"]) from None
            break
        except (DaemonUnreachable, ShuttingDown) as error:
            # It was taken before, or it may have been: the same id asks on, and nothing is sent twice.
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if not receipt and not was_talking(error):
                raise
            if receipt and now >= deadline:
                break
            if now - away_since > ABSENT_S or now >= deadline:
                if receipt:
                    show(values, receipt, state=True)
                raise _maybe_taken(error, args["id"]) from error
            time.sleep(AGAIN_S)
    return receipt


def _over(receipt: Receipt, wait: str) -> bool:
    """Tell whether what was waited for has come or will not come any more."""
    state = receipt.get("state")
    if state in PROVEN and PROVEN.index(state) >= PROVEN.index(wait):
        return True
    return state in UNDELIVERED or (bool(receipt.get("final")) and wait != "replied")


def judged(receipt: Receipt, wait: str, limit: float) -> int:
    """Return 0 when what was waited for has come. Raises NotDelivered (7), TimedOut (6), NovaError (1)."""
    state = receipt["state"]
    if state in PROVEN and PROVEN.index(state) >= PROVEN.index(wait):
        return 0
    if state in UNDELIVERED:
        raise _undelivered(receipt)
    trace = f"See: novactl trace {receipt['id']}"
    if receipt.get("final") and state in PROVEN and wait != "replied":
        raise NovaError(
            f"the message was {state} and will not be {wait}: the agent reports nothing.",
            "Its hooks do that: novactl hooks install claude",
        )
    reason = f" ({receipt['reason']})" if receipt.get("reason") else ""
    if state in PROVEN:
        raise TimedOut(
            f"no answer to {receipt['id']} after {spoken(limit)}, it is {state}; an answer that comes is kept.",
            f"The same command with --id {receipt['id']} waits on. {trace}",
        )
    raise TimedOut(f"it is still {state}{reason} after {spoken(limit)}; the message goes on.", trace)


def was_talking(error: NovaError) -> bool:
    """Tell whether the daemon had answered before: what was asked may have been done."""
    return isinstance(error, DaemonUnreachable) and "closed the connection" in error.message


def _undelivered(receipt: Receipt) -> NotDelivered:
    reason = f": {receipt['reason']}" if receipt.get("reason") else ""
    state = receipt["state"]
    sentence = (
        f"typed, but not proven to be delivered{reason}."
        if state == "unconfirmed"
        else f"not delivered, the message is {state}{reason}."
    )
    return NotDelivered(sentence, f"See: novactl trace {receipt['id']}")


def _maybe_taken(error: NovaError, message_id: str) -> DaemonUnreachable:
    hint = f"{error.hint}. The message may have been taken; sending it again with --id {message_id} is safe"
    return DaemonUnreachable(error.message, hint)


def _unanswered(message_id: str) -> TimedOut:
    return TimedOut(
        "nova-torchd did not answer in time; it may have taken the message.",
        f"Sending it again with --id {message_id} is safe",
    )


def _receipt(answer: Any, args: dict[str, Any]) -> Receipt:
    if not isinstance(answer, dict):
        raise NovaError("nova-torchd answered something that is not a receipt.")
    return {"id": args["id"], "state": "accepted", **answer}


def show(values: Values, receipt: Receipt, *, state: bool) -> None:
    """Print a receipt: its id, with `state` the state too, and the answer if there is one."""
    if values["json"]:
        out.json_line(receipt)
    elif not state:
        out.line(receipt["id"])
    else:
        words = [receipt["id"], out.coloured(receipt["state"])]
        if receipt.get("reason"):
            words.append(out.safe(receipt["reason"]))
        out.line((out.GAP if out.on_terminal() else "\t").join(words))
        if receipt.get("reply"):
            out.line(out.text(receipt["reply"]["body"]))


def message_id(text: str | None) -> str:
    """Return the id that was given, or a new one. Raises InvalidRequest."""
    return new_ulid() if text is None else checked_id(text, "leave --id out to get one.")


def checked_id(text: str, otherwise: str) -> str:
    """Return an id in its own writing. Raises InvalidRequest, with what else can be done."""
    if not is_ulid(text.upper()):
        raise InvalidRequest(f"{text!r} is not a ULID.", f"It has 26 letters and digits; {otherwise}")
    return text.upper()


def form(values: Values) -> str | None:
    """Return how the body is dressed, None for the usual way. Raises InvalidRequest."""
    if values["raw"] and values["command"]:
        raise InvalidRequest("--raw and --command exclude each other.", "Use one of them.")
    return "raw" if values["raw"] else "command" if values["command"] else None


def body(values: Values) -> str:
    """Return the body from TEXT, --file or standard input; a file's last line end is not part of its text."""
    text: str | None = values["text"]
    if values["file"] is not None:
        if text is not None:
            raise InvalidRequest(
                "the text is given twice: as an argument and with --file.", "Use one of them."
            )
        return checked_body(_read_file(values["file"]))
    if text is not None and text != "-":
        return checked_body(text)
    if text is None and os.isatty(0):
        raise InvalidRequest(
            "there is no text to send.", "Give it as an argument, with --file, or pipe it in."
        )
    return checked_body(_read(0))


def _read_file(path: str) -> bytes:
    if path == "-":
        return _read(0)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", "Name another --file.") from None
    try:
        return _read(fd, path)
    finally:
        os.close(fd)


def _read(fd: int, name: str = "standard input") -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if size > MAX_BODY_BYTES + 2:  # enough to know: the rest is not read
            raise BodyTooLarge(
                f"{name} holds more than a body may have: the limit is {MAX_BODY_BYTES} bytes.",
                CURE_TOO_LARGE,
            )
        try:
            part = os.read(fd, 1 << 20)
        except OSError as error:
            raise InvalidRequest(
                f"{name} cannot be read: {error.strerror}.", "Give the text otherwise."
            ) from None
        if not part:
            break
        parts.append(part)
        size += len(part)
    data = b"".join(parts)
    return data[:-2] if data.endswith(b"\r\n") else data.removesuffix(b"\n")
