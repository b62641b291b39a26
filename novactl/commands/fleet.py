"""Commands about agents: list, register, pause, read their messages. Light: two are hot."""

from __future__ import annotations

import os
import time

from nova_torch.durations import spoken
from nova_torch.errors import InvalidRequest, UnknownCall
from novactl import out
from novactl.session import CALL_S, ask, caller, connect, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def agents(values: Values) -> int:
    """List the agents of the fleet."""
    filters = {
        "role": values["role"],
        "skills": values["skill"],
        "node": values["node"],
        "labels": values["label"],
        "state": values["state"],
        "free": values["free"],
    }
    if values["watch"]:
        from novactl.commands.watching import watch_agents

        return watch_agents(values, filters)
    found, why, note = _pages(values, filters)
    if note:
        out.note(out.safe(note), quiet=values["quiet"])
    if values["json"]:
        out.json_line(found)
        return 0
    now_ms = time.time_ns() // 1_000_000
    out.table(
        (
            "agent",
            "state",
            "for",
            "queued",
            "role",
            "skills",
            "node",
            "driver",
            "pane",
            "window",
            "by",
            "detail",
        ),
        [
            (
                agent.get("agent_id"),
                agent.get("state"),
                _since(agent.get("state_since_ms"), now_ms),
                agent.get("queued"),
                agent.get("role"),
                ",".join(agent.get("skills") or ()),
                agent.get("node"),
                agent.get("driver"),
                agent.get("pane"),
                _place(agent),
                agent.get("state_source"),
                ": ".join(filter(None, (agent.get("detail"), agent.get("shown")))),
            )
            for agent in found
        ],
    )
    if not found and not any(filters.values()):
        out.note("no agents yet. Register one: novactl register ID --pane %N", quiet=values["quiet"])
    elif why:
        out.note(out.safe(why), quiet=values["quiet"])
    return 0


def _pages(values: Values, filters: dict[str, Any]) -> tuple[list[dict[str, Any]], str, str]:
    """Return the agents that match, however many pages they are, of nobody why, and what is not seen."""
    found: list[dict[str, Any]] = []
    following = None
    with connect(values, limit_s(values, CALL_S)) as client:
        while True:
            try:
                page = client.call("agents_page", given({**filters, "after": following}))
            except UnknownCall:  # a daemon of the version before, that was not restarted yet
                return client.call("agents", given(filters)), "", ""
            found += page["agents"]
            following = page["next"]
            if following is None:
                return found, f"{page['why']} {page['cure']}".strip(), str(page.get("note") or "")


def inbox(values: Values) -> int:
    """Show an agent's messages, the newest last."""
    agent: str | None = values["agent"]
    if agent is None and not os.environ.get("TMUX_PANE") and not values["replies"]:
        raise InvalidRequest("whose inbox? This is no tmux pane.", "Name the agent: novactl inbox AGENT")
    who = {"agent": agent} if agent else caller()
    only = {"unanswered": values["unanswered"], "replies": values["replies"]}
    found = ask(values, "inbox", {**who, **only, "limit": values["limit"]})
    if values["json"]:
        out.json_line(found)
        return 0
    out.table(
        ("id", "from", "state", "reason", "priority", "message"),
        [
            (
                m.get("id"),
                m.get("sender"),
                m.get("state"),
                m.get("reason"),
                m.get("priority"),
                _head(m.get("body")),
            )
            for m in found
        ],
    )
    return 0


def register(values: Values) -> int:
    """Make a running pane an agent."""
    if values["here"] and values["pane"]:
        raise InvalidRequest("--here and --pane exclude each other.", "Use one of them.")
    here = caller()
    if not values["pane"] and here["pane"] is None:
        raise InvalidRequest(
            "--here needs a tmux pane, and this is none." if values["here"] else "which pane?",
            "Name it: --pane %N or --pane session:window.pane",
        )
    if not values["pane"] and not values["here"]:
        raise InvalidRequest("which pane?", "Name it with --pane, or say --here for the one you are in.")
    args: dict[str, Any] = {
        "agent_id": values["agent"],
        "pane": values["pane"],
        "role": values["role"],
        "skills": values["skill"],
        "driver": values["driver"],
    }
    if values["here"]:
        args |= {"pane_env": here["pane"], "tmux": here["tmux"]}
    agent = ask(values, "register", args)
    return _one_agent(values, agent, f"registered {values['agent']}")


def unregister(values: Values) -> int:
    """Forget an agent."""
    answer = ask(values, "unregister", {"agent_id": values["agent"]})
    if values["json"]:
        out.json_line(answer)
        return 0
    dropped = answer.get("dropped") or 0
    out.line(
        f"unregistered {values['agent']}" + (f", {dropped} waiting messages given up" if dropped else "")
    )
    return 0


def pause(values: Values) -> int:
    """Type nothing into an agent until it is resumed."""
    return _one_agent(
        values, ask(values, "pause", {"agent_id": values["agent"]}), f"paused {values['agent']}"
    )


def resume(values: Values) -> int:
    """Type into a paused agent again."""
    return _one_agent(
        values, ask(values, "resume", {"agent_id": values["agent"]}), f"resumed {values['agent']}"
    )


def _one_agent(values: Values, agent: Any, sentence: str) -> int:
    if values["json"]:
        out.json_line(agent)
        return 0
    pane, state = agent.get("pane"), agent.get("state")
    out.line(out.safe(f"{sentence} (pane {pane}, {state}, driver {agent.get('driver')})"))
    return 0


def _place(agent: dict[str, Any]) -> str:
    session, window = agent.get("session") or "", agent.get("window") or ""
    return f"{session}:{window}" if session or window else ""


def _since(since_ms: object, now_ms: int) -> str:
    return spoken(max(now_ms - since_ms, 0) / 1000) if isinstance(since_ms, int) and since_ms > 0 else ""


def _head(body: object) -> str:
    text = "" if body is None else str(body)
    if not out.on_terminal():
        return text
    first = " ".join(text.split())
    return first if len(first) <= 60 else f"{first[:59]}…"
