"""Run a driver against recorded screens: which of their expectations it fails, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.errors import InvalidRequest, NotFound
from nova_torch.nearest import suggestion
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import BUILT_IN, read_driver
from noval_d.agents.record import EXPECTED, expectation, read_recording
from noval_d.agents.sight import look

ABSENT: Mapping[str, Any] = {"composer": None, "dialog": None}  # what the others are when not said: false


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One recorded screen and what a driver makes of it."""

    screen: str
    driver: str
    differences: tuple[str, ...] = ()
    """Each names what is expected and what is seen; none: it is seen as expected."""

    def to_json(self) -> dict[str, Any]:
        """Return it for the wire."""
        return {"screen": self.screen, "driver": self.driver, "differences": list(self.differences)}


def check(file: Path, drivers: Mapping[str, Path], driver: str | None = None) -> list[Result]:
    """Return the results of a driver's file on all of its screens, or of a screen's file with its driver.

    A screen's driver is that of its directory's name, or `driver`. Raises DriverInvalid, InvalidRequest, NotFound.
    """
    if not file.is_file():
        raise NotFound(f"there is no file {file}.", "Name a driver's .toml or a recorded .screen.")
    if file.suffix == ".toml":
        own = read_driver(file.absolute())
        return [_result(own, screen) for screen in screens_of(file)]
    if file.suffix == ".screen":
        name = driver or file.absolute().parent.name
        beside = file.absolute().parent.parent / f"{name}.toml"
        return [_result(read_driver(beside if beside.is_file() else named(name, drivers)), file)]
    raise InvalidRequest(f"{file} is neither a driver (.toml) nor a recorded screen (.screen).", "Name one.")


def named(name: str, drivers: Mapping[str, Path]) -> Path:
    """Return the file of a driver. Raises NotFound with the nearest name."""
    if name not in drivers:
        cure = suggestion(name, drivers, otherwise=f"Known: {', '.join(drivers)}.")
        raise NotFound(f"there is no driver {name!r}.", cure)
    return drivers[name]


def screens_of(file: Path) -> list[Path]:
    """Return the screens of a driver: in the directory beside it, and those of the built-in one it replaces."""
    name = file.stem
    found = {path.name: path for path in (BUILT_IN / name).glob("*.screen")}
    found |= {path.name: path for path in (file.absolute().parent / name).glob("*.screen")}
    return [found[name] for name in sorted(found)]


def differences(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what differs between two expectations, a sentence each."""
    unknown = [key for key in expected if key not in EXPECTED]
    found = [
        f"{key}: nothing of that name is seen. {suggestion(key, EXPECTED, otherwise='')}" for key in unknown
    ]
    for key in EXPECTED:
        wanted, got = expected.get(key, ABSENT.get(key, False)), seen.get(key, ABSENT.get(key, False))
        if (wanted or None) != (got or None) or (key == "composer" and wanted != got):
            found.append(f"{key}: expected {_shown(wanted)}, seen {_shown(got)}")
    return tuple(text.rstrip() for text in found)


def _result(driver: Driver, screen: Path) -> Result:
    try:
        recording = read_recording(screen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{screen} cannot be read: {error}.", "Record it: novactl driver record."
        ) from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{screen}: {error.message}", error.hint) from None
    seen = expectation(look(driver, recording.screen))
    return Result(screen=str(screen), driver=driver.name, differences=differences(recording.expect, seen))


def _shown(value: Any) -> str:
    return "nothing" if value is None or value is False else repr(value)
