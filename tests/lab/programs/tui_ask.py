"""Ask the model at $ANTHROPIC_BASE_URL, as Claude Code asks it, and be told when it has answered."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Sequence

LIMIT_S = 7200.0


class Model:
    """Asks in threads; `fileno` becomes readable when an answer is there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers: queue.Queue[bool] = queue.Queue()
        self._reading, self._writing = os.pipe()

    def __repr__(self) -> str:
        return f"<Model {self._url}>"

    def fileno(self) -> int:
        return self._reading

    def ask(self, prompts: Sequence[str]) -> None:
        """Ask for what follows the prompts of this conversation."""
        threading.Thread(target=self._ask, args=(tuple(prompts),), daemon=True).start()

    def answer(self) -> bool:
        """Return whether the answer that is there wants to use a tool."""
        os.read(self._reading, 1)
        return self._answers.get()

    def _ask(self, prompts: Sequence[str]) -> None:
        import urllib.request  # a third of the program's start, which a hundred tests pay

        messages = [{"role": "user", "content": prompt} for prompt in prompts]
        asked = {"model": "fake", "messages": messages, "tools": [{"name": "Bash"}]}
        request = urllib.request.Request(f"{self._url}/v1/messages", json.dumps(asked).encode())
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
                wants_tool = json.load(response)["stop_reason"] == "tool_use"
        except OSError:
            return  # the model is gone: the turn never ends
        self._answers.put(wants_tool)
        os.write(self._writing, b".")
