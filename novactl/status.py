"""Say in a few lines how a node is. Whatever is wrong comes last, with the command that helps."""

from __future__ import annotations

import time
from typing import Any

from nova_torch.durations import spoken
from novactl import out

HELD_ROWS = 20
STATE_ROWS = 20
BRIDGE_ROWS = 20
WELL = "All is well. The flow of messages: novactl watch"


def show(data: dict[str, Any]) -> None:
    """Print the object of `status --json` for people."""
    facts = [
        ("node", _node(data)),
        ("broker", _broker(data)),
        ("tmux", _tmux(data)),
        ("agents", _agents(data)),
    ]
    facts.append(("outbox", f"{_number(data.get('outbox'))} sent from here and not final"))
    if (data.get("schedules") or {}).get("active"):
        facts.append(("later", _schedules(data)))
    paused = data.get("paused") or []
    if paused:
        facts.append(("paused", ", ".join(map(str, paused))))
    for name, text in facts:
        out.line(f"{name:<7} {text}" if out.on_terminal() else f"{name}\t{text}")
    _attention(data)
    _held(data.get("held") or [])
    _bridges([row for row in data.get("bridges") or [] if isinstance(row, dict)])
    _health(data)


def _node(data: dict[str, Any]) -> str:
    up = spoken(float(data.get("uptime_s") or 0))
    mode = data.get("mode") or "normal"
    shown = out.safe(f"{data.get('node')}, version {data.get('version')}, up {up}")
    return shown if mode == "normal" else f"{shown}, {out.coloured(out.safe(mode))} mode"


def _broker(data: dict[str, Any]) -> str:
    broker = data.get("broker") or {}
    state = out.coloured(out.safe(broker.get("state") or "unknown"))
    what = " ".join(str(broker[key]) for key in ("kind", "version") if broker.get(key))
    where = f"at {broker['url']}" if broker.get("url") else ""
    about = " ".join(filter(None, (what, where)))
    return f"{state}, {out.safe(about)}" if about else state


def _tmux(data: dict[str, Any]) -> str:
    servers = data.get("tmux") or []
    return ", ".join(_server(server) for server in servers) or "no server"


def _server(server: Any) -> str:
    if not isinstance(server, dict):
        return out.safe(server)
    where = server.get("socket") or server.get("path") or server.get("url") or ""
    rest = [f"{key} {value}" for key, value in server.items() if key in ("state", "pid", "panes", "sessions")]
    return out.safe(" ".join(part for part in (str(where), *rest) if part))


def _agents(data: dict[str, Any]) -> str:
    counts = data.get("agents") or {}
    if not counts:
        return "none"
    return ", ".join(
        f"{number} {out.coloured(out.safe(state))}" for state, number in counts.items() if number
    )


def _schedules(data: dict[str, Any]) -> str:
    known = data["schedules"]
    number, next_ms = known["active"], known.get("next_ms")
    what = f"{number} schedule{'s' if number != 1 else ''}"
    if not isinstance(next_ms, int):
        return what
    left_s = next_ms / 1000 - time.time()
    when = f"in {spoken(left_s)}" if left_s >= 0 else f"{spoken(-left_s)} ago"
    return out.safe(f"{what}, the next {when} for {known.get('next_agent')}: novactl schedule list")


def _attention(data: dict[str, Any]) -> None:
    """Print the agents' states with who told of them, those that need a person first, and what opens them."""
    needs = {row.get("agent"): row for row in data.get("attention") or [] if isinstance(row, dict)}
    states = [row for row in data.get("states") or [] if isinstance(row, dict)]
    states.sort(key=lambda row: row.get("agent") not in needs)
    if not states:
        return
    out.line("")
    out.table(
        ("agent", "state", "by", "needs you", "open", "detail"),
        [_state_row(row, needs.get(row.get("agent")) or {}) for row in states[:STATE_ROWS]],
    )
    if len(states) > STATE_ROWS:
        out.line(f"and {len(states) - STATE_ROWS} more: novactl agents")


def _state_row(row: dict[str, Any], need: dict[str, Any]) -> tuple[object, ...]:
    detail = need.get("detail") or row.get("detail")
    said = ": ".join(filter(None, (detail, need.get("shown"))))
    return row.get("agent"), row.get("state"), row.get("source"), need.get("reason"), need.get("open"), said


def _held(held: list[Any]) -> None:
    if not held:
        return
    out.line("")
    rows = [_held_row(item) for item in held[:HELD_ROWS] if isinstance(item, dict)]
    out.table(("held", "agent", "reason", "for", "waiting", "detail"), rows)
    if len(held) > HELD_ROWS:
        out.line(f"and {len(held) - HELD_ROWS} more: novactl status --json")


def _held_row(item: dict[str, Any]) -> tuple[object, ...]:
    since_s = item.get("held_s")
    waited = spoken(float(since_s)) if isinstance(since_s, (int, float)) else ""
    return (
        item.get("id"),
        item.get("agent"),
        item.get("reason"),
        waited,
        item.get("waiting"),
        item.get("detail"),
    )


def _bridges(rows: list[dict[str, Any]]) -> None:
    """Print the bridges that have done something or cannot; the others are a number."""
    busy = [row for row in rows if any(row.get(name) for name in ("taken", "told", "dropped", "problem"))]
    if not rows:
        return
    out.line("")
    if busy:
        names = (
            "bridge",
            "by",
            "name",
            "taken",
            "told",
            "dropped",
            "the last that was dropped, or what is wrong",
        )
        out.table(names, [_bridge_row(row) for row in busy[:BRIDGE_ROWS]])
    quiet = len(rows) - len(busy[:BRIDGE_ROWS])
    if quiet:
        out.line(f"{quiet} {'more ' if busy else ''}bridge{'s' if quiet != 1 else ''}: novactl status --json")


def _bridge_row(row: dict[str, Any]) -> tuple[object, ...]:
    said = row.get("problem") or (row.get("reason") if row.get("dropped") else "")
    return (*(row.get(name) for name in ("name", "via", "key", "taken", "told", "dropped")), said)


def _health(data: dict[str, Any]) -> None:
    troubles = [
        h for h in data.get("health") or [] if isinstance(h, dict) and h.get("severity") not in (None, "ok")
    ]
    out.line("")
    for trouble in troubles:
        severity = out.coloured(out.safe(trouble.get("severity")))
        sentence = out.safe(f"{trouble.get('message', '')} {trouble.get('hint') or ''}".rstrip())
        out.line(f"{severity}: {sentence}")
    out.line(_help(data, troubles))


def _help(data: dict[str, Any], troubles: list[dict[str, Any]]) -> str:
    held = data.get("held") or []
    if troubles:
        return "What is wrong in detail: novactl doctor"
    if held and isinstance(held[0], dict) and held[0].get("agent"):
        agent = out.safe(held[0]["agent"])
        if held[0].get("reason") == "paused":
            return f"Type into it again: novactl resume {agent}"
        return f"What its pane shows: novactl peek {agent}"
    needs = [row for row in data.get("attention") or [] if isinstance(row, dict)]
    if needs:
        more = f" (and {len(needs) - 1} more)" if len(needs) > 1 else ""
        return out.safe(f"{needs[0].get('agent')} needs you{more}: {needs[0].get('open')}")
    if not data.get("agents"):
        return "Register an agent: novactl register ID --pane %N"
    return WELL


def _number(value: object) -> int:
    if isinstance(value, int):
        return value
    return len(value) if isinstance(value, (list, dict)) else 0
