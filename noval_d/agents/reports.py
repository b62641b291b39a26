"""Read what an agent's hook reports. Pure. The event names are the agent's; its driver says what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nova_torch.errors import InvalidRequest
from nova_torch.reading import json_value


class Meaning(StrEnum):
    """What an event of an agent tells us."""

    STARTED = "started"
    PROMPT = "prompt"
    FINISHED = "finished"
    NOTICE = "notice"
    PERMISSION = "permission"
    COMPACTING = "compacting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One hook call: what it means and, for a prompt, the whole text that the agent took."""

    meaning: Meaning
    prompt: str = ""
    cut: bool = False
    """The prompt is only the beginning of a very long one."""
    detail: str = ""
    transcript: str = ""
    """Path of the file in which the agent writes down its conversation."""
    session: str = ""
    """The agent's own name of its conversation, by which it can be resumed."""
    limit: str = ""
    """What it says of a usage limit that is reached."""


def read_report(meanings: Mapping[str, str], event: str, payload: bytes) -> Report | None:
    """Return the report of `event`, or None when the driver gives it no meaning.

    `payload` is the raw JSON that the agent wrote to its hook; an empty one is allowed. Raises InvalidRequest
    when it is neither.
    """
    meaning = meanings.get(event)
    if meaning is None:
        return None
    data = _object(payload)
    return Report(
        meaning=Meaning(meaning),
        prompt=_text(data, "prompt"),
        cut=bool(data.get("truncated")) and "prompt_sha256" in data,
        transcript=_text(data, "transcript_path"),
        session=_text(data, "session_id"),
        detail=_text(data, "message") or _text(data, "tool_name") or _text(data, "source"),
    )


def _object(payload: bytes) -> Mapping[str, Any]:
    if not payload.strip():
        return {}
    try:
        data = json_value(payload)
    except ValueError as error:
        raise InvalidRequest(f"the hook's input is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise InvalidRequest(f"the hook's input is a {type(data).__name__}, not an object.")
    return data


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
