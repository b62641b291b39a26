"""Commands that put the scripts of the original Tmux Orchestrator onto PATH."""

from __future__ import annotations

from novactl.options import Command, option

DIRECTORY = option("--dir", metavar="DIR", help="The directory they are called from (default: ~/.local/bin).")

LEGACY = (
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
