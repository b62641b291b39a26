"""Commands about who may do what, and who did."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, Command, Param, option
from novactl.table.shared import LAST

ACTIONS = ("send", "speak", "spawn", "stop", "adopt", "answer", "operate", "task")
KINDS = ("message", "task", "reply", "event", "control")

GUARD = (
    Command(
        "audit",
        "novactl.commands.guard:audit",
        "Show who asked what of the daemon: user, program, agent, call, target and result. No bodies.",
        (
            option("--since", metavar="DURATION", help="Only what is no older than this: 10m, 2h, 1d."),
            LAST,
        ),
        examples=("novactl audit --since 1h", "novactl audit -n 20 --json"),
    ),
    Command(
        "policy check",
        "novactl.commands.guard:policy_check",
        "Say whether somebody may do something to an agent, and which rule decides. Exit code 0: yes, 4: no.",
        (
            Param(
                "from_", required=True, metavar="FROM", help="Who: an agent, user:NAME, bridge:NAME:SENDER."
            ),
            Param("to", required=True, metavar="TO", completes="agents", help="The agent, or node:N."),
            option("--do", CHOICE, choices=ACTIONS, help="What (send)."),
            option("--kind", CHOICE, choices=KINDS, help="Of a message: its kind (message)."),
            option("--command", FLAG, help="Of a message: it is a command of the agent."),
            option("--file", metavar="FILE", help="By this policy file, instead of the one that holds."),
        ),
        examples=(
            "novactl policy check worker-1 reviewer",
            "novactl policy check bridge:ops:ann worker-1 --command",
            "novactl policy check user:ann worker-1 --do stop --file ./policy.toml",
            "novactl policy check worker-1 node:host-a --do operate",
        ),
    ),
)
