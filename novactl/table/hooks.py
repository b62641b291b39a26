"""Commands that put our hooks into the agents' settings."""

from __future__ import annotations

from novactl.options import CHOICE, Command, Param, option

HOOKED = ("claude", "codex", "gemini")  # each has a module in novactl.hooks
HOOKED_AGENT = Param("agent", kind=CHOICE, choices=HOOKED, required=True, help="Which program's hooks.")
SETTINGS = option(
    "--settings",
    metavar="FILE",
    help="Its settings (default: settings.json below $CLAUDE_CONFIG_DIR or ~/.claude; "
    "Codex's: hooks.json below $CODEX_HOME or ~/.codex; "
    "Gemini CLI's: .gemini/settings.json below $GEMINI_CLI_HOME or ~).",
)

HOOKS = (
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
)
