"""Record a pane as a `.screen` file: what a driver is tested with. First line JSON, then the captured lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova_torch.errors import InvalidRequest, PaneNotFound
from nova_torch.reading import json_value
from nova_torch.values import PaneId
from noval_d.agents.driver import Driver
from noval_d.agents.sight import Sight, look
from noval_d.tmux.control import ControlClient
from noval_d.tmux.panes import PANE_FORMAT, PaneFacts, parse_pane
from noval_d.tmux.quoting import quote
from noval_d.tmux.screen import Screen, parse_screen

EXPECTED = (
    "composer",
    "dialog",
    "busy",
    "pending",
    "limit",
    "compacting",
    "pasted",
    "cut",
    "starting",
    "home",
    "reason",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One captured screen, and what its driver should make of it (fields of Sight)."""

    lines: tuple[bytes, ...]
    cursor_x: int
    cursor_y: int
    cursor_visible: bool
    title: str
    command: str
    columns: int
    rows: int
    expect: Mapping[str, Any] = field(default_factory=dict)

    @property
    def screen(self) -> Screen:
        """The screen as a driver gets it."""
        return parse_screen(
            self.lines,
            cursor_x=self.cursor_x,
            cursor_y=self.cursor_y,
            cursor_visible=self.cursor_visible,
            title=self.title,
            command=self.command,
        )

    def __repr__(self) -> str:
        return f"<Recording {self.columns}x{self.rows} {self.title!r}>"


async def record(
    client: ControlClient, pane_id: PaneId, driver: Driver, *, replace: Mapping[str, str] | None = None
) -> str:
    """Return the `.screen` text of the pane as it is now; what the driver makes of it becomes its expectation.

    `replace` makes it neutral: paths and names, each by a text of the same length. Raises PaneNotFound,
    InvalidRequest (lengths differ) and what the client raises.
    """
    target = quote(pane_id)
    answer = await client.run(
        f"display-message -p -t {target} {quote(PANE_FORMAT)} ; capture-pane -p -e -N -t {target}"
    )
    blocks = answer.blocks
    if len(blocks) < 2 or not (blocks[0].ok and blocks[1].ok):
        raise PaneNotFound(f"there is no pane {pane_id}.", "List them: tmux list-panes -a.")
    facts = parse_pane(b"\n".join(blocks[0].lines))
    return recorded(blocks[1].lines, facts, driver, replace=replace or {})


def recorded(lines: Sequence[bytes], facts: PaneFacts, driver: Driver, *, replace: Mapping[str, str]) -> str:
    """Return the `.screen` text of captured `lines`; see `record`."""
    recording = Recording(
        lines=tuple(_neutral(line.decode("utf-8", "replace"), replace).encode() for line in lines),
        cursor_x=facts.cursor_x,
        cursor_y=facts.cursor_y,
        cursor_visible=facts.cursor_visible,
        title=_neutral(facts.title, replace),
        command=facts.command,
        columns=facts.width,
        rows=facts.height,
    )
    return write_recording(recording, expectation(look(driver, recording.screen)))


def expectation(sight: Sight) -> dict[str, Any]:
    """Return what a `.screen` file says of a sight: composer, dialog and busy, the rest where it is true."""
    said = {name: getattr(sight, name) for name in EXPECTED}
    return {name: value for name, value in said.items() if value or name in {"composer", "dialog", "busy"}}


def write_recording(recording: Recording, expect: Mapping[str, Any]) -> str:
    """Return the text of a `.screen` file."""
    head = {
        "cursor_x": recording.cursor_x,
        "cursor_y": recording.cursor_y,
        "cursor_visible": recording.cursor_visible,
        "title": recording.title,
        "command": recording.command,
        "columns": recording.columns,
        "rows": recording.rows,
        "expect": dict(expect),
    }
    lines = [line.decode("utf-8", "replace") for line in recording.lines]
    return "\n".join([json.dumps(head, ensure_ascii=False), *lines, ""])


def read_recording(text: str) -> Recording:
    """Return the recording that a `.screen` file holds. Raises InvalidRequest."""
    first, *lines = text.split("\n")
    try:
        head = json_value(first)
        return Recording(lines=tuple(line.encode() for line in lines[: head["rows"]]), **head)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(
            f"this is no recorded screen: {error}.", "Record it: novactl driver record."
        ) from None


def _neutral(text: str, replace: Mapping[str, str]) -> str:
    for old, new in replace.items():
        if len(old) != len(new):
            raise InvalidRequest(f"{new!r} is not as long as {old!r}.", "Screens keep their columns.")
        text = text.replace(old, new)
    return text
