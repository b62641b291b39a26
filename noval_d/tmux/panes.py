"""What tmux knows of a pane: its facts, its screen, its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.errors import PaneNotFound, TmuxUnavailable
from nova_torch.values import PaneId
from noval_d.tmux.quoting import quote

if TYPE_CHECKING:
    from noval_d.tmux.control import Answer, ControlClient
    from noval_d.tmux.screen import Screen

_NUMBERS = (
    "pane_pid", "pane_dead", "pane_in_mode", "pane_input_off", "pane_synchronized", "window_index",
    "cursor_x", "cursor_y", "cursor_flag", "pane_width", "pane_height",
)  # fmt: skip
_TEXTS = (
    "pane_tty", "pane_current_command", "session_name", "window_name",
    "@nova_agent", "@nova_spec", "@nova_last", "pane_title",
)  # fmt: skip

# Programs and people choose titles, names and options. Each such field stands behind its own length in bytes,
# so nothing in it, not even a line feed or a copy of another pane's facts, can shift or forge a field.
PANE_FORMAT = "P " + " ".join(
    ["#{pane_id}", *(f"#{{{name}}}" for name in _NUMBERS), *(f"#{{n:{name}}}:#{{{name}}}" for name in _TEXTS)]
)


class BadFacts(TmuxUnavailable):
    """What tmux printed is not of the form that PANE_FORMAT asks for."""


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
    nova_agent: str = ""
    nova_spec: str = ""
    nova_last: str = ""

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
    (facts,) = parse_panes(line)
    return facts


def parse_panes(data: bytes) -> Iterator[PaneFacts]:
    """Read panes printed with PANE_FORMAT, one after another with a line feed between. Raises BadFacts."""
    at = 0
    while at < len(data):
        try:
            facts, at = _pane_at(data, at)
        except (ValueError, IndexError) as error:
            raise BadFacts("tmux describes a pane in a form that is not understood.") from error
        yield facts
        at += 1  # the line feed between two panes


async def list_panes(client: ControlClient, *, timeout_s: float = 5.0) -> tuple[PaneFacts, ...]:
    """Return every pane of the server but those of the client's own hidden session."""
    answer = await client.run(f"list-panes -a -F {quote(PANE_FORMAT)}", timeout_s=timeout_s)
    _no_error(answer)
    panes = parse_panes(b"\n".join(answer.lines))
    return tuple(pane for pane in panes if pane.session != client.session)


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


def _pane_at(data: bytes, at: int) -> tuple[PaneFacts, int]:
    if data[at : at + 2] != b"P ":
        raise ValueError("not the beginning of a pane")
    at += 2
    words: list[bytes] = []
    for _ in range(1 + len(_NUMBERS)):
        end = data.index(b" ", at)
        words.append(data[at:end])
        at = end + 1
    texts: list[str] = []
    for _ in _TEXTS:
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        if end > len(data):
            raise ValueError("a field is cut")
        texts.append(data[colon + 1 : end].decode(errors="replace"))
        if len(texts) < len(_TEXTS) and data[end : end + 1] != b" ":
            raise ValueError("a field is longer than it says")
        at = end + 1
    at -= 1
    if data[at : at + 1] not in {b"", b"\n"}:
        raise ValueError("a pane is longer than it says")
    pid, dead, in_mode, input_off, synchronized, window, x, y, cursor, width, height = (
        int(word or b"0") for word in words[1:]
    )
    tty, command, session, window_name, agent, spec, last, title = texts
    facts = PaneFacts(
        pane_id=PaneId(words[0].decode()),
        pid=pid,
        tty=tty,
        command=command,
        dead=bool(dead),
        in_mode=bool(in_mode),
        input_off=bool(input_off),
        synchronized=bool(synchronized),
        title=title,
        session=session,
        window_index=window,
        window_name=window_name,
        cursor_x=x,
        cursor_y=y,
        cursor_visible=bool(cursor),
        width=width,
        height=height,
        nova_agent=agent,
        nova_spec=spec,
        nova_last=last,
    )
    return facts, at
