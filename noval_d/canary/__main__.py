"""Try the installed agents, one after the other: `python -m noval_d.canary [--agent NAME]… [options]`.

Prints a JSON map a line, as it comes. Its `event` is `agent`, `absent` or `broken` (its driver's file), then for
each check `step` and `check`; at last `done`, or `error`. Ends and removes everything on SIGTERM, SIGINT, SIGHUP,
and with `--until-eof` when standard input ends: whoever asked is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova_torch.errors import DriverInvalid, InvalidRequest, NotFound, NovaError, StoreFailed
from nova_torch.nearest import suggestion
from noval_d.agents.driver_file import BUILT_IN, driver_files, read_driver
from noval_d.canary.found import KINDS, Found, find, version_of
from noval_d.canary.results import Check, Result
from noval_d.canary.stage import stage
from noval_d.canary.trial import Trial

LIMIT_S = 240.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Try the agents; 0 also for an error that is told."""
    asked = _parser().parse_args()
    ending = Ending()
    for name in SIGNALS:
        signal.signal(name, ending.take)
    if asked.until_eof:
        threading.Thread(target=_end_at_eof, daemon=True).start()
    try:
        _try_all(asked, ending)
    except NovaError as error:
        _say("error", err=error.to_wire())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody is left to tell
        return 1
    return 0


def _try_all(asked: argparse.Namespace, ending: Ending) -> None:
    files = driver_files(Path(asked.drivers) if asked.drivers else None)
    for name in asked.agent:
        _known(name)
    programs = dict(map(_program, asked.program))
    for name in dict.fromkeys(asked.agent) or KINDS:
        try:
            driver = read_driver(files[name])
        except DriverInvalid as error:  # it keeps none of the others from being tried
            _say("broken", agent=name, title=KINDS[name].title, why=f"{error.message} {error.hint}")
            continue
        found = find(KINDS[name], driver, programs, os.environ)
        if found is None:
            _say("absent", agent=name, title=KINDS[name].title, command=driver.start.command or (name,))
        else:
            source = "" if files[name].parent == BUILT_IN else str(files[name])
            _try(found, source, asked, ending)
            ending.heed()
    _say("done")


def _try(found: Found, source: str, asked: argparse.Namespace, ending: Ending) -> None:
    """Try one agent on a stage of its own, and tell how each check ended."""
    name, driver = found.kind.name, found.driver
    kept = Kept(asked.keep, name)
    with (
        stage(drivers=asked.drivers or "", program=found.program, limit_s=asked.limit) as on,
        ending.put_off_afterwards(),
    ):
        env = {**on.environment, **found.kind.environment(on.stub.url)}
        version = version_of(found.program, env, str(on.work))
        _say(
            "agent",
            agent=name,
            title=found.kind.title,
            program=found.program,
            version=version,
            driver=source,
            looks_of=driver.version,
        )
        found.kind.furnish(on.home, on.work.resolve(), on.stub.url)
        on.start_node()
        trial = Trial(on=on, kind=found.kind, driver=driver, program=found.program)
        for result in trial.run(lambda check: _say("step", agent=name, check=check.value)):
            _say("check", agent=name, **_told(result, kept))


class Ending:
    """Ends the program when a signal says so: at once, or when what was started has been removed."""

    def __init__(self) -> None:
        self._asked = False
        self._put_off = False

    def take(self, _signal: int, _frame: object) -> None:
        """Take a signal."""
        self._asked = True
        if not self._put_off:
            self._put_off = True  # one that comes again does not disturb the removal
            raise SystemExit(1)

    @contextlib.contextmanager
    def put_off_afterwards(self) -> Iterator[None]:
        """From the end of this block on signals wait for `heed`."""
        try:
            yield
        finally:
            self._put_off = True

    def heed(self) -> None:
        """End now if that was asked for meanwhile."""
        self._put_off = False
        if self._asked:
            raise SystemExit(1)


class Kept:
    """The directory that keeps the screens of an agent's last trial."""

    def __init__(self, directory: str | None, agent: str) -> None:
        self._directory = Path(directory) if directory else None
        self._agent = agent
        if self._directory is not None:
            for check in Check:  # and nothing else: the directory is the user's
                (self._directory / f"{agent}-{check.value}.screen").unlink(missing_ok=True)

    def keep(self, check: Check, text: str) -> str:
        """Write a screen; return its file. Raises StoreFailed."""
        if self._directory is None:
            return ""
        file = self._directory / f"{self._agent}-{check.value}.screen"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreFailed(f"{file} cannot be written: {error.strerror}.", "Make room.") from error
        return str(file)


def _told(result: Result, kept: Kept) -> dict[str, Any]:
    text = result.screen.text if result.screen is not None else ""
    return {
        "check": result.check.value,
        "result": result.outcome.value,
        "expected": result.expected,
        "seen": result.seen,
        "why": result.why,
        "screen": text,
        "file": kept.keep(result.check, text) if text else "",
    }


def _known(name: str) -> None:
    if name not in KINDS:
        cure = suggestion(name, KINDS, otherwise=f"Known: {', '.join(KINDS)}.")
        raise NotFound(f"there is no trial for an agent {name!r}.", cure)


def _program(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    _known(name)
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise InvalidRequest(f"{path or 'nothing'} is no program.", "Write --program claude=/path/to/claude.")
    return name, path


def _say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def _end_at_eof() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noval_d.canary", description="Try drivers on installed agents.")
    parser.add_argument("--agent", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--program", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--drivers", help="the user's own drivers")
    parser.add_argument("--keep", help="directory for screens that are not as expected")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for each agent")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
