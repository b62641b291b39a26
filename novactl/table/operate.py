"""Commands for finding out what is wrong, and for programs."""

from __future__ import annotations

from novactl.options import CHOICE, FLAG, LIST, Command, Param, option

SHELLS = ("bash", "zsh", "fish")

OPERATE = (
    Command(
        "doctor",
        "novactl.commands.operate:doctor",
        "Look for what is wrong, here and in the daemon, and say what helps.",
        (
            option(
                "--drivers",
                FLAG,
                help="Instead: start each installed agent against a stub model, and see whether its driver fits.",
            ),
            option("--agent", LIST, metavar="NAME", help="With --drivers: only this one; may be repeated."),
            option(
                "--program",
                LIST,
                metavar="NAME=PATH",
                help="With --drivers: where an agent's program is (default: $NOVA_NAME_BIN, else on PATH).",
            ),
        ),
        examples=(
            "novactl doctor",
            "novactl doctor --json",
            "novactl doctor --drivers",
            "novactl doctor --drivers --agent claude --timeout 2m",
        ),
    ),
    Command(
        "health",
        "novactl.commands.operate:health",
        "Show the node's health in figures, against the limits of the section `monitoring`.",
        examples=("novactl health", "novactl health --json"),
    ),
    Command(
        "bugreport",
        "novactl.commands.bugreport:bugreport",
        "Write one file with what a maintainer needs to know, without bodies, screens and secrets.",
        (
            option(
                "--output -o",
                metavar="FILE",
                help="The file, or its directory (default: nova-torch-bugreport-UTC.tar.gz here).",
            ),
            option("--force", FLAG, help="Write over a file that is there."),
            option("--list", FLAG, help="Only say what would be in it; write nothing."),
        ),
        examples=(
            "novactl bugreport",
            "novactl bugreport --list",
            "novactl bugreport -o /tmp/report.tar.gz --json",
        ),
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
