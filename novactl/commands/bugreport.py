"""`novactl bugreport`: one file with what a maintainer needs to know, without what nobody else should."""

from __future__ import annotations

import json
import os
import time

from nova_torch.errors import InvalidRequest
from novactl import out
from novactl.report import archive, gather
from novactl.report.place import find
from novactl.session import CALL_S, limit_s, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values
    from novactl.report.gather import Section


def bugreport(values: Values) -> int:
    """Write a report, or with --list say what would be in it; 0 when that was done, whatever could not be had."""
    now_s = time.time()
    place = find(socket_path(values), limit_s(values, CALL_S))
    if values["list"]:
        if values["output"] or values["force"]:
            raise InvalidRequest("--list writes nothing.", "Leave --output and --force out.")
        sections = gather.gather(place)
        _tell(values, gather.contents(place, sections), None)
        return 0
    path = _path(values["output"], archive.default_name(now_s))
    with archive.new_file(path, force=values["force"]) as file:
        sections = gather.gather(place)
        told = gather.contents(place, sections)
        file.write(archive.packed(_members(sections, told), _folder(path), now_s))
    _tell(values, told, path)
    return 0


def _path(given: str | None, name: str) -> str:
    """Return where it goes: a directory that is named gets it under the default name."""
    path = os.path.abspath(given or name)
    return os.path.join(path, name) if os.path.isdir(path) else path


def _folder(path: str) -> str:
    return os.path.basename(path).removesuffix(archive.SUFFIX)


def _members(sections: list[Section], told: dict[str, Any]) -> list[tuple[str, str]]:
    made = [(section.file, section.text) for section in sections if not section.missing]
    return [(gather.CONTENTS, json.dumps(told, indent=1, ensure_ascii=False) + "\n"), *made]


def _tell(values: Values, told: dict[str, Any], path: str | None) -> None:
    size = os.path.getsize(path) if path else None
    if values["json"]:
        out.json_line({"file": path, "bytes": size, **told})
        return
    rows = [
        (
            s["file"],
            "-" if s["missing"] else s["bytes"],
            f"missing: {s['missing']}" if s["missing"] else s["about"],
        )
        for s in told["sections"]
    ]
    out.table(("file", "bytes", "what it is"), rows)
    for what in told["left_out"]:
        out.line(f"not in it: {what}")
    for reason in told["not_looked_for"]:
        out.line(out.safe(f"not looked for: the words of a file: {reason}"))
    if path:
        out.line(
            out.safe(f"{path} is written, {size} bytes, for you alone. Look into it before you send it.")
        )
    else:
        out.line("Nothing was written.")
