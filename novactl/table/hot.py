"""The hot commands: those that agents, hooks and scripts call all the time. The light road reads no other rows."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, INTEGER, LIST, Command, Param, option
from novactl.table.shared import AT, COMMAND, IN, LAST, PRIORITY, RAW, ZONE

WAITS = ("submitted", "acknowledged", "replied")
STATES = ("starting", "idle", "busy", "dialog", "draft", "paused", "exited", "lost")

HOT = (
    Command(
        "send",
        "novactl.commands.send:send",
        "Send a message to an agent. Prints its id; with --wait its final state too.",
        (
            Param(
                "target",
                required=True,
                metavar="TARGET",
                completes="agents",
                help="An agent, session:window[.pane] here, or a group: all, role:R, skill:S, node:N, label:L.",
            ),
            Param("text", metavar="TEXT|-", help="The message; - or nothing: read from standard input."),
            option("--file", metavar="FILE", help="Read the message from a file."),
            option(
                "--wait",
                CHOICE,
                choices=WAITS,
                bare="submitted",
                help="Wait for this state; --wait alone: until the delivery is proven (submitted or better).",
            ),
            option("--timeout", metavar="DURATION", help="How long --wait waits (default 2m); 30s, 5m, 2h."),
            PRIORITY,
            option("--id", metavar="ULID", help="Its id; sending one id again sends nothing twice."),
            option("--ttl", metavar="DURATION", help="Give it up when it is not typed by then."),
            option("--any", FLAG, help="Of a group one: who is idle and has least to do."),
            option("--min", INTEGER, metavar="N", help="With --wait: until so many of a group are there."),
            option("--queue-offline", FLAG, help="Of a group also those who are away: it waits for them."),
            option("--dry-run", FLAG, help="Only say who of a group would get it."),
            IN,
            AT,
            ZONE,
            RAW,
            COMMAND,
        ),
        examples=(
            'novactl send claude-1 "Please run the tests"',
            "git diff | novactl send reviewer --wait=acknowledged --timeout 5m",
            "novactl send claude-1 --command /compact",
            'novactl send claude-1 --in 15m "Is the build through?"',
            'novactl send role:reviewer,skill:python "Please rebase" --wait=acknowledged --min 2',
            'novactl send role:reviewer --any "Review branch fix-42"',
            "novactl send all --dry-run hello",
        ),
    ),
    Command(
        "ask",
        "novactl.commands.talk:ask",
        "Send a question to an agent, wait for its answer and print it.",
        (
            Param(
                "target",
                required=True,
                metavar="TARGET",
                completes="agents",
                help="Who is asked, as for send; of a group one: who is idle and has least to do.",
            ),
            Param("text", metavar="TEXT|-", help="The question; - or nothing: read from standard input."),
            option("--file", metavar="FILE", help="Read the question from a file."),
            option(
                "--timeout",
                metavar="DURATION",
                help="How long to wait for the answer (default 10m); 30s, 5m.",
            ),
            PRIORITY,
            option(
                "--id", metavar="ULID", help="Its id; asking one id again waits on, or prints the answer."
            ),
            option("--ttl", metavar="DURATION", help="Give it up when it is not typed by then."),
        ),
        examples=(
            'novactl ask reviewer "Is the parser safe to merge?"',
            'answer=$(novactl ask reviewer "yes or no?" --timeout 5m)',
        ),
    ),
    Command(
        "reply",
        "novactl.commands.talk:reply",
        "Answer a message that you were sent. Prints the answer's own id.",
        (
            Param("question", required=True, metavar="ID", help="The id of the message that is answered."),
            Param("text", metavar="TEXT|-", help="The answer; - or nothing: read from standard input."),
            option("--file", metavar="FILE", help="Read the answer from a file."),
            PRIORITY,
            option(
                "--id", metavar="ULID", help="The answer's own id; sending it again answers nothing twice."
            ),
        ),
        examples=(
            'novactl reply 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 "Yes, it is."',
            "git diff | novactl reply 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",
        ),
    ),
    Command(
        "inbox",
        "novactl.commands.fleet:inbox",
        "Show an agent's messages, the newest last.",
        (
            Param(
                "agent",
                metavar="AGENT",
                completes="agents",
                help="The agent (default: the one in this pane).",
            ),
            option("--unanswered", FLAG, help="Only what wants an answer and has none."),
            option("--replies", FLAG, help="Only answers; in no agent's pane those that are kept for you."),
            LAST,
        ),
        examples=("novactl inbox", "novactl inbox claude-1 -n 5", "novactl inbox --unanswered"),
    ),
    Command(
        "agents",
        "novactl.commands.fleet:agents",
        "List the agents of the fleet.",
        (
            option("--role", metavar="ROLE", help="Only those of this role."),
            option(
                "--skill", LIST, metavar="SKILL", help="Only those with this skill; several: all must match."
            ),
            option("--node", metavar="NODE", help="Only those of this node."),
            option("--label", LIST, metavar="LABEL", help="Only those on nodes with this label."),
            option("--state", CHOICE, choices=STATES, help="Only those in this state."),
            option("--free", FLAG, help="Only who could begin something now: idle, and nothing waits."),
            option("--watch -w", FLAG, help="Go on and show who comes, goes, moves and changes."),
        ),
        examples=(
            "novactl agents",
            "novactl agents --role reviewer --skill python --json",
            "novactl agents --label zone=eu --free",
            "novactl agents --watch",
        ),
    ),
    Command(
        "hook",
        "novactl.commands.operate:hook",
        "Report a hook of the agent in this pane. Reads the event on stdin, always exits 0, prints nothing.",
        (Param("event", metavar="EVENT", help="The hook's name, such as UserPromptSubmit."),),
        examples=("novactl hook Stop < event.json",),
        lenient=True,
    ),
)
