"""Commands about tasks: work that idle agents are given."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, INTEGER, LIST, Command, Param, option
from novactl.table.shared import DEAD_AGENT, PRIORITY

TASK = Param("id", required=True, metavar="ID", help="The task's id.")
DEADLINE = option("--deadline", metavar="DURATION", help="How long an agent may have it: 30m, 2h (no limit).")
DEPENDS = option("--depends-on", LIST, metavar="ID", help="Not before this task is done; again for more.")
STATES = ("ready", "waiting", "blocked", "assigned", "done", "failed", "cancelled")

TASKS = (
    Command(
        "task add",
        "novactl.commands.task:add",
        "Add a task. An idle agent that fits gets it, again another if that one dies. Prints the task's id.",
        (
            Param("title", required=True, metavar="TITLE", help="What is to be done, in one line."),
            option("--body", metavar="TEXT", help="All that its agent is to know."),
            option("--file", metavar="FILE", help="Read the body from a file; - for standard input."),
            option("--role", metavar="ROLE", help="Only for agents of this role."),
            option("--skill", LIST, metavar="SKILL", help="Only for agents with this skill; again for more."),
            PRIORITY,
            DEADLINE,
            DEPENDS,
            option("--retries", INTEGER, metavar="N", help="How often it is given again (configured: 3)."),
            option("--anyway", FLAG, help="Even if no agent of the fleet could have it now."),
            option("--id", metavar="ULID", help="The task's id; adding one id again adds nothing."),
        ),
        examples=(
            'novactl task add "Fix the flaky login test" --role developer --skill python --deadline 1h',
            "novactl task add Release --depends-on 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --file notes.md",
        ),
    ),
    Command(
        "task list",
        "novactl.commands.task:list_tasks",
        "List the tasks that are not over, in the order in which they are given.",
        (
            DEAD_AGENT,
            option("--role", metavar="ROLE", help="Only for this role."),
            option("--state", CHOICE, choices=STATES, help="Only in this state."),
            option("--all -a", FLAG, help="Those that are over too, the last 500."),
        ),
        examples=("novactl task list", "novactl task list --state blocked", "novactl task list --all --json"),
    ),
    Command(
        "task show",
        "novactl.commands.task:show",
        "Show one task: what happened to it, its result, and which agents could have it, with the reasons.",
        (TASK,),
        examples=("novactl task show 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
    Command(
        "task claim",
        "novactl.commands.task:claim",
        "Take a task for the agent in this pane: this one, or the first that fits. Prints id and text.",
        (Param("id", metavar="ID", help="The task's id."),),
        examples=("novactl task claim", "novactl task claim 01JD3ZK8Q5W9X2Y4V6B8N0M1P3"),
    ),
    Command(
        "task update",
        "novactl.commands.task:update",
        "Say how far a task is, or change what is asked for.",
        (
            TASK,
            option("--note", metavar="TEXT", help="How far it is, in words."),
            option("--progress", INTEGER, metavar="PERCENT", help="How far it is, 0 to 100."),
            option("--title", metavar="TITLE", help="Another title."),
            PRIORITY,
            DEADLINE,
            DEPENDS,
            option("--depends-on-nothing", FLAG, help="Wait for no other task any more."),
        ),
        examples=(
            'novactl task update 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --progress 60 --note "tests are left"',
            "novactl task update 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --priority urgent",
        ),
    ),
    Command(
        "task done",
        "novactl.commands.task:done",
        "End a task well. Again with the same result changes nothing.",
        (
            TASK,
            option("--result", metavar="TEXT", help="What came of it; - for standard input."),
            option("--artifact", LIST, metavar="PATH", help="A file or URL that came of it; again for more."),
        ),
        examples=(
            'novactl task done 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --result "Fixed in 4f2a" --artifact fix.patch',
        ),
    ),
    Command(
        "task fail",
        "novactl.commands.task:fail",
        "Give a task back: another agent gets it, until it was given too often.",
        (
            TASK,
            option("--reason", metavar="TEXT", help="Why it could not be done."),
            option("--final", FLAG, help="Nobody else is to try it."),
        ),
        examples=('novactl task fail 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --reason "no access to the server"',),
    ),
    Command(
        "task cancel",
        "novactl.commands.task:cancel",
        "End a task without a result; the agent that has it is told.",
        (TASK, option("--reason", metavar="TEXT", help="Why.")),
        examples=("novactl task cancel 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",),
    ),
    Command(
        "task reassign",
        "novactl.commands.task:reassign",
        "Take a task back and give it again, or open one that failed or was cancelled.",
        (
            TASK,
            option(
                "--to",
                metavar="AGENT",
                completes="agents",
                help="Only to this agent (as soon as it is idle).",
            ),
        ),
        examples=(
            "novactl task reassign 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",
            "novactl task reassign 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 --to claude-2",
        ),
    ),
    Command(
        "task watch",
        "novactl.commands.task:watch",
        "Show every step of every task (or of one) as it happens.",
        (Param("id", metavar="ID", help="The task's id."),),
        examples=("novactl task watch", "novactl task watch --json"),
    ),
)
