"""Commands for operation: what is wrong, the configuration, raw calls, versions, completion, hooks."""

from __future__ import annotations

import os

from nova_torch.errors import DaemonUnreachable, InvalidRequest, NovaError
from novactl import out
from novactl.session import CALL_S, ask, connect, followed, limit_s, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

GLANCE_S = 1.0


def hook(values: Values) -> int:
    """Report a hook. Always 0, prints nothing: it never fails the agent."""
    from novactl.shim import report

    if values["socket"]:
        os.environ["NOVA_SOCKET"] = values["socket"]
    report(values["event"] or "")
    return 0


def doctor(values: Values) -> int:
    """Look for what is wrong; 0 when nothing is, 1 for an error, 3 when the daemon is not reachable."""
    from novactl.checks import here

    if values["drivers"]:
        from novactl.commands import drivers

        return drivers.check(values)
    for name in ("agent", "program"):
        if values[name]:
            raise InvalidRequest(f"--{name} goes with --drivers.", "Write: novactl doctor --drivers")
    findings = here()
    code = 0
    try:
        findings += ask(values, "doctor")
    except NovaError as error:
        code = error.exit_code
        findings.append({"severity": "error", **error.to_wire()})
    if values["json"]:
        out.json_line(findings)
    else:
        rows = [
            (f.get("severity"), f.get("code"), f"{f.get('message')} {f.get('hint') or ''}") for f in findings
        ]
        out.table(("severity", "what", "finding"), rows)
    wrong = any(finding.get("severity") == "error" for finding in findings)
    return code or int(wrong)


def health(values: Values) -> int:
    """Show the health of the node; 0 when all is well, 1 for a warning or a failure."""
    found = ask(values, "health")
    if values["json"]:
        out.json_line(found)
    else:
        out.table(
            ("status", "check", "value", "limit", "message"),
            [
                (
                    check.get("status"),
                    check.get("name"),
                    _figure(check.get("value"), check.get("unit")),
                    _figure(check.get("limit"), check.get("unit")),
                    f"{check.get('message')} {check.get('hint') or ''}".rstrip(),
                )
                for check in found.get("checks") or []
            ],
        )
    return int(found.get("status") in ("warn", "fail"))


def config_show(values: Values) -> int:
    """Show the configuration in effect: the daemon's, else the one that it would start with."""
    from nova_torch.config import load

    shown: dict[str, Any]
    if values["config"]:
        shown = load(values["config"]).shown()
    else:
        try:
            shown = ask(values, "config")
        except DaemonUnreachable:
            shown = load().shown()
            out.note("no daemon is running: this is what it would start with", quiet=values["quiet"])
    if values["json"]:
        out.json_line(shown)
        return 0
    for section, part in shown.items():
        if isinstance(part, dict):
            for key, value in part.items():
                out.line(out.safe(f"{section}.{key} = {_spelled(value)}"))
        else:
            out.line(out.safe(f"{section} = {_spelled(part)}"))
    return 0


def config_validate(values: Values) -> int:
    """Say whether the configuration can be used."""
    from nova_torch.broker.address import parse_route
    from nova_torch.broker.tls import tls_context
    from nova_torch.config import doubts, load
    from nova_torch.login import read_login
    from nova_torch.policy import read_policy
    from nova_torch.secret_files import read_keyring

    config = load(values["config"])
    # what would stop the daemon's start, or keep it from its broker, besides
    if config.broker.url != "embedded":
        parse_route(config.broker.url)
    login = read_login(config.broker)
    if config.broker.url.startswith("rediss"):
        tls_context(login)
    read_policy(config.policy.file)
    read_keyring(config.signing)
    source = config.source
    if values["json"]:
        found = [{"message": doubt.message, "hint": doubt.hint} for doubt in doubts(config)]
        out.json_line({"valid": True, "source": source, "warnings": found})
    else:
        out.line(f"valid: {source or 'no file, the defaults'}")
        for doubt in doubts(config):
            out.note(out.safe(f"warning: {doubt.message} {doubt.hint}"), quiet=values["quiet"])
    return 0


def rpc(values: Values) -> int:
    """Make a call and print its answer as JSON."""
    args = _arguments(values["args"])
    if not values["stream"]:
        out.json_line(_call(values, args))
        return 0
    for item in followed(values, values["call"], args, endless=False):
        out.json_line(item)
    return 0


def version(values: Values) -> int:
    """Print the version of this program and of the daemon, if it runs."""
    from nova_torch.version import VERSION

    try:
        running = ask({"timeout": f"{GLANCE_S}s", **_only_given(values)}, "ping")
    except NovaError:
        running = None
    if values["json"]:
        daemon = running and {
            "version": running.get("version"),
            "node": running.get("node"),
            "pid": running.get("pid"),
        }
        out.json_line({"version": VERSION, "daemon": daemon})
        return 0
    out.line(f"novactl {VERSION}")
    if running:
        out.line(out.safe(f"nova-torchd {running.get('version')} (node {running.get('node')})"))
    else:
        out.note(f"nova-torchd: not running at {socket_path(values)}", quiet=values["quiet"])
    return 0


def completion(values: Values) -> int:
    """Print the completion script of a shell."""
    from novactl.app import completion_script

    out.line(completion_script(values["shell"]))
    return 0


def _call(values: Values, args: dict[str, Any]) -> Any:
    with connect(values, limit_s(values, CALL_S)) as client:
        return client.call(values["call"], args)


def _arguments(text: str | None) -> dict[str, Any]:
    import sys

    from nova_torch.reading import json_value

    if text is None:
        return {}
    cure = """Write it as '{"name": "value"}'."""
    try:
        args = json_value(sys.stdin.buffer.read() if text == "-" else text)
    except ValueError as error:
        raise InvalidRequest(f"the arguments are not JSON: {error}.", cure) from None
    if not isinstance(args, dict):
        raise InvalidRequest("the arguments are not a JSON object.", cure)
    return args


def _only_given(values: Values) -> Values:
    return {name: value for name, value in values.items() if value is not None}


def _figure(value: object, unit: object) -> str:
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"


def _spelled(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
