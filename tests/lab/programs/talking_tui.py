"""The lab's agent with a will: it answers what it is asked, and runs what a prompt tells it to, through novactl.

`--novactl CMD` is how novactl is called. A prompt with `NOVACTL<<words>>` runs `novactl words`; what it printed
goes to the log as `ran`. `--answer TEXT` answers every prompt whose first line tells how, `--answer-all TEXT`
every prompt that names a message, answers included.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a script: its neighbours are found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.lab.programs import agent_tui
from tests.lab.programs.tui_model import Happened

WANTED = re.compile(r"\[nova \w+ from [^]]+\] Answer with: novactl reply (\w+) ")
NAMED = re.compile(r"\[nova (\w+) from [^]]+\]")
ORDER = re.compile(r"NOVACTL<<(.*?)>>", re.DOTALL)
LIMIT_S = 120.0


def orders(prompt: str, *, answer: str, answer_all: str) -> list[list[str]]:
    """Return the calls of novactl that a prompt leads to."""
    found = [shlex.split(words) for words in ORDER.findall(prompt)]
    if answer and (asked := WANTED.match(prompt)) is not None:
        found.append(["reply", asked[1], answer])
    if answer_all and (named := NAMED.match(prompt)) is not None:
        found.append(["reply", named[1], answer_all])
    return found


def _taken(name: str) -> str:
    """Take an option and its value off the command line."""
    if name not in sys.argv:
        return ""
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at : at + 2]
    return value


def main() -> None:
    """Take our own options off the command line and run the rest as agent_tui does."""
    novactl = shlex.split(_taken("--novactl"))
    answer, answer_all = _taken("--answer"), _taken("--answer-all")
    log = Path(sys.argv[sys.argv.index("--log") + 1])

    class Talking(agent_tui.Program):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)

        def _report(self, happened: Happened) -> None:
            super()._report(happened)
            if happened.what == "prompt":
                for words in orders(happened.text, answer=answer, answer_all=answer_all):
                    threading.Thread(target=_run, args=([*novactl, *words], log), daemon=True).start()

    setattr(agent_tui, "Program", Talking)  # noqa: B010 - its will is put in from outside
    agent_tui.main()


def _run(command: Sequence[str], log: Path) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    said = {"code": done.returncode, "out": done.stdout, "err": done.stderr, "command": list(command[-4:])}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"t": time.time(), "event": "ran", "text": json.dumps(said)}) + "\n")


if __name__ == "__main__":
    main()
