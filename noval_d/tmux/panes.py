"""What tmux knows of a pane: its facts, its screen, its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.errors import PaneNotFound, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.tmux.fields import BadFacts, Reader, changing, text, word
from noval_d.tmux.quoting import quote

if TYPE_CHECKING:
    from noval_d.tmux.control import Answer, ControlClient
    from noval_d.tmux.screen import Screen

_START = b"P "
PANE_FORMAT = (
    "P "
    + word("pane_id")
    + "".join(map(word, (
        "pane_pid", "pane_dead", "pane_in_mode", "pane_input_off", "pane_synchronized", "window_index",
        "cursor_x", "cursor_y", "cursor_flag", "pane_width", "pane_height",
        "history_size",
    )))
    + "".join(map(text, (
        "pane_tty", "session_name", "window_name", "@nova_agent", "@nova_node", "@nova_spec", "@nova_last",
        "@nova_prompt", "@nova_keys", "pane_title",
    )))
    + changing("pane_current_command")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneFacts:
    """One pane at one moment. `options` that are not set are empty."""

    pane_id: PaneId
    pid: int
    tty: str
    command: str
    dead: bool
    in_mode: bool
    input_off: bool
    synchronized: bool
    title: str
    session: str
    window_index: int
    window_name: str
    cursor_x: int
    cursor_y: int
    cursor_visible: bool
    width: int
    height: int
    history_rows: int = 0
    """Rows that have scrolled out: with `cursor_y` they say whether the cursor has left its row."""
    nova_agent: str = ""
    nova_node: str = ""
    nova_spec: str = ""
    nova_last: str = ""
    nova_prompt: str = ""
    nova_keys: str = ""
    """How many `send-keys` of others came (`delivery/lines.py`); only that it changes says something."""

    @property
    def target(self) -> str:
        """`session:window`, as a person would name it."""
        return f"{self.session}:{self.window_index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A pane's facts, and its screen of the same moment if that was asked for."""

    facts: PaneFacts
    screen: Screen | None


def parse_pane(line: bytes) -> PaneFacts:
    """Read one pane printed with PANE_FORMAT. Raises BadFacts."""
    panes = parse_panes(line)
    if len(panes) != 1:
        raise BadFacts
    return panes[0]


def parse_panes(data: bytes) -> tuple[PaneFacts, ...]:
    """Read panes printed with PANE_FORMAT, with a line feed between them. Raises BadFacts."""
    reader = Reader(data)
    panes: list[PaneFacts] = []
    while not reader.done:
        if panes:
            reader.literal(b"\n")
        panes.append(_take_pane(reader))
    return tuple(panes)


async def list_panes(client: ControlClient, *, timeout_s: float = 5.0) -> tuple[PaneFacts, ...]:
    """Return every pane of the server, once each, but those of the client's own hidden session."""
    answer = await client.run(f"list-panes -a -F {quote(PANE_FORMAT)}", timeout_s=timeout_s)
    _no_error(answer)
    panes = parse_panes(b"\n".join(answer.lines))
    # A window linked into several sessions shows its panes once for each of them.
    once = {pane.pane_id: pane for pane in reversed(panes) if pane.session != client.session}
    return tuple(reversed(once.values()))


async def observe(
    client: ControlClient, pane_id: PaneId, *, capture: bool, timeout_s: float = 5.0
) -> Observation | None:
    """Return the pane's facts and, with `capture`, its visible screen, of one moment; None: no such pane."""
    from noval_d.tmux.screen import parse_screen

    target = quote(pane_id)
    line = f"display-message -p -t {target} {quote(PANE_FORMAT)}"
    if capture:
        line += f" ; capture-pane -p -e -N -t {target}"
    answer = await client.run(line, timeout_s=timeout_s)
    if answer.ambiguous:  # the screen shows the very guards of this answer: the next one has others
        answer = await client.run(line, timeout_s=timeout_s)
    # display-message of a missing pane is no error: it answers with empty or another pane's fields.
    if not answer.blocks or not answer.blocks[0].lines[0:1] or answer.ambiguous:
        _no_error(answer)
        return None
    first = b"\n".join(answer.blocks[0].lines)
    if not answer.blocks[0].ok or not first.startswith(f"P {pane_id} ".encode()):
        return None
    facts = parse_pane(first)
    if not capture:
        return Observation(facts=facts, screen=None)
    if len(answer.blocks) < 2 or not answer.blocks[1].ok:
        return None
    screen = parse_screen(
        answer.blocks[1].lines,
        cursor_x=facts.cursor_x,
        cursor_y=facts.cursor_y,
        cursor_visible=facts.cursor_visible,
        title=facts.title,
        command=facts.command,
    )
    return Observation(facts=facts, screen=screen)


async def set_pane_options(
    client: ControlClient, pane_id: PaneId, options: Mapping[str, str | None], *, timeout_s: float = 5.0
) -> None:
    """Set options of one pane; a value of None takes the option away. Raises PaneNotFound."""
    if not options:
        return
    target = quote(pane_id)
    line = " ; ".join(
        f"set-option -p -u -t {target} {quote(name)}"
        if value is None
        else f"set-option -p -t {target} {quote(name)} {quote(value)}"
        for name, value in options.items()
    )
    error = (await client.run(line, timeout_s=timeout_s)).error
    if error is not None:
        raise PaneNotFound(f"cannot set options of pane {pane_id}: {error}.", "Is the pane still there?")


def _no_error(answer: Answer) -> None:
    if answer.error is not None:
        raise TmuxUnavailable(f"tmux refused: {answer.error}.")


def _take_pane(reader: Reader) -> PaneFacts:
    reader.literal(_START)
    # The arguments are evaluated as they stand, which is the order of PANE_FORMAT.
    return PaneFacts(
        pane_id=PaneId(reader.word()),
        pid=reader.number(),
        dead=bool(reader.number()),
        in_mode=bool(reader.number()),
        input_off=bool(reader.number()),
        synchronized=bool(reader.number()),
        window_index=reader.number(),
        cursor_x=reader.number(),
        cursor_y=reader.number(),
        cursor_visible=bool(reader.number()),
        width=reader.number(),
        height=reader.number(),
        history_rows=reader.number(),
        tty=reader.text(),
        session=reader.text(),
        window_name=reader.text(),
        nova_agent=reader.text(),
        nova_node=reader.text(),
        nova_spec=reader.text(),
        nova_last=reader.text(),
        nova_prompt=reader.text(),
        nova_keys=reader.text(),
        title=reader.text(),
        command=reader.changing(),
    )
