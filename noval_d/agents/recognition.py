"""Decide which agent a pane runs, by its command and the command line in its foreground. Pure.

tmux names a pane's program by the first word of its foreground: `node`, `python3`, `bash`. That is the name of
an interpreter, never of an agent, so for those the script that they run decides. Only the process that leads the
foreground counts: what it starts is its own affair, and may be another agent that it works with out of sight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from os.path import basename

from nova_torch.values import AgentSpec
from noval_d.agents.driver import Driver

_INTERPRETER = re.compile(
    r"(?:python|pypy|node|nodejs|bun|deno|ruby|perl|java|php|lua|luajit|tclsh|electron|npm|npx|uv|uvx"
    r"|sh|ash|bash|csh|dash|fish|ksh|mksh|tcsh|zsh)[\d.]*"
)
_CODE = frozenset({"-c", "-e", "-p", "--eval", "--print", "-m", "-jar"})  # what runs is the next word
_VERBS = frozenset({"exec", "run", "tool", "x"})  # of npm, bun, uv: the script is the next word
_CODE_CHARS = 80
_SHELLS = frozenset({
    "sh", "ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "pwsh", "rbash", "tcsh",
    "xonsh", "yash", "zsh",
})  # fmt: skip
_GATES = frozenset({
    "abduco", "asciinema", "byobu", "doas", "docker", "dtach", "expect", "kubectl", "lxc", "machinectl", "mosh",
    "mosh-client", "nsenter", "podman", "rlwrap", "screen", "script", "ssh", "su", "sudo", "systemd-run",
    "telnet", "tmate", "tmux", "zellij",
})  # fmt: skip


def is_interpreter(command: str) -> bool:
    """Tell whether `command` runs programs of other names, so that its own name says nothing."""
    return _INTERPRETER.fullmatch(command) is not None


def is_shell(command: str) -> bool:
    """Tell whether `command` is a shell of this very machine and user."""
    return command.lstrip("-") in _SHELLS


def may_be_a_shell(command: str) -> bool:
    """Tell whether `command` is a shell, or leads to one of another user, machine or container."""
    return command.lstrip("-") in _SHELLS | _GATES


def script_of(command: str, argv: Sequence[str]) -> str | None:
    """Return what an interpreter runs: the script's file name, `-m module`, `-c code`, or "" for nothing.

    A command that is no interpreter runs itself (""); None: the command line could not be read.
    """
    if not is_interpreter(command):
        return ""
    if not argv or not argv[0]:
        return None
    words = iter([*argv[0].split()[1:], *argv[1:]])  # npm joins its words into one
    for word in words:
        if word in _CODE:
            return f"{word} {next(words, '')}"[:_CODE_CHARS]
        if word and not word.startswith("-") and word not in _VERBS:
            return basename(word)
    return ""


def claims(driver: Driver, command: str, argv: Sequence[str]) -> bool:
    """Tell whether the driver knows this program as its agent."""
    if command not in driver.commands:
        return False
    if not is_interpreter(command):
        return True
    line = " ".join(argv)
    return any(pattern.search(line) for pattern in driver.processes)


def claimants(drivers: Iterable[Driver], command: str, argv: Sequence[str]) -> list[str]:
    """Return the names of the drivers that know this program."""
    return sorted(driver.name for driver in drivers if claims(driver, command, argv))


def is_present(driver: Driver, spec: AgentSpec, command: str, argv: Sequence[str]) -> bool:
    """Tell whether the agent itself is in front: not its shell, nor another program of its interpreter.

    A driver that names no command serves the program that was in front when the agent was registered.
    """
    if driver.commands:
        return claims(driver, command, argv)
    if command != spec.program or (driver.kind != "line" and may_be_a_shell(command)):
        return False
    return spec.script is None or script_of(command, argv) == spec.script


def described(command: str, argv: Sequence[str]) -> str:
    """Return what a pane runs, for people: `node server.js`. Arguments may be secret and are left out."""
    script = script_of(command, argv) or ""
    shown = "" if script.startswith(("-c", "-e", "-p", "--")) else script
    return " ".join(word for word in (command, shown) if word) or "something else"
