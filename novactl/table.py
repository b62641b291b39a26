"""The one table of novactl's commands. The light road and the Typer app are both made from it.

What a command does is named as `module:function` and loaded when it runs.
"""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, INTEGER, LIST, Command, Param, option

PRIORITIES = ("urgent", "high", "normal", "low")
WAITS = ("submitted", "acknowledged", "replied")
STATES = ("starting", "idle", "busy", "dialog", "draft", "paused", "exited", "lost")
SHELLS = ("bash", "zsh", "fish")
HOOKED = ("claude", "codex", "gemini")  # each has a module in novactl.hooks
RESTARTS = ("always", "on-failure", "never")

AGENT = Param("agent", required=True, metavar="AGENT", completes="agents", help="The agent's name.")
MESSAGE = Param("id", required=True, metavar="ID", help="The message's id.")
ROLE = option("--role", metavar="ROLE", help="Its role.")
SKILL = option("--skill", LIST, metavar="SKILL", help="A skill; may be given several times.")
LAST = option("--limit -n", INTEGER, metavar="N", help="Only the last N.")
DEAD_AGENT = option("--agent", metavar="AGENT", completes="agents", help="Only this agent's.")
HOOKED_AGENT = Param("agent", kind=CHOICE, choices=HOOKED, required=True, help="Which program's hooks.")
SETTINGS = option(
    "--settings",
    metavar="FILE",
    help="Its settings (default: settings.json below $CLAUDE_CONFIG_DIR or ~/.claude; "
    "Codex's: hooks.json below $CODEX_HOME or ~/.codex; "
    "Gemini CLI's: .gemini/settings.json below $GEMINI_CLI_HOME or ~).",
)

IN = option("--in", metavar="DURATION", help="Send it so much later: 30s, 15m, 2h.")
AT = option(
    "--at", metavar="TIME", help="Send it then: 17:30 (the next one), '2026-12-01 09:00', or with an offset."
)
ZONE = option("--tz", metavar="ZONE", help="Time zone of --at and --cron (default: the local one).")
PRIORITY = option("--priority -p", CHOICE, choices=PRIORITIES, help="How soon it should be typed (normal).")
RAW = option("--raw", FLAG, help="Type the body as it is, without a line that names the sender.")
COMMAND = option("--command", FLAG, help="The body is a command of the agent, such as /compact.")
SCHEDULE = Param("id", required=True, metavar="ID", help="The schedule's id.")

GROUPS = {
    "driver": "What agents look like: list, show, test, record.",
    "schedule": "Messages that are sent later: add, list, show, cancel.",
    "dead": "Messages that were given up: list, retry, drop.",
    "hooks": "The agents' hooks, which prove deliveries: install, status, remove.",
    "config": "The configuration: show, validate.",
}

COMMANDS = (
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
                help="An agent's name, or session:window[.pane] of a local pane.",
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
            option("--priority -p", CHOICE, choices=PRIORITIES, help="How soon it should be typed (normal)."),
            option("--id", metavar="ULID", help="Its id; sending one id again sends nothing twice."),
            option("--ttl", metavar="DURATION", help="Give it up when it is not typed by then."),
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
        ),
        hot=True,
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
                help="Who is asked, as for send.",
            ),
            Param("text", metavar="TEXT|-", help="The question; - or nothing: read from standard input."),
            option("--file", metavar="FILE", help="Read the question from a file."),
            option(
                "--timeout",
                metavar="DURATION",
                help="How long to wait for the answer (default 10m); 30s, 5m.",
            ),
            option("--priority -p", CHOICE, choices=PRIORITIES, help="How soon it should be typed (normal)."),
            option(
                "--id", metavar="ULID", help="Its id; asking one id again waits on, or prints the answer."
            ),
            option("--ttl", metavar="DURATION", help="Give it up when it is not typed by then."),
        ),
        examples=(
            'novactl ask reviewer "Is the parser safe to merge?"',
            'answer=$(novactl ask reviewer "yes or no?" --timeout 5m)',
        ),
        hot=True,
    ),
    Command(
        "reply",
        "novactl.commands.talk:reply",
        "Answer a message that you were sent. Prints the answer's own id.",
        (
            Param("question", required=True, metavar="ID", help="The id of the message that is answered."),
            Param("text", metavar="TEXT|-", help="The answer; - or nothing: read from standard input."),
            option("--file", metavar="FILE", help="Read the answer from a file."),
            option("--priority -p", CHOICE, choices=PRIORITIES, help="How soon it should be typed (normal)."),
            option(
                "--id", metavar="ULID", help="The answer's own id; sending it again answers nothing twice."
            ),
        ),
        examples=(
            'novactl reply 01JD3ZK8Q5W9X2Y4V6B8N0M1P3 "Yes, it is."',
            "git diff | novactl reply 01JD3ZK8Q5W9X2Y4V6B8N0M1P3",
        ),
        hot=True,
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
        hot=True,
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
            option("--state", CHOICE, choices=STATES, help="Only those in this state."),
        ),
        examples=("novactl agents", "novactl agents --role reviewer --skill python --json"),
        hot=True,
    ),
    Command(
        "hook",
        "novactl.commands.operate:hook",
        "Report a hook of the agent in this pane. Reads the event on stdin, always exits 0, prints nothing.",
        (Param("event", metavar="EVENT", help="The hook's name, such as UserPromptSubmit."),),
        examples=("novactl hook Stop < event.json",),
        hot=True,
        lenient=True,
    ),
    Command(
        "up",
        "novactl.commands.node:up",
        "Start a node for this user and wait until it is ready. Running it twice is fine.",
        (
            option(
                "--broker",
                metavar="URL",
                help="embedded, redis://, rediss://, unix:// (default: configured).",
            ),
            option("--foreground", FLAG, help="Stay in the foreground, as a service manager wants it."),
            option("--config", metavar="FILE", help="Configuration file."),
            option("--timeout", metavar="DURATION", help="How long to wait until it is ready (default 30s)."),
        ),
        examples=("novactl up", "novactl up --broker redis://dragonfly.internal:6379"),
    ),
    Command(
        "down",
        "novactl.commands.node:down",
        "Stop the node in order and wait until it is gone. The agents go on.",
        (option("--timeout", metavar="DURATION", help="How long to wait until it is gone (default 30s)."),),
        examples=("novactl down",),
    ),
    Command(
        "status",
        "novactl.commands.node:status",
        "Show node, broker, tmux, agents, and what is held and why.",
        (option("--watch -w", FLAG, help="Show it again at every change."),),
        examples=("novactl status", "novactl status --json", "novactl status --watch"),
    ),
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
            Param(
                "role", required=True, metavar="ROLE", help="A template of the configuration, else a role."
            ),
            Param("words", kind=LIST, metavar="COMMAND", help="What to start, behind --: no shell reads it."),
            option("--id", metavar="ID", help="Its name (default: ROLE and eight digits)."),
            SKILL,
            option("--driver", metavar="DRIVER", help="How it is typed into (default: by the command)."),
            option("--cwd", metavar="DIR", help="Where it works (default: here)."),
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
    Command(
        "trace",
        "novactl.commands.flow:trace",
        "Show every hop of one message, with times and reasons.",
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
            option("--cron", metavar="EXPR", help="Send it at these times, such as '0 9 * * MON-FRI'."),
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
        (DEAD_AGENT, option("--all -a", FLAG, help="Those that are over too.")),
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
    Command(
        "driver list",
        "novactl.commands.driver:list_drivers",
        "List the drivers, and which of your own cannot be used. Needs no daemon.",
        examples=("novactl driver list", "novactl driver list --json"),
    ),
    Command(
        "driver show",
        "novactl.commands.driver:show",
        "Print a driver's file, to read or to begin your own with. Needs no daemon.",
        (Param("name", required=True, metavar="NAME", help="The driver's name."),),
        examples=("novactl driver show claude > drivers/claude.toml",),
    ),
    Command(
        "driver test",
        "novactl.commands.driver:test",
        "Run drivers against recorded screens and say which expectation fails and how. Needs no daemon.",
        (
            Param(
                "files",
                kind=LIST,
                required=True,
                metavar="FILE",
                help="A driver (.toml) with the screens of the directory beside it, or one screen (.screen).",
            ),
            option(
                "--driver", metavar="DRIVER", help="The driver of a screen (default: its directory's name)."
            ),
        ),
        examples=("novactl driver test drivers/mine.toml", "novactl driver test drivers/mine/idle.screen"),
    ),
    Command(
        "driver record",
        "novactl.commands.driver:record",
        "Record what a pane shows as a screen of a driver, with what the driver sees there now.",
        (
            Param("pane", required=True, metavar="PANE", help="The pane: %N or session:window.pane."),
            option("--driver", metavar="DRIVER", help="The driver (default: that of its agent or program)."),
            option("--out", metavar="FILE", help="Write it to this new file instead of standard output."),
        ),
        examples=("novactl driver record %3 --out drivers/mine/idle.screen",),
    ),
    Command(
        "hooks install",
        "novactl.commands.hooks:install",
        "Write our hooks into the agent's settings; everything else in there stays as it is.",
        (HOOKED_AGENT, SETTINGS),
        examples=("novactl hooks install claude", "novactl hooks install codex"),
    ),
    Command(
        "hooks status",
        "novactl.commands.hooks:status",
        "Say which hooks are installed and whether what they call still exists.",
        (HOOKED_AGENT, SETTINGS),
        examples=("novactl hooks status claude", "novactl hooks status claude --json"),
    ),
    Command(
        "hooks remove",
        "novactl.commands.hooks:remove",
        "Take exactly our hooks out of the agent's settings.",
        (HOOKED_AGENT, SETTINGS),
        examples=("novactl hooks remove claude",),
    ),
    Command(
        "doctor",
        "novactl.commands.operate:doctor",
        "Look for what is wrong, here and in the daemon, and say what helps.",
        examples=("novactl doctor", "novactl doctor --json"),
    ),
    Command(
        "config show",
        "novactl.commands.operate:config_show",
        "Show the configuration in effect, without secrets.",
        (option("--config", metavar="FILE", help="That of this file instead of the running daemon's."),),
        examples=("novactl config show", "novactl config show --json"),
    ),
    Command(
        "config validate",
        "novactl.commands.operate:config_validate",
        "Say whether the configuration can be used.",
        (option("--config", metavar="FILE", help="The file (default: the first of the usual places)."),),
        examples=("novactl config validate", "novactl config validate --config ./config.toml"),
    ),
    Command(
        "rpc",
        "novactl.commands.operate:rpc",
        "Make a call of the control protocol and print its answer as JSON.",
        (
            Param("call", required=True, metavar="CALL", help="The call's name."),
            Param("args", metavar="JSON", help="Its arguments, a JSON object; - reads it from stdin."),
            option("--stream", FLAG, help="Ask for a stream: a line for the snapshot and each change."),
        ),
        examples=(
            "novactl rpc ping",
            'novactl rpc agents \'{"role": "tester"}\'',
            "novactl rpc watch --stream",
        ),
    ),
    Command(
        "version",
        "novactl.commands.operate:version",
        "Print the version of this program and of the daemon, if it runs.",
        examples=("novactl version", "novactl version --json"),
    ),
    Command(
        "completion",
        "novactl.commands.operate:completion",
        "Print the completion script of a shell.",
        (Param("shell", kind=CHOICE, choices=SHELLS, required=True, help="The shell."),),
        examples=('eval "$(novactl completion bash)"', "novactl completion fish | source"),
    ),
)
