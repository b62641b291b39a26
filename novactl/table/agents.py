"""Commands by which agents come and go."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, LIST, Command, Param, option
from novactl.table.shared import AGENT

ROLE = option("--role", metavar="ROLE", help="Its role.")
SKILL = option("--skill", LIST, metavar="SKILL", help="A skill; may be given several times.")
RESTARTS = ("always", "on-failure", "never")

AGENTS = (
    Command(
        "register",
        "novactl.commands.fleet:register",
        "Make a running pane an agent.",
        (
            Param("agent", required=True, metavar="ID", help="Its name: letters, digits, _ . -, 64 at most."),
            option("--pane", metavar="PANE", help="The pane: %N or session:window.pane."),
            option("--here", FLAG, help="The pane this command runs in."),
            ROLE,
            SKILL,
            option("--driver", metavar="DRIVER", help="How it is typed into (default: by what runs there)."),
        ),
        examples=(
            "novactl register claude-1 --pane %3",
            "novactl register reviewer-1 --here --role reviewer --skill python --skill sql",
        ),
    ),
    Command(
        "unregister",
        "novactl.commands.fleet:unregister",
        "Forget an agent. Its program goes on; messages that wait for it are given up.",
        (AGENT,),
        examples=("novactl unregister claude-1",),
    ),
    Command(
        "spawn",
        "novactl.commands.life:spawn",
        "Start an agent in a window of its own; returns when it is ready.",
        (
            Param("template", metavar="ROLE", help="A template of the configuration, else a role."),
            Param("words", kind=LIST, metavar="COMMAND", help="What to start, behind --: no shell reads it."),
            option("--id", metavar="ID", help="Its name (default: ROLE and eight digits)."),
            option("--node", metavar="NODE", help="Where: a node's name, or auto for the best of the fleet."),
            option("--label", LIST, metavar="LABEL", help="A label the node must have; as with --node auto."),
            option("--dry-run", FLAG, help="Only say which node would be taken, and why."),
            option(
                "--role", metavar="ROLE", help="Its role, said so; every other word is the command's then."
            ),
            SKILL,
            option(
                "--driver",
                metavar="DRIVER",
                help="How it is typed into (default: by the command, else the first agent that is installed).",
            ),
            option("--cwd", metavar="DIR", help="Where it works (default: here; elsewhere: home)."),
            option("--session", metavar="SESSION", help="The tmux session of its window (default: nova)."),
            option("--prompt", metavar="TEXT", help="Its first prompt."),
            option(
                "--env",
                LIST,
                metavar="NAME=VALUE",
                help="A variable; without =VALUE that of this shell. May be given several times.",
            ),
            option("--restart", CHOICE, choices=RESTARTS, help="Whether it comes back when it ends (never)."),
            option("--allow", LIST, metavar="DIALOG", help="Answer this dialog of its start with yes."),
            option("--timeout", metavar="DURATION", help="How long to wait until it is ready (default 60s)."),
        ),
        examples=(
            "novactl spawn reviewer",
            "novactl spawn developer --skill python --skill testing",
            "novactl spawn --role developer -- claude --model opus",
            "novactl spawn reviewer --node auto --label zone=eu",
            'novactl spawn claude --allow trust --prompt "Read the README, then wait."',
            "novactl spawn builder --driver claude --restart on-failure -- claude --model opus",
        ),
    ),
    Command(
        "stop",
        "novactl.commands.life:stop",
        "End a spawned agent for good. What its pane showed is archived, what waited for it is given up.",
        (AGENT, option("--force", FLAG, help="Do not ask it first: kill it.")),
        examples=("novactl stop reviewer-1a2b3c4d",),
    ),
    Command(
        "restart",
        "novactl.commands.life:restart",
        "End a spawned agent's program and start it again; its name and its messages stay.",
        (
            AGENT,
            option("--force", FLAG, help="Do not ask it first: kill it."),
            option("--timeout", metavar="DURATION", help="How long to wait until it is ready (default 60s)."),
        ),
        examples=("novactl restart reviewer-1a2b3c4d",),
    ),
)
