"""Ask tmux how the program of a pane ended, and which start it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.values import PaneId
from noval_d.tmux.quoting import quote

if TYPE_CHECKING:
    from noval_d.tmux.control import ControlClient

START_OPTION = "@nova_start"
_FORMAT = "E:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{@nova_start}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A pane's program: whether it has ended, and how, as far as tmux knows."""

    pid: int
    dead: bool
    code: int | None
    signal: int | None
    token: str
    """The start that the pane was last used for."""

    @property
    def told(self) -> bool:
        """Whether its end and the status of it are known; tmux may have the one before the other."""
        return self.dead and (self.code is not None or self.signal is not None)


async def ending(client: ControlClient, pane: PaneId) -> Ending | None:
    """Return how it stands with the program of `pane`; None when there is no such pane. Raises TmuxUnavailable."""
    answer = await client.run(f"display-message -p -t {quote(pane)} {quote(_FORMAT)}")
    line = answer.lines[0].decode("utf-8", "replace") if answer.lines else ""
    fields = line.split(":", 6)
    if answer.error is not None or len(fields) != 7 or fields[1] != pane:
        return None
    _, _, pid, dead, code, signal, token = fields
    return Ending(
        pid=int(pid),
        dead=dead == "1",
        code=int(code) if code else None,
        signal=int(signal) if signal else None,
        token=token,
    )


async def reap(client: ControlClient) -> None:
    """Have tmux look after its children.

    When a pane's terminal closes before its program is reaped, tmux 3.3a leaves the zombie, and with it the
    status, until another child ends (13 of 60 programs that were killed). This is that other child.
    """
    await client.run("run-shell -b true")
