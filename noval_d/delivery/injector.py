"""Type into panes: guard, paste and marker as ONE control line each, so each happened whole or not at all.

Nothing here decides; every method says whether tmux ran it. DELIVERY, section 2, has the reasons.
"""

from __future__ import annotations

import itertools
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nova_torch.errors import StoreFailed, TmuxNotAnswering, TmuxUnavailable
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import is_interpreter
from noval_d.delivery.lines import (
    COUNT_KEYS,
    all_of,
    cursor_as_seen,
    enter_key,
    guard,
    keys_as_seen,
    uncounted,
)
from noval_d.failpoints import failpoint
from noval_d.tmux.clock import SET_CLOCK, in_time
from noval_d.tmux.control import Answer, ControlClient, quote
from noval_d.tmux.link import TmuxLink
from noval_d.tmux.panes import PaneFacts

log = logging.getLogger("nova.tmux")

MARKER = "@nova_last"
PROMPT = "@nova_prompt"
ENTERED = ".enter"
LATE_S = 0.1  # an Enter that tmux gets to later than this (rounded up to its whole seconds) is refused


class Injector:
    """Pastes, spaces and Enters into panes over the node's control client."""

    def __init__(self, link: TmuxLink, directory: str, wall: Callable[[], float] = time.time) -> None:
        self._link = link
        self._directory = Path(directory)
        self._wall = wall
        self._count = itertools.count(1)

    def sweep(self) -> None:
        """Remove message files that a daemon which has died left behind. Raises StoreFailed."""
        self._make_directory()
        for file in self._directory.glob("m-*"):
            file.unlink(missing_ok=True)

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise StoreFailed(
                f"the directory {self._directory} for messages is not this user's alone.", "Remove it."
            )

    @staticmethod
    async def prepare(client: ControlClient) -> None:
        """Give the server the clock format that the Enter guard reads, and have it count keys."""
        error = (await client.run(SET_CLOCK)).error
        if error is not None:
            raise TmuxUnavailable(f"tmux refused the clock of the Enter guard: {error}.")
        error = (await client.run(COUNT_KEYS)).error
        if error is not None:
            log.warning("tmux.keys_not_counted", extra={"problem": error})

    async def paste(
        self,
        pane: PaneFacts,
        text: str,
        token: str,
        *,
        enter: Driver | None = None,
        at_cursor: bool = True,
        prompt: str = "",
    ) -> bool:
        """Paste `text` and set the marker to `token`; with `enter` its Enter is part of the same line.

        With `at_cursor` only while the cursor stands where it was seen: somebody else's keys move it. So does what
        a program prints, which is no reason to keep a line from one that is at work. `prompt` is kept in the pane.

        Returns True when it ran, False when the guard refused it. Raises TmuxNotAnswering or TmuxUnavailable
        when that is not known: the marker tells later.
        """
        file = self._directory / f"m-{os.getpid()}-{next(self._count)}"
        buffer = f"nova-{file.name}"
        self._write(file, text.encode())
        target = pane.pane_id
        inner = [f"paste-buffer -p -r -d -b {buffer} -t {target}"]
        if enter is not None:
            inner += [enter_key(enter, pane), uncounted(pane)]
            token += ENTERED
        if prompt:
            inner.append(f"set-option -p -t {target} {PROMPT} {quote(prompt)}")
        inner += [f"set-option -p -t {target} {MARKER} {quote(token)}", "display-message -p OK"]
        conditions = [guard(pane), keys_as_seen(pane), *([cursor_as_seen(pane)] if at_cursor else [])]
        if is_interpreter(pane.command):  # the guard sees its name only: what was looked at must be fresh
            conditions.append(in_time(int(self._wall() + LATE_S)))
        failpoint("paste.before")
        answer = await self._run(
            f"load-buffer -b {buffer} {quote(str(file))} ; "
            + _if(pane, all_of(conditions), inner, [f"delete-buffer -b {buffer}", "display-message -p NO"])
        )
        failpoint("paste.after")
        # kept while it is not known whether the line ran; the next start sweeps it
        file.unlink(missing_ok=True)
        return b"OK" in answer.lines

    def _write(self, file: Path, data: bytes) -> None:
        try:
            try:
                _write_private(file, data)
            except FileNotFoundError:  # memory file systems are swept, for example at a logout
                self._make_directory()
                _write_private(file, data)
        except OSError as error:
            file.unlink(missing_ok=True)
            raise StoreFailed(
                f"the message file {file} cannot be written: {error.strerror}.", "Make room there."
            ) from None

    async def enter(
        self, pane: PaneFacts, driver: Driver, token: str, text: str | None, absent: Sequence[str]
    ) -> bool:
        """Press Enter if `text` is on the screen, none of `absent` is, and tmux gets to it in time.

        The cursor must still be where it was seen: whatever somebody else types moves it.
        """
        conditions = [*self._now(pane), cursor_as_seen(pane)]
        if text:
            conditions.append(f"#{{C:{text}}}")
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        target = pane.pane_id
        inner = [enter_key(driver, pane), uncounted(pane)]
        inner.append(f"set-option -p -t {target} {MARKER} {quote(token + ENTERED)}")
        failpoint("enter.before")
        answer = await self._run(_if(pane, all_of(conditions), [*inner, "display-message -p OK"], _NO))
        failpoint("enter.after")
        return b"OK" in answer.lines

    async def keys(
        self, pane: PaneFacts, keys: str, absent: Sequence[str], *, at_cursor: bool = False
    ) -> bool:
        """Press harmless keys by tmux's names (a space, clearing keys), guarded like Enter.

        With `at_cursor` only while the cursor stands where it was seen: nobody else's keys came meanwhile.
        """
        conditions = self._now(pane)
        conditions += [cursor_as_seen(pane)] if at_cursor else []
        conditions += [f"#{{?#{{C:{mark}}},0,1}}" for mark in absent]
        inner = [f"send-keys -t {pane.pane_id} {keys}", uncounted(pane), "display-message -p OK"]
        answer = await self._run(_if(pane, all_of(conditions), inner, _NO))
        return b"OK" in answer.lines

    async def press(
        self, pane: PaneFacts, keys: Sequence[str], pieces: Sequence[str], *, at_cursor: bool = False
    ) -> bool:
        """Press the keys of an answer, if all `pieces` of its dialog are on the screen as tmux gets to it.

        With `at_cursor` only while the cursor stands where it was seen: an answered question stays on the screen.
        """
        conditions = self._now(pane)
        if at_cursor:
            conditions += [cursor_as_seen(pane), f"#{{==:#{{history_size}},{pane.history_rows}}}"]
        conditions += [f"#{{C:{piece}}}" for piece in pieces]
        pressed = " ".join(quote(key) for key in keys)
        inner = [f"send-keys -t {pane.pane_id} {pressed}", uncounted(pane), "display-message -p OK"]
        answer = await self._run(_if(pane, all_of(conditions), inner, _NO))
        return b"OK" in answer.lines

    def _now(self, pane: PaneFacts) -> list[str]:
        """Return what all keys demand: the pane and its count of keys as seen, and that tmux gets to it in time."""
        return [guard(pane), keys_as_seen(pane), in_time(int(self._wall() + LATE_S))]

    async def _run(self, line: str) -> Answer:
        try:
            answer = await self._link.client.run(line)
        except TmuxNotAnswering:
            self._link.answered(well=False)
            raise
        self._link.answered(well=True)
        return answer


_NO = ["display-message -p NO"]


def _write_private(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as sink:
        sink.write(data)


def _if(pane: PaneFacts, condition: str, then: Sequence[str], otherwise: Sequence[str]) -> str:
    """Return one control line that runs `then` or `otherwise` by the format `condition` of the pane."""
    branches = quote(" ; ".join(then)), quote(" ; ".join(otherwise))
    return f"if-shell -F -t {pane.pane_id} {quote(condition)} {branches[0]} {branches[1]}"
