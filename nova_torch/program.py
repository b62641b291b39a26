"""What the library's own programs (`python -m nova_torch…`) share: options, output, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from nova_torch.clean import clean
from nova_torch.errors import NovaError

INTERRUPTED = 130


def parser(module: str, about: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser with what every program takes; `%(prog)s` in `examples` is the program."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=about,
        epilog=f"examples:\n{_indented(examples)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--socket", metavar="PATH", help="control socket of the daemon (default: $NOVA_SOCKET)")
    return made


def run_program(work: Callable[[], Any], *, json_wanted: bool, show: Callable[[Any], Iterable[str]]) -> int:
    """Do `work` and print what it returns; a NovaError is one sentence and novactl's exit code for it."""
    try:
        value = work()
        lines = [json.dumps(value, ensure_ascii=False)] if json_wanted else show(value)
        for line in lines:
            say(line)
    except NovaError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _leave_stdout()  # nobody reads: not an error
    return 0


def say(line: str) -> None:
    """Print one line at once, without anything that a terminal would obey. Raises NovaError on a full disk."""
    try:
        print(clean(line).replace("\n", "\\n"), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _leave_stdout()
        raise NovaError(
            f"standard output cannot be written: {error.strerror}.",
            "What was asked for may be done all the same.",
        ) from None


def complain(error: NovaError) -> None:
    """Print an error as one line on stderr."""
    unknown = error.exit_code not in (2, 5) and error.message_id and error.message_id not in str(error)
    about = f" (message_id {error.message_id})" if unknown else ""
    print(f"nova_torch: {clean(str(error))}{about}".replace("\n", "\\n"), file=sys.stderr, flush=True)


def _leave_stdout() -> None:
    """Write nothing more there, at the end of the process either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _indented(examples: str) -> str:
    return "\n".join(f"  {line}" for line in examples.splitlines())
