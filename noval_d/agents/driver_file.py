"""Read drivers from TOML. A key that is unknown, of the wrong type or senseless names itself and its cure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from nova_torch.errors import DriverInvalid
from nova_torch.nearest import suggestion
from nova_torch.reading import toml_tables
from noval_d.agents import driver_values as takes
from noval_d.agents.driver import MEANINGS, Driver
from noval_d.agents.driver_keys import DIALOG_KEYS, SECTIONS, START_KEYS
from noval_d.agents.recognition import is_interpreter
from noval_d.agents.start import Start, StartDialog

BUILT_IN = Path(__file__).parent / "drivers"
_MAX_FILE_BYTES = 1 << 20
_PROMPTED = ("above_footer", "between_rules")  # strategies that look for a prompt's glyph

T = TypeVar("T")


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
        tables = toml_tables(text)
    except ValueError as error:
        raise DriverInvalid(f"{source} is not TOML: {error}.", "See the drivers that come along.") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if section == "hooks":
            values["hooks"] = _hooks(table, source)
            continue
        if section == "start":
            values["start"] = _start(table, source)
            continue
        keys = _known(section, SECTIONS, f"[{section}]", source)
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
        ("ready.resumed", driver.ready_resumed_sign is not None and driver.ready_resumed is None),
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


def _read(read: takes.Read, value: Any, shown: str, source: str) -> Any:
    try:
        return read(value)
    except takes.Unfit as error:
        raise DriverInvalid(f"{source}: {shown} must be {error}, not {value!r}.", "Correct it.") from None


def _hooks(table: Any, source: str) -> Mapping[str, str]:
    given, read = _section(table, "hooks", source), takes.choice(MEANINGS)
    return MappingProxyType({key: _read(read, value, f"hooks.{key}", source) for key, value in given.items()})


def _start(table: Any, source: str) -> Start:
    given = dict(_section(table, "start", source))
    named = _section(given.pop("dialogs", {}), "start.dialogs", source)
    values = _fields(given, START_KEYS, "start", source)
    dialogs = [_start_dialog(name, dialog, source) for name, dialog in named.items()]
    return Start(**values, dialogs=tuple(dialogs))


def _start_dialog(name: str, table: Any, source: str) -> StartDialog:
    shown = f"start.dialogs.{name}"
    _read(takes.name, name, f"the name of {shown}", source)
    values = _fields(_section(table, shown, source), DIALOG_KEYS, shown, source)
    for key in DIALOG_KEYS:
        if not values.get(key):
            raise DriverInvalid(f"{source}: {shown}.{key} is missing.", "A dialog of the start needs it.")
    return StartDialog(name=name, **values)


def _section(table: Any, shown: str, source: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise DriverInvalid(f"{source}: {shown} must be a section.", f"Write it as [{shown}].")
    return table


def _fields(
    table: Mapping[str, Any], keys: Mapping[str, tuple[str, takes.Read]], section: str, source: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        name, read = _known(key, keys, f"{section}.{key}", source)
        values[name] = _read(read, value, f"{section}.{key}", source)
    return values
