"""Commands about the node itself."""

from __future__ import annotations

from novactl.options import FLAG, Command, option

NODE = (
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
        "install-service",
        "novactl.commands.service:install",
        "Write the systemd units of this installation, and say what comes next and how to go back.",
        (
            option("--user", FLAG, help="For yourself (systemctl --user) instead of the machine."),
            option("--run-as", metavar="USER", help="The user whose tmux server is served (default: nova)."),
            option("--print", FLAG, help="Only print the units, with the paths of this installation."),
            option("--dry-run", FLAG, help="Only say what would be written or removed."),
            option(
                "--force", FLAG, help="Replace units that somebody changed; what was there is kept beside."
            ),
            option("--remove", FLAG, help="Take the units away again."),
            option("--into", metavar="DIR", help="Another directory than systemd's, for packages."),
        ),
        examples=(
            "sudo novactl install-service",
            "novactl install-service --user",
            "novactl install-service --user --dry-run",
            "novactl install-service --print --run-as build",
            "novactl install-service --user --remove",
        ),
    ),
    Command(
        "status",
        "novactl.commands.node:status",
        "Show node, broker, tmux, agents, and what is held and why.",
        (option("--watch -w", FLAG, help="Show it again at every change."),),
        examples=("novactl status", "novactl status --json", "novactl status --watch"),
    ),
)
