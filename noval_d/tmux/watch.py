"""Notice what happens to panes: one subscription over all of them, without asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nova_torch.errors import TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.tmux.control import WATCH
from noval_d.tmux.fields import BadFacts, Reader, changing, text, word
from noval_d.tmux.panes import list_panes
from noval_d.tmux.quoting import quote

if TYPE_CHECKING:
    from noval_d.tmux.answers import Notification
    from noval_d.tmux.control import ControlClient

# tmux looks at a subscription once a second; these come at once, and are worth a look of our own.
PROMPT = frozenset({
    "%pane-mode-changed", "%sessions-changed", "%window-add", "%window-close",
    "%unlinked-window-add", "%unlinked-window-close", "%layout-change",
})  # fmt: skip

log = logging.getLogger("nova.tmux")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneState:
    """What the watch follows of a pane."""

    pid: int
    command: str
    dead: bool
    in_mode: bool
    title: str
    active_s: int = 0
    """The second (of the epoch) in which its window last drew something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is different from the last time: panes that are new or changed, and panes that are gone.

    `stirred` are those whose window has drawn something since, and of which nothing else is different.
    """

    changed: Mapping[PaneId, PaneState]
    gone: frozenset[PaneId]
    stirred: Mapping[PaneId, PaneState] = field(default_factory=dict)


@dataclass(slots=True)
class PaneTable:
    """The panes as last seen. Pure."""

    panes: dict[PaneId, PaneState] = field(default_factory=dict)

    def active_s(self, pane: PaneId) -> int:
        """Return when the window of a pane last drew something, as far as the subscription has told."""
        known = self.panes.get(pane)
        return known.active_s if known is not None else 0

    def update(self, now: Mapping[PaneId, PaneState]) -> Changes | None:
        """Take the panes as they are now; return what that changes, None if nothing."""
        different = {pane: state for pane, state in now.items() if self.panes.get(pane) != state}
        stirred = {pane: state for pane, state in different.items() if self._only_drew(pane, state)}
        changed = {pane: state for pane, state in different.items() if pane not in stirred}
        gone = frozenset(self.panes.keys() - now.keys())
        self.panes = dict(now)
        return Changes(changed=changed, gone=gone, stirred=stirred) if different or gone else None

    def _only_drew(self, pane: PaneId, state: PaneState) -> bool:
        known = self.panes.get(pane)
        return known is not None and replace(known, active_s=state.active_s) == state


def watch_format(own_session: str) -> str:
    """Return the format of the subscription: every pane of every session but our hidden one."""
    numbers = "".join(map(word, ("pane_id", "pane_pid", "pane_dead", "pane_in_mode", "window_activity")))
    pane = numbers + text("pane_title") + changing("pane_current_command")
    return f"#{{S:#{{?#{{==:#{{session_name}},{own_session}}},,#{{W:#{{P:{pane}}}}}}}}}"


def parse_watch(data: bytes) -> dict[PaneId, PaneState]:
    """Read what `watch_format` printed. Raises BadFacts."""
    reader = Reader(data)
    panes: dict[PaneId, PaneState] = {}
    while not reader.done:
        pane = PaneId(reader.word())
        pid, dead, in_mode = reader.number(), bool(reader.number()), bool(reader.number())
        active_s = reader.number()
        title, command = reader.text(), reader.changing()
        panes[pane] = PaneState(
            pid=pid, command=command, dead=dead, in_mode=in_mode, title=title, active_s=active_s
        )
    return panes


class PaneWatch:
    """Calls back with the changes of the server's panes: at once where tmux tells at once, else in a second.

    The first call comes soon after `start` and holds every pane. The watch lives as long as its client.
    """

    def __init__(self, client: ControlClient, callback: Callable[[Changes], None]) -> None:
        self._client = client
        self._callback = callback
        self._table = PaneTable()
        self._look: asyncio.Task[None] | None = None
        self._look_again = False

    async def start(self) -> None:
        """Subscribe. Raises TmuxUnavailable and TmuxNotAnswering."""
        self._client.subscribe(self._on_notification)
        answer = await self._client.run(
            f"refresh-client -B {quote(f'{WATCH}::{watch_format(self._client.session)}')}"
        )
        if answer.error is not None:
            raise TmuxUnavailable(f"tmux cannot watch panes: {answer.error}.", "tmux 3.2 or later is needed.")

    async def stop(self) -> None:
        """Take the subscription back; no call comes after this."""
        self._client.unsubscribe(self._on_notification)
        if self._look is not None:
            self._look.cancel()
        with contextlib.suppress(TmuxUnavailable):
            await self._client.run(f"refresh-client -B {WATCH}")

    def _on_notification(self, notification: Notification) -> None:
        if notification.name == "%subscription-changed":
            head, _, value = notification.rest.partition(b" : ")
            if head.partition(b" ")[0] == WATCH.encode():
                self._on_value(value)
        elif notification.name in PROMPT:
            self._look_soon()

    def _on_value(self, value: bytes) -> None:
        try:
            panes = parse_watch(value)
        except BadFacts:
            log.warning("tmux.watch_unreadable", extra={"value_bytes": len(value)})
            self._look_soon()
            return
        self._update(panes)

    def _update(self, panes: Mapping[PaneId, PaneState]) -> None:
        changes = self._table.update(panes)
        if changes is not None:
            self._callback(changes)

    def _look_soon(self) -> None:
        self._look_again = True
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._look_now(), name="pane-watch-look")

    async def _look_now(self) -> None:
        while self._look_again:
            self._look_again = False
            try:
                panes = await list_panes(self._client)
            except TmuxUnavailable:
                return  # the subscription tells, or the client's end does
            self._update(
                {
                    pane.pane_id: PaneState(
                        pid=pane.pid,
                        command=pane.command,
                        dead=pane.dead,
                        in_mode=pane.in_mode,
                        title=pane.title,
                        active_s=self._table.active_s(pane.pane_id),
                    )
                    for pane in panes
                }
            )
