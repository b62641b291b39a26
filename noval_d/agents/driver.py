"""What is known of one kind of agent: how it looks, when it is ready, how it is typed into. A value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from noval_d.agents.start import Start

KINDS = ("composer", "line")
STRATEGIES = (
    "above_footer",
    "at_prompt",
    "beside_bar",
    "between_rules",
    "cursor_line",
    "none",
    "prompt_box",
)  # how the composer is found; noval_d.agents.finders has a module for each
ENTERS = ("key", "paste")
APIS = ("opencode",)
MEANINGS = ("started", "prompt", "finished", "notice", "permission", "compacting", "ended")

NO_HOOKS: Mapping[str, str] = MappingProxyType({})
NO_START = Start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One agent's data, as its TOML file has it; docs of each key are in the field's comment.

    Colours are palette numbers ("246") or "#rrggbb". Times are seconds.
    """

    # Section driver.
    name: str
    version: str = ""  # the agent's release that its looks are of
    kind: str = "composer"  # "line": a program that reads lines; nothing is added, nothing is looked at
    commands: tuple[str, ...] = ()  # the pane's foreground command while the agent is in front
    processes: tuple[re.Pattern[str], ...] = ()  # for commands as general as `node`: its command line

    # Section composer.
    strategy: str = "none"
    rule: re.Pattern[str] | None = None  # between_rules: the rows right above and below the composer
    rule_dim: bool | None = None  # rules of the composer are dim, are not, or either
    prompts: tuple[str, ...] = ()  # what stands in front of an ordinary message
    modes: tuple[str, ...] = ()  # what stands there instead in a special mode: counts as a draft
    prompt: re.Pattern[str] | None = None  # at_prompt: what every row of the composer begins with
    status: re.Pattern[str] | None = None  # beside_bar: in the row of agent and model, but in no special mode
    indent: int = 2  # columns in front of the text
    placeholder: re.Pattern[str] | None = None  # the whole of what the empty composer shows
    ghosts: frozenset[str] = frozenset()  # colours of text nobody typed; dim text is ghost anyway
    empty: tuple[str, ...] = ()  # cursor_line: whole lines that are an empty composer; registering adds one
    home: re.Pattern[str] | None = (
        None  # a row above the composer of a start screen, which a prompt takes away
    )
    cursor_visible: bool | None = None  # the composer has the cursor only when tmux says this

    # Section dialog.
    dialog_rows: int = 16  # only so many rows from the bottom can hold a dialog
    dialogs: tuple[re.Pattern[str], ...] = ()
    dialog_option: re.Pattern[str] | None = (
        None  # an option: groups `key`, `text` and, if it has one, `chosen`
    )
    dialog_answer: tuple[str, ...] = ()  # the keys that choose an option; "{key}" is that of the option
    dialog_next: str = ""  # the key that moves the mark to the next option, where options have no keys
    dialog_at_cursor: bool = False  # an open question ends in the cursor's row; one further up was answered
    dialog_marks: tuple[str, ...] = ()  # plain pieces of dialogs, for tmux's own search of the screen

    # Section title.
    title_idle: re.Pattern[str] | None = None
    title_busy: re.Pattern[str] | None = None
    title_elsewhere: re.Pattern[str] | None = None  # another view is in front

    # Section busy.
    busy: tuple[re.Pattern[str], ...] = ()  # below the composer
    busy_above: int = 0  # so many rows above the composer are looked at, too
    busy_cursor_hidden: bool = False  # it works while the cursor is hidden, and has no composer then
    queues_while_busy: bool = False
    pending: tuple[re.Pattern[str], ...] = ()  # above the composer: what was sent has not been taken yet

    # Sections limit and compacting: rows above the composer, or above a dialog.
    limits: tuple[re.Pattern[str], ...] = ()  # the agent says that its usage limit is reached
    limit_over: re.Pattern[str] | None = None  # a later row that says that it works again
    limit_waits: tuple[re.Pattern[str], ...] = ()  # below the composer: it works, and waits for its limit
    limit_rows: int = 12  # only so many rows, blank ones not counted
    compacting: tuple[re.Pattern[str], ...] = ()  # it compacts its conversation
    compacting_alone: bool = False  # that row alone says that it works

    # Section paste.
    settle_s: float = 0.2
    landed_within_s: float = 2.0
    retypes_lost: bool = False  # it acts on its input in order: what a space overtakes never comes
    takes_back: bool = False  # Home, End, DC and BSpace, many at once, each take a row or a letter
    marker: re.Pattern[str] | None = None  # stands for a long paste; groups `lines` (feeds), `chars`

    # Section enter.
    enter: str = "key"
    enter_window_s: float = 0.6  # Enter only so soon after the paste was seen to land (DELIVERY 3.1)
    defers_dialogs: bool = False  # input puts dialogs off: a second Enter is allowed after a space
    space_wait_s: float = 0.08
    unsent_if_kept: bool = False  # a text in the composer was not sent, or was given back unsent
    clear_keys: str = ""  # take away the line the cursor is in, for a text that stayed although it was sent

    # Section ready.
    ready_after_s: float = 3.0  # a composer seen for so long is ready without a hook
    ready_after_hook_s: float = 0.0  # with a hook that says so, a composer seen for so long since then
    ready_sign: re.Pattern[str] | None = None  # a row around the composer, once the start is over
    ready_resumed: re.Pattern[str] | None = None  # a command line that goes on with a conversation
    ready_resumed_sign: re.Pattern[str] | None = None  # instead of `ready_sign` then

    # Section text.
    prefix: str = ""
    harmless: str = ""  # first characters, besides ASCII letters and digits, that need no prefix
    trailing: str = ""
    accepts_commands: bool = False
    max_line_bytes: int | None = None  # of a line-buffered terminal

    # Section prompt, of a line-based program: how a half-typed line behind its prompt is told.
    prompt_ends: re.Pattern[str] | None = None  # how a prompt ends that nothing else ends like
    prompt_asks: re.Pattern[str] | None = None  # how other prompts end
    prompt_rests_s: float = 0.3  # unchanged for so long, a line is at rest
    prompt_unsure_s: float = 60.0  # what may be a half-typed line is held for so long after its last change

    # Section api: its own HTTP API, on a loopback port that its process listens on.
    api_kind: str = ""  # what it speaks; noval_d.api has a module for each
    api_port: str = ""  # the option of its command line that names the port
    api_user: str = ""  # of its basic authentication
    api_password: str = ""  # the variable of its environment that has the password
    api_title: re.Pattern[str] | None = None  # the window title: group `title` is the conversation's
    api_agent: re.Pattern[str] | None = None  # the row that names the chosen agent: group `agent`
    api_limit: re.Pattern[str] | None = None  # a reason for trying again that is a usage limit

    # Section hooks.
    hooks: Mapping[str, str] = field(default_factory=lambda: NO_HOOKS)  # the agent's event: our meaning

    # [transcript]: what the agent is handed within a turn fires no prompt hook; its transcript tells
    transcript_where: tuple[str, ...] = ()  # conditions such as "attachment.type=queued_command"
    transcript_prompt: str = ""  # where the text is, such as "attachment.prompt"
    transcript_queued_where: tuple[str, ...] = ()  # the same of what it takes into its queue
    transcript_queued: str = ""

    # Section start: how `spawn` starts it; noval_d.agents.start has its fields.
    start: Start = NO_START

    @property
    def missing(self) -> bool:
        """Whether it only stands for one that cannot be used."""
        return self.kind == "composer" and self.strategy == "none"

    def __repr__(self) -> str:
        return f"<Driver {self.name} {self.kind} {self.strategy}>"


def stand_in(name: str) -> Driver:
    """Return what stands for a driver that cannot be used: its agents are never present, so nothing is typed."""
    return Driver(name=name, commands=("\0",))
