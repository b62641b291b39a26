"""Do what tasks say: end each task that a line names. `doer.py LOGFILE [--hold] [--work SECONDS]`.

The log gets a line for each task that was told and each that was ended. With `--hold` none is ended.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client

TOLD = re.compile(r"Task ([0-9A-Z]{26}): ")
DONE = re.compile(r"novactl task done ([0-9A-Z]{26})")
TRIES = 300


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--work", type=float, default=0.0)
    options = parser.parse_args()
    print("READY", flush=True)
    with options.log.open("a", buffering=1) as log:
        for line in sys.stdin:
            if told := TOLD.search(line):
                log.write(f"told {told[1]}\n")
            if (done := DONE.search(line)) and not options.hold:
                time.sleep(options.work)
                log.write(f"{end(done[1])} {done[1]}\n")


def end(task: str) -> str:
    """End a task; return `done`, or the code of what was in the way."""
    where = {"pane": os.environ["TMUX_PANE"], "tmux": os.environ["TMUX"]}
    for _ in range(TRIES):
        try:
            with Client.connect(os.environ["NOVA_SOCKET"], 5.0) as client:
                client.call("task_done", {"id": task, "result": f"by pid {os.getpid()}", **where})
        except NovaError as error:
            if error.code not in ("daemon_unreachable", "broker_unavailable", "timed_out"):
                return error.code
            time.sleep(0.1)
        else:
            return "done"
    return "gave_up"


if __name__ == "__main__":
    main()
