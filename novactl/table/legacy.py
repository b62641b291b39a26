"""Commands for who comes from the original Tmux Orchestrator: its scripts, and the whole way over."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, LIST, Command, option

DIRECTORY = option("--dir", metavar="DIR", help="The directory they are called from (default: ~/.local/bin).")

LEGACY = (
    Command(
        "migrate",
        "novactl.commands.migrate:migrate",
        "Take over what runs under the original Tmux Orchestrator: its scripts and its agents; or go back.",
        (
            option("--from", CHOICE, choices=("tmux-orchestrator",), help="What to take over."),
            option("--revert", FLAG, help="Take back what migrate did, and nothing else."),
            option("--dry-run", FLAG, help="Only say what would be done."),
            option("--only", CHOICE, choices=("scripts", "agents"), help="Only this half."),
            option(
                "--scripts",
                LIST,
                metavar="DIR",
                help="Where the scripts are (default: PATH, ~/Tmux-Orchestrator, the panes' directories).",
            ),
            option("--force", FLAG, help="Replace scripts that are not known; give waiting messages up."),
        ),
        examples=(
            "novactl migrate --from tmux-orchestrator --dry-run",
            "novactl migrate --from tmux-orchestrator --only scripts",
            "novactl migrate --from tmux-orchestrator --scripts ~/Tmux-Orchestrator",
            "novactl migrate --revert",
        ),
    ),
    Command(
        "legacy install",
        "novactl.commands.legacy:install",
        "Link the drop-in scripts of the original Tmux Orchestrator into a directory; what was there is kept.",
        (DIRECTORY,),
        examples=("novactl legacy install", "novactl legacy install --dir ~/Tmux-Orchestrator"),
    ),
    Command(
        "legacy status",
        "novactl.commands.legacy:status",
        "Say what stands in a directory under the scripts' names.",
        (DIRECTORY,),
        examples=("novactl legacy status",),
    ),
    Command(
        "legacy remove",
        "novactl.commands.legacy:remove",
        "Take the links away and put back what was there.",
        (DIRECTORY,),
        examples=("novactl legacy remove --dir ~/Tmux-Orchestrator",),
    ),
)
