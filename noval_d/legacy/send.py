"""Be `send-claude-message.sh <session:window> <message…>`: its arguments, its lines, its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nova_torch.errors import NovaError


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


def say(line: str) -> None:
    """Print one line on stdout, whatever bytes it holds."""
    sys.stdout.buffer.write(os.fsencode(line) + b"\n")
    sys.stdout.buffer.flush()


def note(called: str, sentence: str) -> None:
    """Print one line on stderr."""
    from nova_torch.clean import clean

    line = clean(f"{os.path.basename(called)}: {sentence}").replace("\n", "\\n")
    sys.stderr.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stderr.buffer.flush()


def failed(called: str, error: NovaError) -> int:
    """Say what went wrong; return the exit code, 0 where NOVA_LEGACY_EXIT_0 asks for the original's."""
    note(called, str(error))
    return (
        0
        if os.environ.get("NOVA_LEGACY_EXIT_0", "").lower() in {"1", "true", "yes", "on"}
        else error.exit_code
    )
