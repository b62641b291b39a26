"""Put our hooks into a settings object and take them out again. Pure: objects in, objects out.

The shape is Claude Code's: `{"hooks": {EVENT: [GROUP, …]}}`, where a group is
`{"matcher"?: …, "hooks": [{"type": "command", "command": …}, …]}`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from nova_torch.errors import Conflict

Settings = dict[str, Any]


def is_ours(entry: object) -> bool:
    """Tell whether a hook's entry calls novactl: its hook script, or `novactl hook`."""
    command = entry.get("command") if isinstance(entry, dict) else None
    words = split(command) if isinstance(command, str) else []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name = os.path.basename(word)
        if name == "hook.py" and os.path.basename(os.path.dirname(word)) == "novactl":
            return True
        if name == "novactl" and following == "hook":
            return True
    return False


def split(command: str) -> list[str]:
    """Return the words of a shell command; none when it cannot be read."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def installed(settings: Mapping[str, Any], events: Mapping[str, object]) -> dict[str, str]:
    """Return the command that is installed for each of `events`, "" for one that is not."""
    hooks = _hooks_of(settings)
    found: dict[str, str] = {}
    for event in events:
        ours = [e["command"] for group in _groups_of(hooks, event) for e in _entries(group) if is_ours(e)]
        found[event] = ours[0] if ours else ""
    return found


def with_ours(settings: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return `settings` with our entry for each event, exactly once; everything else as it was.

    Raises Conflict when a part of it is not of the shape that the program knows.
    """
    new = deepcopy(dict(settings))
    hooks = _hooks_of(new)
    if "hooks" not in new:
        new["hooks"] = hooks
    for event, entry in entries.items():
        groups = _groups_of(hooks, event)
        if not _replace_first(groups, entry):
            groups.append({"hooks": [dict(entry)]})
        hooks[event] = groups
    return new


def without_ours(settings: Mapping[str, Any], before: Mapping[str, Any] | None) -> Settings:
    """Return `settings` without our entries.

    What they leave empty goes too, unless `before`, the settings before we came, had it empty.
    """
    new = deepcopy(dict(settings))
    hooks = _hooks_of(new)
    was = before.get("hooks") if before is not None else None
    had: Mapping[str, Any] = was if isinstance(was, dict) else {}
    for event, groups in list(hooks.items()):
        if not isinstance(groups, list):
            continue
        kept = [group for group in groups if not _take_out(group)]
        if kept or len(kept) == len(groups) or had.get(event) == []:
            hooks[event] = kept
        else:
            del hooks[event]
    if "hooks" in new and not hooks and new != settings and not isinstance(was, dict):
        del new["hooks"]
    return new


def _replace_first(groups: list[Any], entry: Mapping[str, Any]) -> bool:
    """Bring our first entry up to date and take out any other; False when there was none."""
    found = False

    def superfluous(candidate: Any) -> bool:
        nonlocal found
        if not is_ours(candidate):
            return False
        if found:
            return True
        found = True
        candidate.update(entry)
        return False

    groups[:] = [group for group in groups if not _filter(group, superfluous)]
    return found


def _take_out(group: Any) -> bool:
    return _filter(group, is_ours)


def _filter(group: Any, unwanted: Callable[[Any], bool]) -> bool:
    """Take the unwanted entries out of `group`; True when that left it empty."""
    entries = _entries(group)
    kept = [entry for entry in entries if not unwanted(entry)]
    if len(kept) == len(entries):
        return False
    group["hooks"] = kept
    return not kept


def _entries(group: Any) -> list[Any]:
    entries = group.get("hooks") if isinstance(group, dict) else None
    return entries if isinstance(entries, list) else []


def _hooks_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict):
        raise Conflict("its hooks are not an object.", "Correct it; nothing was changed.")
    return hooks


def _groups_of(hooks: Mapping[str, Any], event: str) -> list[Any]:
    groups = hooks.get(event, [])
    if not isinstance(groups, list):
        raise Conflict(f"its hooks of {event} are not a list.", "Correct it; nothing was changed.")
    return groups
