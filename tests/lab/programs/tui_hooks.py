"""Tell a hook command what happened, one event after the other, as Claude Code tells its hooks."""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
import uuid

HOOK_LIMIT_S = 10.0
QUEUE_LIMIT = 1000
TOOL = {"tool_name": "Bash", "tool_input": {"command": "touch toolran", "description": "Create a file"}}


class Hooks:
    """Runs `COMMAND EVENT` with the event's JSON on its standard input, in the order of the events.

    A thread of its own keeps the screen alive meanwhile; `close` waits for what is under way.
    """

    def __init__(self, command: str, session: str = "") -> None:
        self._command = shlex.split(command)
        self._session = session or str(uuid.uuid4())
        self._events: queue.Queue[dict[str, object] | None] = queue.Queue(QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Hooks {shlex.join(self._command) or 'none'} waiting={self._events.qsize()}>"

    def tell(self, event: str, **fields: object) -> None:
        """Queue one event; without a command nothing runs."""
        if self._command:
            common = {"session_id": self._session, "transcript_path": "", "cwd": os.getcwd()}
            self._events.put({**common, "permission_mode": "default", "hook_event_name": event, **fields})

    def close(self) -> None:
        """Run what is queued, then end."""
        self._events.put(None)
        self._thread.join(2 * HOOK_LIMIT_S)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                subprocess.run(
                    [*self._command, str(event["hook_event_name"])],
                    input=json.dumps(event).encode(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=HOOK_LIMIT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired):
                continue  # a broken hook does not stop an agent
