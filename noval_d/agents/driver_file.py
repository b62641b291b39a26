"""Read drivers from TOML. A key that is unknown, of the wrong type or senseless names itself and its cure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from nova_torch.errors import DriverInvalid
from nova_torch.nearest import suggestion
from noval_d.agents.driver import APIS, ENTERS, KINDS, MEANINGS, STRATEGIES, Driver
from noval_d.agents.recognition import is_interpreter
from noval_d.agents.start import PROMPT, SESSION, Start, StartDialog

BUILT_IN = Path(__file__).parent / "drivers"
_MAX_FILE_BYTES = 1 << 20
_PROMPTED = ("above_footer", "between_rules")  # strategies that look for a prompt's glyph

T = TypeVar("T")
Read = Callable[[Any], Any]  # returns the field's value, or raises _Unfit


class _Unfit(Exception):
    """A value is not what its key takes; says what that would be."""


def load_drivers(user_dir: Path | None = None) -> dict[str, Driver]:
    """Return the drivers by name: those that come along, and over them the `*.toml` of `user_dir`.

    Raises DriverInvalid for the first that cannot be used. A `user_dir` that does not exist holds no drivers.
    """
    drivers, broken = read_drivers(user_dir)
    for error in broken.values():
        raise error
    return drivers


def read_drivers(user_dir: Path | None = None) -> tuple[dict[str, Driver], dict[str, DriverInvalid]]:
    """Return the drivers by name, and of those that cannot be used why.

    A broken file of the user's keeps the built-in driver of its name away, too: it was replaced on purpose.
    Raises DriverInvalid when the directory itself cannot be read.
    """
    drivers: dict[str, Driver] = {}
    broken: dict[str, DriverInvalid] = {}
    for name, file in driver_files(user_dir).items():
        try:
            drivers[name] = read_driver(file)
        except DriverInvalid as error:
            broken[name] = error
    return drivers, broken


def driver_files(user_dir: Path | None = None) -> dict[str, Path]:
    """Return the file of each driver by name, the user's over those that come along. Raises DriverInvalid."""
    return dict(sorted({path.stem: path for path in (*BUILT_IN.glob("*.toml"), *_files(user_dir))}.items()))


def read_driver(path: Path) -> Driver:
    """Return the driver that a file describes, which is named like it. Raises DriverInvalid."""
    driver = parse_driver(_text(path), path.name if path.parent == BUILT_IN else str(path))
    if path.name != f"{driver.name}.toml":
        cure = f"Rename the file to {driver.name}.toml, or correct driver.name."
        raise DriverInvalid(f"{path.name} describes a driver named {driver.name}.", cure)
    return driver


def parse_driver(text: str, source: str) -> Driver:
    """Return the driver that the TOML `text` describes; `source` names it in errors. Raises DriverInvalid."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DriverInvalid(f"{source} is not TOML: {error}.", "See the drivers that come along.") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if section == "hooks":
            values["hooks"] = _hooks(table, source)
            continue
        if section == "start":
            values["start"] = _start(table, source)
            continue
        keys = _known(section, _SECTIONS, f"[{section}]", source)
        values |= _fields(_section(table, section, source), keys, section, source)
    return _checked(values, source)


def _checked(values: dict[str, Any], source: str) -> Driver:
    if "name" not in values:
        raise DriverInvalid(f"{source}: driver.name is missing.", 'Write name = "..." in [driver].')
    driver = Driver(**values)
    for key, wrong in (
        ("composer.find", driver.kind == "composer" and driver.strategy == "none"),
        ("composer.rule", driver.strategy == "between_rules" and driver.rule is None),
        ("composer.prompt", driver.strategy == "at_prompt" and driver.prompt is None),
        ("composer.status", driver.strategy == "beside_bar" and driver.status is None),
        ("composer.prompts", driver.strategy in _PROMPTED and not driver.prompts),
        ("driver.commands", _needs_commands(driver)),
        ("dialog.next", _without_keys(driver) and not driver.dialog_next),
        ("dialog.answer", bool(driver.dialog_next) and not driver.dialog_answer),
        ("api.title", bool(driver.api_kind) and driver.api_title is None),
        ("api.agent", bool(driver.api_kind) and driver.api_agent is None),
    ):
        if wrong:
            raise DriverInvalid(f"{source}: {key} is missing.", f"A driver of kind {driver.kind} needs it.")
    general = next((command for command in driver.commands if is_interpreter(command)), None)
    if general is not None and not driver.processes:
        cure = f"{general} runs many programs: say by its command line which of them is the agent."
        raise DriverInvalid(f"{source}: driver.processes is missing.", cure)
    if driver.kind == "line" and (driver.prefix or driver.trailing or driver.accepts_commands):
        raise DriverInvalid(
            f"{source}: a line driver adds nothing to a text.", "Leave [text] prefix and trailing out."
        )
    return driver


def _without_keys(driver: Driver) -> bool:
    return driver.dialog_option is not None and "key" not in driver.dialog_option.groupindex


def _needs_commands(driver: Driver) -> bool:
    """Only a driver that can type into any program serves the one that was in front at the registration."""
    return driver.kind == "composer" and driver.strategy != "cursor_line" and not driver.commands


def _files(user_dir: Path | None) -> list[Path]:
    if user_dir is None or not user_dir.is_dir():
        return []
    try:
        return sorted(path for path in user_dir.iterdir() if path.suffix == ".toml")
    except OSError as error:
        raise DriverInvalid(
            f"{user_dir} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            raise DriverInvalid(f"{path} is larger than a driver can be.", "Take it out of the directory.")
        return raw.decode("utf-8")
    except OSError as error:
        raise DriverInvalid(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise DriverInvalid(f"{path} is not UTF-8 (byte {error.start}).", "Encode it as UTF-8.") from None


def _known(key: str, known: Mapping[str, T], shown: str, source: str) -> T:
    if key not in known:
        cure = suggestion(key, known, otherwise=f"Known: {', '.join(sorted(known))}.")
        raise DriverInvalid(f"{source}: {shown} is unknown.", cure)
    return known[key]


def _read(read: Read, value: Any, shown: str, source: str) -> Any:
    try:
        return read(value)
    except _Unfit as error:
        raise DriverInvalid(f"{source}: {shown} must be {error}, not {value!r}.", "Correct it.") from None


def _hooks(table: Any, source: str) -> Mapping[str, str]:
    given, read = _section(table, "hooks", source), _choice(MEANINGS)
    return MappingProxyType({key: _read(read, value, f"hooks.{key}", source) for key, value in given.items()})


def _start(table: Any, source: str) -> Start:
    given = dict(_section(table, "start", source))
    named = _section(given.pop("dialogs", {}), "start.dialogs", source)
    values = _fields(given, _START_KEYS, "start", source)
    dialogs = [_start_dialog(name, dialog, source) for name, dialog in named.items()]
    return Start(**values, dialogs=tuple(dialogs))


def _start_dialog(name: str, table: Any, source: str) -> StartDialog:
    shown = f"start.dialogs.{name}"
    _read(_name, name, f"the name of {shown}", source)
    values = _fields(_section(table, shown, source), _DIALOG_KEYS, shown, source)
    for key in _DIALOG_KEYS:
        if not values.get(key):
            raise DriverInvalid(f"{source}: {shown}.{key} is missing.", "A dialog of the start needs it.")
    return StartDialog(name=name, **values)


def _section(table: Any, shown: str, source: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise DriverInvalid(f"{source}: {shown} must be a section.", f"Write it as [{shown}].")
    return table


def _fields(
    table: Mapping[str, Any], keys: Mapping[str, tuple[str, Read]], section: str, source: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        name, read = _known(key, keys, f"{section}.{key}", source)
        values[name] = _read(read, value, f"{section}.{key}", source)
    return values


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit("a string")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", value):
        raise _Unfit("lower-case letters, digits, - and _")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 30:
        raise _Unfit("a whole number from 0 on")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 600:
        raise _Unfit("seconds from 0 to 600")
    return float(value)


def _pattern(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str) or not value:
        raise _Unfit("a regular expression")
    try:
        return re.compile(value)
    except re.error as error:
        raise _Unfit(f"a regular expression ({error})") from None


def _option(value: Any) -> re.Pattern[str]:
    pattern = _pattern(value)
    if "text" not in pattern.groupindex:
        raise _Unfit("a regular expression with the group text, and mostly key")
    return pattern


def _pattern_of(group: str) -> Read:
    """A pattern that has a group of this name."""

    def read(value: Any) -> re.Pattern[str]:
        pattern = _pattern(value)
        if group not in pattern.groupindex:
            raise _Unfit(f"a regular expression with the group {group}")
        return pattern

    return read


def _answer_key(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\{key\}|[A-Za-z0-9]|Enter|Space|Tab|Up|Down", value):
        raise _Unfit('"{key}", a letter, a digit, Enter, Space, Tab, Up or Down')
    return value


def _colour(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-f]{6}", value):
        return value
    raise _Unfit('a palette number from 0 to 255 or "#rrggbb"')


def _glyph(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1:
        raise _Unfit("one character")
    return value


def _mark(value: Any) -> str:
    """A plain text: tmux takes it as a pattern of its own inside a format, where others mean something."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{3,}", value):
        raise _Unfit("ASCII letters, digits, blanks, _ . and -, four at least")
    return value


def _key(value: Any) -> str:
    """A key as tmux names it; Escape and Ctrl-C end agents, so they are none that a start may press."""
    if not isinstance(value, str) or not re.fullmatch(
        r"[A-Za-z0-9]|Enter|Space|Tab|Up|Down|Left|Right", value
    ):
        raise _Unfit("a letter, a digit, Enter, Space, Tab, Up, Down, Left or Right")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _Unfit("a word of a command line")
    return value


def _words_with(part: str) -> Read:
    """Words of a command line, in one of which `part` is replaced."""

    def read(value: Any) -> tuple[str, ...]:
        words: tuple[str, ...] = _several(_word)(value)
        if sum(word.count(part) for word in words) != 1:
            raise _Unfit(f"words of a command line of which one holds {part}")
        return words

    return read


def _condition(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_.]+=[^=]+", value):
        raise _Unfit('a condition such as "attachment.type=queued_command"')
    return value


def _choice(known: Iterable[str]) -> Read:
    choices = tuple(known)

    def read(value: Any) -> str:
        if value not in choices:
            raise _Unfit("one of " + ", ".join(choices))
        return str(value)

    return read


def _several(read: Read, into: Callable[[Iterable[Any]], Any] = tuple) -> Read:
    def read_all(value: Any) -> Any:
        if not isinstance(value, list):
            raise _Unfit("a list")
        try:
            return into([read(item) for item in value])
        except _Unfit as error:
            raise _Unfit(f"a list of which each is {error}") from None

    return read_all


# section -> key -> (field of Driver, how it is read)
_KEYS: Mapping[str, Mapping[str, tuple[str, Read]]] = {
    "driver": {
        "name": ("name", _name),
        "version": ("version", _string),
        "kind": ("kind", _choice(KINDS)),
        "commands": ("commands", _several(_string)),
        "processes": ("processes", _several(_pattern)),
    },
    "composer": {
        "find": ("strategy", _choice(STRATEGIES)),
        "rule": ("rule", _pattern),
        "rule_dim": ("rule_dim", _flag),
        "prompts": ("prompts", _several(_glyph)),
        "modes": ("modes", _several(_glyph)),
        "prompt": ("prompt", _pattern),
        "status": ("status", _pattern),
        "indent": ("indent", _whole),
        "placeholder": ("placeholder", _pattern),
        "ghosts": ("ghosts", _several(_colour, frozenset)),
        "empty": ("empty", _several(_string)),
        "cursor_visible": ("cursor_visible", _flag),
    },
    "dialog": {
        "rows": ("dialog_rows", _whole),
        "patterns": ("dialogs", _several(_pattern)),
        "option": ("dialog_option", _option),
        "answer": ("dialog_answer", _several(_answer_key)),
        "next": ("dialog_next", _choice(("Right", "Down", "Tab"))),
        "at_cursor": ("dialog_at_cursor", _flag),
        "marks": ("dialog_marks", _several(_mark)),
    },
    "transcript": {
        "where": ("transcript_where", _several(_condition)),
        "prompt": ("transcript_prompt", _string),
    },
    "title": {
        "idle": ("title_idle", _pattern),
        "busy": ("title_busy", _pattern),
        "elsewhere": ("title_elsewhere", _pattern),
    },
    "busy": {
        "patterns": ("busy", _several(_pattern)),
        "above": ("busy_above", _whole),
        "cursor_hidden": ("busy_cursor_hidden", _flag),
        "queues": ("queues_while_busy", _flag),
        "pending": ("pending", _several(_pattern)),
    },
    "limit": {
        "patterns": ("limits", _several(_pattern)),
        "over": ("limit_over", _pattern),
        "waits": ("limit_waits", _several(_pattern)),
        "rows": ("limit_rows", _whole),
    },
    "compacting": {"patterns": ("compacting", _several(_pattern))},
    "paste": {
        "settle_s": ("settle_s", _seconds),
        "landed_within_s": ("landed_within_s", _seconds),
        "marker": ("marker", _pattern),
    },
    "enter": {
        "with": ("enter", _choice(ENTERS)),
        "window_s": ("enter_window_s", _seconds),
        "again_after_space": ("defers_dialogs", _flag),
        "space_wait_s": ("space_wait_s", _seconds),
        "unsent_if_kept": ("unsent_if_kept", _flag),
        "clear": ("clear_keys", _choice(("", "C-u", "C-u C-k"))),
    },
    "ready": {
        "after_s": ("ready_after_s", _seconds),
        "after_hook_s": ("ready_after_hook_s", _seconds),
    },
    "api": {
        "kind": ("api_kind", _choice(APIS)),
        "port": ("api_port", _string),
        "user": ("api_user", _string),
        "password": ("api_password", _string),
        "title": ("api_title", _pattern_of("title")),
        "agent": ("api_agent", _pattern_of("agent")),
        "limit": ("api_limit", _pattern),
    },
    "text": {
        "prefix": ("prefix", _string),
        "harmless": ("harmless", _string),
        "trailing": ("trailing", _string),
        "commands": ("accepts_commands", _flag),
        "max_line_bytes": ("max_line_bytes", _whole),
    },
}

_START_KEYS: Mapping[str, tuple[str, Read]] = {
    "command": ("command", _several(_word)),
    "prompt": ("prompt", _words_with(PROMPT)),
    "resume": ("resume", _words_with(SESSION)),
    "quit": ("quit", _string),
}
_DIALOG_KEYS: Mapping[str, tuple[str, Read]] = {
    "marks": ("marks", _several(_mark)),
    "keys": ("keys", _several(_key)),
}
_SECTIONS = {**_KEYS, "hooks": {}, "start": _START_KEYS}  # these two are read by functions of their own
