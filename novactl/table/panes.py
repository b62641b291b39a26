"""Commands about what an agent's pane shows and is typed."""

from __future__ import annotations

from novactl.options import FLAG, INTEGER, Command, Param, option
from novactl.table.shared import AGENT

PANES = (
    Command(
        "peek",
        "novactl.commands.panes:peek",
        "Show what an agent's pane shows.",
        (
            AGENT,
            option("--lines -n", INTEGER, metavar="N", help="Only the last N lines."),
            option("--follow -f", FLAG, help="Show it again whenever it changes, until interrupted."),
        ),
        examples=("novactl peek claude-1", "novactl peek claude-1 -n 10", "novactl peek claude-1 --follow"),
    ),
    Command(
        "attach",
        "novactl.commands.panes:attach",
        "Open an agent's pane in this terminal.",
        (AGENT,),
        examples=("novactl attach claude-1",),
    ),
    Command(
        "answer",
        "novactl.commands.panes:answer",
        "Answer the dialog that is open in an agent; without a choice, show it.",
        (
            AGENT,
            Param("choice", metavar="CHOICE", help="An option's key, or its text or the beginning of it."),
            option("--fingerprint", metavar="F", help="Only if the dialog is still this one."),
        ),
        examples=(
            "novactl answer claude-1",
            "novactl answer claude-1 1 --fingerprint 3704ab7b",
            'novactl answer claude-1 "no"',
        ),
    ),
    Command(
        "adopt",
        "novactl.commands.adopt:adopt",
        "Find running agents by the rules of the configuration and register them. Running it twice is fine.",
        (option("--dry-run", FLAG, help="Only say what would be done."),),
        examples=("novactl adopt --dry-run", "novactl adopt --json"),
    ),
    Command(
        "pause",
        "novactl.commands.fleet:pause",
        "Type nothing into an agent until it is resumed; its messages wait.",
        (AGENT,),
        examples=("novactl pause claude-1",),
    ),
    Command(
        "resume",
        "novactl.commands.fleet:resume",
        "Type into a paused agent again.",
        (AGENT,),
        examples=("novactl resume claude-1",),
    ),
)
