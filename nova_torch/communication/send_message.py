"""Send one message: `python -m nova_torch.communication.send_message AGENT "text"`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nova_torch.durations import seconds
from nova_torch.errors import InvalidRequest, NotDelivered
from nova_torch.values import UNDELIVERED, Receipt

WAIT_S = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Send, print the id and the state, return the exit code (novactl's)."""
    from nova_torch.communication.postbox import WAITS
    from nova_torch.program import parser, run_program

    options = parser(
        "nova_torch.communication.send_message",
        "Send a message to an agent. Sent again with one --id, it is typed once.",
        '%(prog)s agent_123 "Task assignment: implement auth"\n'
        '%(prog)s reviewer "Is it safe?" --wait replied --timeout 5m\n'
        "git diff | %(prog)s reviewer -",
    )
    options.add_argument("agent", metavar="AGENT", help="the agent's name")
    options.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    options.add_argument(
        "--wait", choices=sorted(WAITS), help="wait until it is so far; replied prints the answer"
    )
    options.add_argument("--timeout", metavar="DURATION", help="how long to wait (2m): 500ms, 30s, 5m")
    options.add_argument("--priority", default="normal", help="urgent, high, normal or low")
    options.add_argument("--id", metavar="ULID", help="its id")
    options.add_argument("--sender", default="", help="the name it is sent under")
    given = options.parse_args(argv)
    final: list[Receipt] = []

    def work() -> dict[str, Any]:
        from nova_torch.communication import NovaOrchestrator

        nova = NovaOrchestrator(socket=given.socket)
        limit_s = seconds(given.timeout) if given.timeout else (WAIT_S if given.wait else None)
        receipt = nova.send_message(
            given.agent,
            _body(given.text),
            wait=given.wait,
            timeout_s=limit_s,
            message_id=given.id,
            priority=given.priority,
            sender=given.sender,
        )
        final.append(receipt)
        reply = nova.answer(receipt.id).to_json() if receipt.state == "replied" else None
        return {**receipt.to_json(), **({"reply": reply} if reply else {})}

    code = run_program(work, json_wanted=given.json, show=_show)
    return NotDelivered.exit_code if final and not code and final[0].state in UNDELIVERED else code


def _body(text: str) -> str | bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("the text is not UTF-8.", "Encode it as UTF-8.") from None
    return text


def _show(sent: dict[str, Any]) -> list[str]:
    why = f"  {sent['reason']}" if sent["reason"] and "reply" not in sent else ""
    lines = [f"{sent['id']}  {sent['state']}{why}"]
    return lines + (sent["reply"]["body"].splitlines() if "reply" in sent else [])


if __name__ == "__main__":
    sys.exit(main())
