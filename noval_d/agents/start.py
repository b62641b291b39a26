"""Say how an agent is started, resumed, asked to quit, and got through the dialogs of its start. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noval_d.tmux.screen import Screen

PROMPT = "{prompt}"
SESSION = "{session}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDialog:
    """A dialog that an agent may show before it is ready. Its keys are pressed only if its owner allowed that."""

    name: str
    marks: tuple[str, ...]
    """Plain pieces of it: all must be on the screen, for us and for tmux as it presses the keys."""
    keys: tuple[str, ...]
    """tmux's names of what says yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A driver's section `start`. A tuple that is empty says that the agent cannot do this."""

    command: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    quit: str = ""
    dialogs: tuple[StartDialog, ...] = ()


def _is_option(start: Start, prompt: str) -> bool:
    """Tell whether the agent would take the prompt for an option: it is then sent as a message."""
    return prompt.startswith("-") and PROMPT in start.prompt and "--" not in start.prompt


def known_dialog(start: Start, screen: Screen, rows: int) -> StartDialog | None:
    """Return the dialog of the start whose marks all stand in the lowest `rows`, or None."""
    bottom = screen.bottom(rows)
    return next((dialog for dialog in start.dialogs if all(mark in bottom for mark in dialog.marks)), None)


def start_argv(
    start: Start, command: Sequence[str], *, prompt: str | None, session: str | None
) -> tuple[list[str], bool]:
    """Return the argument vector of a start, and whether it carries the prompt.

    `command` is what its owner named, else that of the driver. A session that is resumed has had its prompt.
    """
    argv = list(command or start.command)
    if session and start.resume:
        return argv + [word.replace(SESSION, session) for word in start.resume], False
    if prompt and start.prompt and not _is_option(start, prompt):
        return argv + [word.replace(PROMPT, prompt) for word in start.prompt], True
    return argv, False
