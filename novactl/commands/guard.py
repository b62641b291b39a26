"""Commands about who may do what, and who did: the policy, the audit log."""

from __future__ import annotations

import time

from nova_torch.durations import seconds
from nova_torch.errors import DaemonUnreachable, NotAllowed
from novactl import out
from novactl.session import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def audit(values: Values) -> int:
    """Show the audit log: the daemon's word, or, when none runs, what its files hold."""
    since_s = None if values["since"] is None else seconds(values["since"])
    since_ms = None if since_s is None else int((time.time() - since_s) * 1000)
    asked = {"since_ms": since_ms, "limit": values["limit"]}
    try:
        found = ask(values, "audit", asked)
    except DaemonUnreachable:
        found = _from_files(values, asked)
    if values["json"]:
        for entry in found:
            out.json_line(entry)
        return 0
    out.table(
        ("time", "user", "pid", "program", "agent", "call", "target", "id", "result"),
        [
            (
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.get("at_ms", 0) / 1000)),
                _user(entry.get("uid")),
                entry.get("pid"),
                str(entry.get("exe") or "").rpartition("/")[2],
                entry.get("agent") or entry.get("sender"),
                entry.get("call"),
                entry.get("target"),
                entry.get("id"),
                _result(entry),
            )
            for entry in found
        ],
    )
    return 0


def policy_check(values: Values) -> int:
    """Say whether it is allowed: by the daemon's policy, or by a file."""
    asked = {
        "do": values["do"],
        "from": values["from_"],
        "to": values["to"],
        "kind": values["kind"],
        "command": values["command"],
    }
    try:
        found = ask(values, "policy_check", asked)
    except DaemonUnreachable:
        if values["file"] is None:
            raise
        found = {"from": {"name": asked["from"]}, "to": {"name": asked["to"]}}
        out.note("no daemon is running: roles and nodes are not known", quiet=values["quiet"])
    if values["file"] is not None:
        found = {**found, **_by_file(values["file"], found, asked)}
    if values["json"]:
        out.json_line(found)
    else:
        word = "allowed" if found.get("allow") else "not allowed"
        out.line(out.safe(f"{word}: {_who(found['from'])} {found['do']} {_who(found['to'])}: {found['why']}"))
        for unknown in found.get("unknown") or ():
            out.note(out.safe(unknown), quiet=values["quiet"])
    return 0 if found.get("allow") else NotAllowed.exit_code


def _by_file(file: str, found: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    from nova_torch.policy import Party, Request, read_policy

    request = Request(
        action=asked["do"] or "send",
        by=Party(**found["from"]),
        to=Party(**found["to"]),
        kind=asked["kind"] or "message",
        command=asked["command"],
    )
    ruling = read_policy(file).decide(request)
    told = {"allow": ruling.allow, "rule": ruling.rule, "why": ruling.why}
    return {**told, "do": request.action, "file": file}


def _who(party: dict[str, Any]) -> str:
    more = [f"{name} {party[name]}" for name in ("role", "node") if party.get(name)]
    return f"{party.get('name')} ({', '.join(more)})" if more else str(party.get("name"))


def _from_files(values: Values, asked: dict[str, Any]) -> list[dict[str, Any]]:
    from nova_torch import audit as files
    from nova_torch.config import load

    directory = load().state.dir
    if not files.files(directory):
        raise DaemonUnreachable(
            f"no daemon answers, and {directory} has no audit log.", "Start a node: novactl up"
        )
    out.note(f"no daemon is running: this is what {directory} holds", quiet=values["quiet"])
    return files.read(directory, since_ms=asked["since_ms"] or 0, limit=asked["limit"] or files.ROWS)


def _user(uid: object) -> str:
    if not isinstance(uid, int):
        return ""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _result(entry: dict[str, Any]) -> str:
    times = f" ({entry['count']} times so far)" if entry.get("count", 1) != 1 else ""
    return f"{entry.get('code')}{times}"
