"""Commands about messages on their way."""

from __future__ import annotations

from novactl.options import Command, Param, option
from novactl.table.shared import DEAD_AGENT, LAST

MESSAGE = Param("id", required=True, metavar="ID", help="The message's id.")

MESSAGES = (
    Command(
        "trace",
        "novactl.commands.flow:trace",
        "Show every hop of one message, with times and reasons, and what may keep it at another node.",
        (MESSAGE,),
        examples=("novactl trace 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
    Command(
        "watch",
        "novactl.commands.flow:watch",
        "Show the flow of messages, live, until interrupted.",
        (option("--agent", metavar="AGENT", completes="agents", help="Only this agent's messages."),),
        examples=("novactl watch", "novactl watch --agent claude-1 --json"),
    ),
    Command(
        "dead list",
        "novactl.commands.flow:dead_list",
        "List the messages that were given up.",
        (DEAD_AGENT, LAST),
        examples=("novactl dead list", "novactl dead list --agent claude-1 --json"),
    ),
    Command(
        "dead retry",
        "novactl.commands.flow:dead_retry",
        "Put a message that was given up back into its mailbox.",
        (MESSAGE,),
        examples=("novactl dead retry 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
    Command(
        "dead drop",
        "novactl.commands.flow:dead_drop",
        "Forget a message that was given up.",
        (MESSAGE,),
        examples=("novactl dead drop 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
)
