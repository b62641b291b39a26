"""Make the sections of a report. One that cannot be made says why, and the others are made all the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nova_torch.errors import NovaError
from nova_torch.paths import LOG_NAME
from nova_torch.redaction import in_text, in_value
from novactl import checks
from novactl.report import files, machine
from novactl.report.daemon import Daemon
from novactl.report.place import Place

CONTENTS = "contents.json"
LEFT_OUT = (
    "bodies of messages, tasks, schedules and answers, and prompts of templates",
    "what panes show: screens, dialogs, drafts, archived panes",
    "passwords, signing keys, values of agents' variables, and of variables named *PASS*, *TOKEN*, *KEY*, *SECRET*",
    "the audit log, and any row of state.db: novactl audit shows the one, and stays here",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One file of a report: its text without secrets, or why there is none (`missing`)."""

    file: str
    about: str
    text: str = ""
    missing: str = ""

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return len(self.text.encode())

    def to_json(self) -> dict[str, Any]:
        """Return its line in the list of contents."""
        return {
            "file": self.file,
            "about": self.about,
            "bytes": None if self.missing else self.size_bytes,
            "missing": self.missing or None,
        }


def gather(place: Place) -> list[Section]:
    """Return all sections of a report about `place`."""
    daemon = Daemon(place.socket, place.timeout_s)
    try:
        return [_made(place, *wanted) for wanted in _wanted(place, daemon)]
    finally:
        daemon.close()


def contents(place: Place, sections: list[Section]) -> dict[str, Any]:
    """Return what is in a report, and what is not on purpose."""
    return {
        "sections": [section.to_json() for section in sections],
        "left_out": list(LEFT_OUT),
        "not_looked_for": [in_text(reason, place.secrets) for reason in place.unread],
    }


def _wanted(place: Place, daemon: Daemon) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Give each section's file, what it is and what makes it."""
    yield "versions.json", "versions of Nova-Torch, Python, tmux, libraries", machine.versions
    yield "system.json", "operating system, disk, memory, variables of ours", lambda: machine.system(place)
    yield "daemon.json", "the daemon that answers", lambda: daemon.ask("ping")
    yield "status.json", "novactl status", lambda: daemon.ask("status")
    yield "health.json", "novactl health", lambda: daemon.ask("health")
    yield "doctor.json", "novactl doctor, of the daemon", lambda: daemon.ask("doctor")
    yield "doctor-here.json", "novactl doctor, without the daemon", checks.here
    yield "broker.json", "the server that answers, asked past the daemon", lambda: _broker(place)
    yield "nodes.json", "novactl node list", lambda: daemon.ask("node_list")
    yield "agents.json", "novactl agents", lambda: daemon.ask("agents")
    yield "events.json", "the last messages and dead letters, no bodies", daemon.events
    yield "config.json", "the daemon's configuration", lambda: daemon.ask("config")
    yield "config-here.json", "the configuration of this environment and file", lambda: _config(place)
    yield "state.json", "the schema of state.db and how many rows it has", lambda: files.counts(place.state)
    yield "files.json", "the files of the state directory", lambda: files.listing(place.state)
    yield "units.json", "systemd's units", machine.units
    yield LOG_NAME, f"the end of the log, {machine.TAIL_BYTES >> 10} KiB at most", lambda: machine.log(place)
    yield "journal.log", f"the service's last {machine.JOURNAL_LINES} lines in the journal", machine.journal


def _made(place: Place, file: str, about: str, make: Callable[[], Any]) -> Section:
    def clean(text: str) -> str:
        return _utf8(in_text(text, place.secrets))

    try:
        made = make()
    except NovaError as error:
        return Section(file=file, about=about, missing=clean(str(error)))
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        return Section(file=file, about=about, missing=clean(why))
    except Exception as error:  # noqa: BLE001  # a report is for what nobody foresaw: told here, in its place
        return Section(file=file, about=about, missing=clean(f"{type(error).__name__}: {error}"))
    if isinstance(made, str):
        return Section(file=file, about=about, text=clean(made))
    text = json.dumps(in_value(made, place.secrets), indent=1, ensure_ascii=False, default=str)
    return Section(file=file, about=about, text=_utf8(text) + "\n")


def _broker(place: Place) -> dict[str, Any]:
    from novactl.report import broker  # redis, which an installation that is broken may not have

    return broker.server(place)


def _utf8(text: str) -> str:
    """Spell what is no UTF-8, in names of files and variables."""
    return text.encode("utf-8", "backslashreplace").decode()


def _config(place: Place) -> dict[str, Any]:
    if place.config is None:
        raise place.problem or NovaError("the configuration cannot be read.")
    return place.config.shown(private=False)
