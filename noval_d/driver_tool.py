"""Answer questions about driver files without a daemon: `python -m noval_d.driver_tool list|show|test …`.

novactl asks it in a process of its own: a pattern that never comes to an end then stops nobody else. Prints one
JSON map, `ok` or `err`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from nova_torch.errors import DriverInvalid, NovaError
from noval_d.agents.driver_check import check, named, screens_of
from noval_d.agents.driver_file import BUILT_IN, driver_files, read_driver


def answer(arguments: list[str]) -> dict[str, Any]:
    """Return the answer to a command line. Raises NovaError."""
    parser = argparse.ArgumentParser(prog="driver_tool")
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--driver")
    parser.add_argument("what", choices=("list", "show", "test"))
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args(arguments)
    files = driver_files(asked.dir)
    if asked.what == "list":
        return {"drivers": [_row(file) for file in files.values()]}
    if asked.what == "show":
        file = named(asked.names[0], files)
        row = _row(file)
        return {**row, "text": file.read_text(encoding="utf-8", errors="replace")}
    return {
        "files": [
            {"file": name, "results": [result.to_json() for result in check(Path(name), files, asked.driver)]}
            for name in asked.names
        ]
    }


def _row(file: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": file.stem,
        "source": "" if file.parent == BUILT_IN else str(file),
        "screens": len(screens_of(file)),
        "problem": None,
    }
    try:
        driver = read_driver(file)
    except DriverInvalid as error:
        return {**row, "kind": None, "find": None, "commands": [], "problem": f"{error.message} {error.hint}"}
    return {**row, "kind": driver.kind, "find": driver.strategy, "commands": list(driver.commands)}


def main() -> int:
    """Print the answer; 0 also for an error that is told."""
    try:
        told: dict[str, Any] = {"ok": answer(sys.argv[1:])}
    except NovaError as error:
        told = {"err": error.to_wire()}
    print(json.dumps(told, ensure_ascii=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
