"""Ask an agent and print its answer; answer what one was asked. Light: both are hot."""

from __future__ import annotations

import time

from nova_torch.durations import seconds
from nova_torch.errors import DaemonUnreachable, ShuttingDown
from novactl import out
from novactl.commands.send import (
    ABSENT_S,
    AGAIN_S,
    body,
    checked_id,
    is_group,
    judged,
    message_id,
    sent,
    show,
    waited,
)
from novactl.session import CALL_S, caller, connect, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

ANSWER_S = 600.0


def ask(values: Values) -> int:
    """Send a question, wait for its answer and print it."""
    limit = limit_s(values, ANSWER_S)
    args = given(
        {
            "id": message_id(values["id"]),
            "target": values["target"],
            "body": body(values),
            "priority": values["priority"],
            "ttl_s": None if values["ttl"] is None else seconds(values["ttl"]),
            "wait": "replied",
            "any": is_group(values["target"]),
            **caller(),
        }
    )
    receipt = waited(values, args, limit)
    if receipt["state"] != "replied":
        show(values, receipt, state=True)
        return judged(receipt, "replied", limit)
    receipt = with_reply(values, receipt)
    if values["json"]:
        out.json_line(receipt)
    else:
        out.line(out.text(receipt["reply"]["body"]))
    return 0


def reply(values: Values) -> int:
    """Answer a message; print the id of the answer."""
    args = given(
        {
            "question": checked_id(values["question"], "yours are listed by: novactl inbox --unanswered"),
            "id": message_id(values["id"]),
            "body": body(values),
            "priority": values["priority"],
            **caller(),
        }
    )
    show(values, sent(values, "reply", args, limit_s(values, CALL_S)), state=False)
    return 0


def with_reply(values: Values, receipt: dict[str, Any]) -> dict[str, Any]:
    """Return the receipt of an answered message with its answer, which the daemon then need not type."""
    until = time.monotonic() + ABSENT_S
    while True:
        try:
            with connect(values) as client:
                return {**receipt, "reply": client.call("answer", {"id": receipt["id"], "take": True})}
        except (DaemonUnreachable, ShuttingDown):
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN_S)
