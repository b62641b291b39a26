"""Be `send-claude-message.sh <session:window> <message…>`: its arguments, its lines, its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nova_torch.errors import NovaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def main(called: str, words: Sequence[str]) -> int:
    """Send the message; `called` is what the script was called as."""
    if len(words) < 2:
        say(f"Usage: {called} <session:window> <message>")
        say(f"Example: {called} agentic-seek:3 'Hello Claude!'")
        return 1
    target, message = words[0], " ".join(words[1:])
    from noval_d.legacy.road import send

    try:
        sent = send(target, os.fsencode(message))
    except NovaError as error:
        return failed(called, error)
    if sent.note:
        note(called, sent.note)
    say(f"Message {'held for' if sent.waits else 'sent to'} {target}: {message}")
    return 0


def say(line: str) -> bool:
    """Print one line on stdout, whatever bytes it holds; tell whether that went well.

    What was done is done: who reads nothing, or has closed it, must not be led to send it again.
    """
    return _print(sys.stdout, 1, os.fsencode(line))


def note(called: str, sentence: str) -> None:
    """Print one line on stderr."""
    from nova_torch.clean import clean

    line = clean(f"{os.path.basename(called)}: {sentence}").replace("\n", "\\n")
    _print(sys.stderr, 2, line.encode("utf-8", "backslashreplace"))


def _print(stream: TextIO | None, descriptor: int, line: bytes) -> bool:
    if stream is None:  # closed, as by >&-
        return False
    try:
        stream.buffer.write(line + b"\n")
        stream.buffer.flush()
    except OSError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), descriptor
        )  # what is left of it is not tried again at the end
        return False
    return True


def failed(called: str, error: NovaError) -> int:
    """Say what went wrong; return the exit code, 0 where NOVA_LEGACY_EXIT_0 asks for the original's."""
    note(called, str(error))
    return (
        0
        if os.environ.get("NOVA_LEGACY_EXIT_0", "").lower() in {"1", "true", "yes", "on"}
        else error.exit_code
    )
