"""Commands about drivers: list, show, test against recorded screens, record a screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from nova_torch.errors import InvalidRequest, NovaError, TimedOut, from_wire
from novactl import out
from novactl.session import ask, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

TOOL_S = 60.0


def list_drivers(values: Values) -> int:
    """List the drivers, those of the user's directory included; 1 when one of them cannot be used."""
    drivers = _tool(values, "list")["drivers"]
    if values["json"]:
        out.json_line(drivers)
    else:
        out.table(
            ("driver", "kind", "finds", "commands", "screens", "file"),
            [
                (
                    row["name"], row["kind"], row["find"], " ".join(row["commands"]), row["screens"],
                    row["problem"] or row["source"] or "(comes along)",
                )
                for row in drivers
            ],
        )  # fmt: skip
    return int(any(row["problem"] for row in drivers))


def show(values: Values) -> int:
    """Print a driver's file."""
    shown = _tool(values, "show", values["name"])
    if values["json"]:
        out.json_line(shown)
        return 0
    out.note(shown["source"] or "comes along", quiet=values["quiet"])
    out.write("".join(f"{out.safe(line)}\n" for line in shown["text"].splitlines()))
    return 0


def test(values: Values) -> int:
    """Run driver files against recorded screens; 1 when a screen is not seen as expected."""
    driver = ["--driver", values["driver"]] if values["driver"] else []
    files = _tool(values, *driver, "test", *(os.path.abspath(name) for name in values["files"]))["files"]
    results = [result for file in files for result in file["results"]]
    if values["json"]:
        out.json_line(files)
    else:
        for file in files:
            _report(file, quiet=values["quiet"])
    return int(any(result["differences"] for result in results))


def record(values: Values) -> int:
    """Record what a pane shows as a screen of a driver."""
    file = values["out"]
    if file and os.path.exists(file):
        raise InvalidRequest(f"{file} is there already.", "Name another file, or remove it first.")
    answer = ask(values, "driver_record", {"pane": values["pane"], "driver": values["driver"]})
    if values["json"]:
        out.json_line(answer)
    if file:
        try:
            with open(file, "x", encoding="utf-8") as sink:
                sink.write(answer["text"])
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be written: {error.strerror}.", "Name another.") from None
        expect = json.dumps(json.loads(answer["text"].split("\n", 1)[0])["expect"], ensure_ascii=False)
        out.note(
            f"{file}: {answer['driver']} sees {out.safe(expect)}. Say whether that is right.",
            quiet=values["quiet"],
        )
    elif not values["json"]:
        out.write(answer["text"])
    return 0


def _report(file: dict[str, Any], *, quiet: bool) -> None:
    results = file["results"]
    failed = [result for result in results if result["differences"]]
    for result in failed:
        for difference in result["differences"]:
            out.line(out.safe(f"{result['screen']}: {difference}"))
    if not results:
        out.note(f"{file['file']} can be used; no screens are recorded for it", quiet=quiet)
    else:
        seen = f"{len(results) - len(failed)} of {len(results)} screens are seen as expected"
        out.note(f"{file['file']}: {seen}", quiet=quiet)


def _tool(values: Values, *words: str) -> Any:
    """Ask the daemon's package in a process of its own: no daemon is needed, and none is held up."""
    from nova_torch.config import load

    own = load().delivery.drivers_dir
    argv = [sys.executable, "-P", "-m", "noval_d.driver_tool", *(["--dir", own] if own else []), *words]
    limit = limit_s(values, TOOL_S)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise TimedOut(
            f"the drivers were not done within {limit:g} s.", "A pattern may never come to an end."
        ) from None
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise NovaError(f"the drivers cannot be read: {done.stderr.strip()[-300:]}") from None
    if "err" in told:
        raise from_wire(told["err"])
    return told["ok"]
