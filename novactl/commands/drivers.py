"""doctor --drivers: have the installed agents tried against a stub model, and say which drivers still fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

from nova_torch import paths
from nova_torch.errors import InvalidRequest, NovaError, TimedOut, from_wire
from novactl import out
from novactl.session import limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from novactl.options import Values

AGENT_S = 240.0
REMOVAL_S = 30.0  # its processes are asked to end, then made to
KEPT = "canary"
FOUND = "drivers.json"
CURE = "Look at the screen; correct a copy of the driver (novactl driver show) in delivery.drivers_dir."


def check(values: Values) -> int:
    """Try the drivers of the installed agents; 0 when each sees what it should, 1 when one does not."""
    from nova_torch.config import load

    argv = [sys.executable, "-P", "-m", "noval_d.canary", "--until-eof"]
    argv += ["--keep", os.path.join(paths.find_state_dir(), KEPT), "--limit", str(limit_s(values, AGENT_S))]
    drivers = load().delivery.drivers_dir
    argv += ["--drivers", os.path.abspath(drivers)] if drivers else []
    for name in ("agent", "program"):
        for value in values[name]:
            argv += [f"--{name}", _word(value)]
    trials: dict[str, dict[str, Any]] = {}
    with _told(argv) as told:
        for event in told:
            _take(event, trials, quiet=values["quiet"])
    findings = [_finding_of(trial) for trial in trials.values()]
    remember(findings)
    if values["json"]:
        out.json_line(findings)
    else:
        out.table(
            ("severity", "what", "finding"),
            [(f["severity"], f["code"], f"{f['message']} {f['hint']}".rstrip()) for f in findings],
        )
    return int(any(finding["severity"] != "ok" for finding in findings))


def remember(findings: list[dict[str, Any]]) -> None:
    """Keep what came of the trials for `novactl health`; agents that were not tried now keep what they had."""
    path = os.path.join(paths.find_state_dir(), FOUND)
    try:
        with open(path, "rb") as file:
            known = json.load(file)
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    for finding in findings:
        row = {name: finding[name] for name in ("code", "severity", "message", "hint")}
        known[finding["agent"]] = {**row, "at_ms": time.time_ns() // 1_000_000}
    made = f"{path}.{os.getpid()}.new"
    try:
        with open(made, "x", encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(made, path)
    except FileNotFoundError:
        pass  # there is no node of this user's
    except OSError as error:
        out.note(f"not kept for novactl health: {error.strerror}")


def _word(value: str) -> str:
    if value.startswith("-"):
        raise InvalidRequest(f"{value!r} is no agent.", "Name one, such as claude.")
    return value


@contextmanager
def _told(argv: list[str]) -> Iterator[Iterator[dict[str, Any]]]:
    """Run the trials, and give what they tell as it comes. They end with us, whatever becomes of us.

    Their standard input is ours alone: when it ends, they remove what they started.
    """
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _events(process.stdout, words)
        except KeyboardInterrupt:
            out.note("ending what was started")
            raise
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                process.wait(REMOVAL_S)
            except subprocess.TimeoutExpired:
                raise TimedOut(
                    f"the trial (pid {process.pid}) does not end.",
                    "Kill it; the next one removes what it left.",
                ) from None


def _events(stdout: IO[bytes], words: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "error":
            raise from_wire(event["err"])
        if event["event"] == "done":
            return
        yield event
    words.seek(0)
    said = words.read().decode("utf-8", "replace").strip().splitlines()
    raise NovaError(f"the trial ended early: {said[-1] if said else 'it said nothing'}")


def _take(event: dict[str, Any], trials: dict[str, dict[str, Any]], *, quiet: bool) -> None:
    """Put an event to its trial, and show how far it is."""
    name = event["agent"]
    trial = trials.setdefault(name, {"agent": name, "checks": []})
    match event.pop("event"):
        case "agent":
            trial |= event
            version = event["version"] or "of a release that it does not tell"
            out.note(out.safe(f"{name}: {event['title']} {version}, {event['program']}"), quiet=quiet)
        case "absent" | "broken":
            trial |= event
        case "step":
            out.note(f"{name}: {event['check']} …", quiet=quiet)
        case "check":
            trial["checks"].append({key: value for key, value in event.items() if key != "agent" and value})
            if event["result"] != "ok":
                out.note(out.safe(f"{name}: {_said(event)}"), quiet=quiet)


def _finding_of(trial: dict[str, Any]) -> dict[str, Any]:
    """Return a trial as a finding: the worst of its checks says its code."""
    if "why" in trial:
        return trial | _finding("driver_not_tried", "warning", trial["why"])
    if "program" not in trial:
        return trial | _finding("driver_no_agent", "ok", f"{trial['title']} is not installed.")
    looks_of = f", looks of {trial['looks_of']}" if trial["looks_of"] else ""
    driver = f"driver {trial['driver'] or trial['agent']}{looks_of}"
    about = f"{trial['title']} {trial['version']} ({driver})"
    wrong = {result: [c for c in trial["checks"] if c["result"] == result] for result in ("drift", "not_run")}
    said = "; ".join(_said(each) for each in [*wrong["drift"], *wrong["not_run"]])
    if wrong["drift"]:
        return trial | _finding("driver_drift", "warning", f"{about}: {said}.", CURE)
    if wrong["not_run"]:
        return trial | _finding("driver_not_tried", "warning", f"{about}: {said}.", "Does it start by hand?")
    seen = ", ".join(each["check"] for each in trial["checks"])
    return trial | _finding("driver_fits", "ok", f"{about}: {seen}.")


def _finding(code: str, severity: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"code": code, "severity": severity, "message": message, "hint": hint}


def _said(check: dict[str, Any]) -> str:
    """Return a check that is not well as a sentence."""
    if check["result"] == "not_run":
        said = f"{check['check']} was not checked ({check['why']})"
    else:
        said = f"{check['check']}: expected {check['expected']}, seen {check['seen']}"
    return f"{said}; screen {check['file']}" if check.get("file") else said
