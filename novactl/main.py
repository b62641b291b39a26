"""Run novactl: hot commands on the light road, everything else through Typer. Exit codes: ARCHITECTURE, 4."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from novactl.options import Command, Values

INTERRUPTED = 130
PIPE_GONE = 141  # what a shell reports for a program that SIGPIPE ended
COMPLETING = "_NOVACTL_COMPLETE"


def main(argv: list[str] | None = None, *, light: bool = True) -> int:
    """Run the command line (default: this process's) and return the exit code.

    `light=False` sends hot commands through Typer too; the outcome is the same, only later.
    """
    words = sys.argv[1:] if argv is None else argv
    return guarded(lambda: _run(words, light=light))


def guarded(work: Callable[[], int]) -> int:
    """Run `work`; turn what goes wrong into a sentence on stderr and an exit code."""
    from nova_torch.errors import NovaError
    from novactl import out

    if sys.stdout is None:  # `>&-`: nobody wants the data, and no socket may come to stand in its place
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return work()
    except NovaError as error:
        out.error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except out.PipeGone:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # or the interpreter complains when it flushes at its end
        return PIPE_GONE
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not error.filename and not _directory_is_there():
            out.error("the current directory is gone. Go to another one: cd")
        else:
            out.error(f"{error.strerror or error}: {error.filename}." if error.filename else f"{error}.")
        return 1


def _directory_is_there() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def invoke(command: Command, values: Values) -> int:
    """Load what `command` runs and run it with `values`."""
    from importlib import import_module

    module, _, function = command.run.partition(":")
    code: int = getattr(import_module(module), function)(values)
    return code


def _run(argv: list[str], *, light: bool) -> int:
    from novactl.light import expand, parse

    if argv[:1] == ["--version"]:
        argv = ["version", *argv[1:]]
    elif argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    plain = parse(expand(argv)) if light and COMPLETING not in os.environ else None
    if plain is None or not plain[0].lenient:
        _check_text(argv)
    if plain is not None:
        return invoke(*plain)
    from novactl.app import run

    return run(argv)


def _check_text(argv: list[str]) -> None:
    for number, word in enumerate(argv, start=1):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            from nova_torch.errors import InvalidText

            raise InvalidText(
                f"argument {number} is not UTF-8.", "Encode it as UTF-8, or pipe a message in as UTF-8."
            ) from None


if __name__ == "__main__":
    sys.exit(main())
