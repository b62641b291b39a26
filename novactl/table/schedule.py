"""Commands about messages that are sent later."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, Command, Param, option
from novactl.table.shared import AT, COMMAND, DEAD_AGENT, IN, PRIORITY, RAW, ZONE

SCHEDULE = Param("id", required=True, metavar="ID", help="The schedule's id.")

SCHEDULES = (
    Command(
        "schedule add",
        "novactl.commands.schedule:add",
        "Send a message later, once or again and again. Prints the schedule's id.",
        (
            Param("target", metavar="TARGET", completes="agents", help="The agent, as for send."),
            Param("text", metavar="TEXT|-", help="The message; - or nothing: read from standard input."),
            IN,
            AT,
            option("--every", metavar="DURATION", help="Send it again and again, so far apart."),
            option(
                "--cron", metavar="EXPR", help="Send it at these times, such as '0 9 * * MON-FRI' or @daily."
            ),
            ZONE,
            option("--here", FLAG, help="The target is the agent in this pane; the first word is the text."),
            option(
                "--missed",
                CHOICE,
                choices=("fire", "skip"),
                help="When nobody was there: send it late, or leave it out (configured: fire).",
            ),
            option("--late", metavar="DURATION", help="How late it may be sent (configured: 1h)."),
            option("--file", metavar="FILE", help="Read the message from a file."),
            PRIORITY,
            option("--ttl", metavar="DURATION", help="Give a message up when it is not typed by then."),
            option("--id", metavar="ULID", help="The schedule's id; adding one id again adds nothing."),
            RAW,
            COMMAND,
        ),
        examples=(
            'novactl schedule add --in 15m claude-1 "Is the build through?"',
            'novactl schedule add --here --every 1h "Write down what you did."',
            'novactl schedule add --cron "0 9 * * MON-FRI" --tz Europe/Berlin claude-1 "Good morning."',
        ),
    ),
    Command(
        "schedule list",
        "novactl.commands.schedule:list_schedules",
        "List the schedules, the next one first.",
        (DEAD_AGENT, option("--all -a", FLAG, help="Those that are over too, the last 500.")),
        examples=("novactl schedule list", "novactl schedule list --all --json"),
    ),
    Command(
        "schedule show",
        "novactl.commands.schedule:show",
        "Show one schedule with its message.",
        (SCHEDULE,),
        examples=("novactl schedule show 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
    Command(
        "schedule cancel",
        "novactl.commands.schedule:cancel",
        "End a schedule. What it has sent goes on.",
        (SCHEDULE,),
        examples=("novactl schedule cancel 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
)
