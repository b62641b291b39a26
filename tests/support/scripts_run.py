"""Which of our scripts a server ran, with what they were told: seen by MONITOR."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nova_torch.broker import scripts
from tests.support.capture import Capture

_KNOWN = {script.sha: script.name for script in scripts.ALL}


class Ran(Capture):
    """The runs of scripts on one server: the name of each, and its arguments behind the keys."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.runs: list[tuple[str, list[str]]] = []

    def of(self, script: scripts.Script) -> list[list[str]]:
        """Return the arguments of each run of `script`."""
        return [words for name, words in self.runs if name == script.name]

    def _take(self, words: list[str], *, in_script: bool) -> None:
        if words[0].upper() == "EVALSHA":  # what the server did not know yet is sent again as a text
            self.runs.append((_KNOWN[words[1]], words[3 + int(words[2]) :]))


@contextlib.contextmanager
def scripts_run(path: str) -> Iterator[Ran]:
    """Watch the server behind a unix socket; what was run before the end of the block is there then."""
    ran = Ran(path)
    ran.start()
    try:
        yield ran
    finally:
        ran.stop()
