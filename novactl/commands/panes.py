"""Commands about agents' panes: look at one, open one, answer the dialog that is open in it."""

from __future__ import annotations

import os
import sys
import time

from nova_torch.errors import Conflict
from novactl import out
from novactl.session import ask, caller, connect, followed, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

CLEAR = "\x1b[H\x1b[2J"
ANSWER_S = 20.0  # until the dialog is seen to be gone


def peek(values: Values) -> int:
    """Show what an agent's pane shows."""
    args = {"agent_id": values["agent"], "lines": values["lines"]}
    if values["follow"]:
        return _follow(values, args)
    shown = ask(values, "peek", args)
    if values["json"]:
        out.json_line(shown)
        return 0
    out.write(_screen(shown))
    return 0


def _follow(values: Values, args: dict[str, Any]) -> int:
    """Show it again whenever it changes, until interrupted, or until --timeout."""
    for shown in followed(values, "peek", given(args)):
        if values["json"]:
            out.json_line(shown)
        elif out.on_terminal():
            out.write(CLEAR + _screen(shown))
        else:
            at = time.strftime("%H:%M:%S")
            out.write(f"── {out.safe(shown.get('agent_id'))} {at} ──\n{_screen(shown)}")
    return 0


def _screen(shown: dict[str, Any]) -> str:
    lines = [out.safe(line).rstrip() for line in shown.get("lines") or ()]
    while lines and not lines[-1]:
        lines.pop()
    return "".join(f"{line}\n" for line in lines)


def attach(values: Values) -> int:
    """Open an agent's pane in this terminal: this process becomes tmux."""
    place = ask(values, "place", {"agent_id": values["agent"]})
    argv = attach_argv(place, os.environ.get("TMUX"))
    if values["json"]:
        out.json_line({**place, "argv": argv})
        return 0
    if not (os.isatty(0) and os.isatty(1)):
        raise Conflict("this is no terminal that a pane could be opened in.", "What it shows: novactl peek")
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # a list, no shell
    except FileNotFoundError:
        raise Conflict("tmux is not installed here.", "Install tmux 3.2 or later.") from None


def attach_argv(place: dict[str, Any], tmux: str | None) -> list[str]:
    """Return the command that shows a pane; `tmux` is this terminal's own $TMUX. Raises Conflict."""
    server, pane = str(place["tmux"]), str(place["pane"])
    base = ["tmux", "-u", "-S", server]
    if tmux:
        if os.path.realpath(tmux.split(",", 1)[0]) != os.path.realpath(server):
            raise Conflict(
                "this terminal is in a pane of another tmux server.",
                f"From a terminal of its own, or nested: env -u TMUX novactl attach {place['agent_id']}",
            )
        return [*base, "switch-client", "-t", pane]
    select = ["select-window", "-t", pane, ";", "select-pane", "-t", pane]
    return [*base, *select, ";", "attach-session", "-t", f"={place['session']}"]


def answer(values: Values) -> int:
    """Show the dialog of an agent, or answer it."""
    args = {"agent_id": values["agent"], "choice": values["choice"], "fingerprint": values["fingerprint"]}
    with connect(values, limit_s(values, ANSWER_S)) as client:
        done = client.call("dialog_answer", given({**args, **caller()}))
    if values["json"]:
        out.json_line(done)
    elif values["choice"] is None:
        _show(values, done)
    else:
        _answered(done)
    return 1 if values["choice"] is not None and done.get("outcome") == "still" else 0


def _show(values: Values, shown: dict[str, Any]) -> None:
    dialog = shown.get("dialog")
    if not dialog:
        note = f"no dialog is open in {values['agent']}: it is {shown.get('state')}."
        out.note(out.safe(note), quiet=values["quiet"])
        return
    out.write(_screen(dialog))
    name, mark = out.safe(values["agent"]), out.safe(dialog.get("fingerprint"))
    out.line("")
    out.line(f"fingerprint {mark}")
    if dialog.get("options"):
        out.line(f"Answer it: novactl answer {name} CHOICE --fingerprint {mark}")
    else:
        out.line(f"Its options cannot be read for sure. Answer it in its pane: novactl attach {name}")


def _answered(done: dict[str, Any]) -> None:
    what = f"{done.get('agent_id')}: {done.get('question')} {done.get('choice')}. {done.get('option')}"
    now = (done.get("dialog") or {}).get("question")
    seen = {
        "gone": f"the dialog is gone, it is {done.get('state')}",
        "another": f"that dialog is gone; another one is open: {now}",
        "changed": "the dialog shows something else now and is still open",
        "still": "the keys were pressed and the dialog is still open",
    }.get(str(done.get("outcome")), str(done.get("outcome")))
    out.line(out.safe(what))
    if done.get("outcome") == "gone":
        out.line(out.safe(seen))
    else:
        print(out.safe(f"{seen}. Look: novactl answer {done.get('agent_id')}"), file=sys.stderr)
