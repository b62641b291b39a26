"""Read what opencode's HTTP API tells, and word what it is asked. No I/O. Measured with opencode 1.18.33.

Facts that this stands on: a message keeps the id that we give it, and its part too, so the same request sent twice
leaves one text, which the model gets once; it can be asked for by that id, also by the next opencode. Without
`agent` a message would run under the default one, whatever the conversation runs under.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nova_torch.ulid import is_ulid, stamp_ms
from nova_torch.values import MessageId
from noval_d.agents.reports import Meaning, Report

SHOWN_CHARS = 40  # of a conversation's title in the terminal's: longer ones are cut to 37 and an ellipsis
CUT_CHARS = 37
ELLIPSIS = "\u2026"
KEPT_IDS = 256
OURS = "prt_nova"

STATUS, PERMISSIONS, QUESTIONS, EVENTS = "/session/status", "/permission", "/question", "/event"


class Unreadable(Exception):
    """An answer is not what this release of opencode answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One of opencode's sessions, with the agent and the model that its last prompt ran under."""

    id: str
    title: str
    agent: str
    model: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Conversation {self.id}>"


def message_id(ulid: str) -> str:
    """Return the id under which opencode keeps a message of ours: always the same one, of opencode's own form."""
    return f"msg_{(stamp_ms(ulid) * 0x1000) & ((1 << 48) - 1):012x}{ulid[10:]}"


def part_id(ulid: str) -> str:
    """Return the id of a message's text: sent again, it takes its own place."""
    return OURS + ulid


def search_path(title: str) -> str:
    """Return where the conversations are listed that could be the one of a terminal's title."""
    return f"/session?roots=true&limit=200&search={quote(uncut(title), safe='')}"


def conversation_path(conversation: str) -> str:
    """Return where a conversation can be asked for."""
    return f"/session/{quote(conversation, safe='')}"


def message_path(conversation: str, message: str) -> str:
    """Return where a message can be asked for."""
    return f"/session/{quote(conversation, safe='')}/message/{message}"


def newest_path(conversation: str) -> str:
    """Return where a conversation's last message is."""
    return f"/session/{quote(conversation, safe='')}/message?limit=1"


def prompt_path(conversation: str) -> str:
    """Return where a message is handed in."""
    return f"/session/{quote(conversation, safe='')}/prompt_async"


def prompt_body(ulid: str, text: str, conversation: Conversation) -> bytes:
    """Return the request that hands in a message of ours."""
    model = conversation.model
    asked = {
        "messageID": message_id(ulid),
        "agent": conversation.agent,
        "model": {"providerID": model["providerID"], "modelID": model["id"]},
        "parts": [{"id": part_id(ulid), "type": "text", "text": text}],
    }
    if variant := model.get("variant"):
        asked["variant"] = variant
    return json.dumps(asked).encode()


def uncut(title: str) -> str:
    """Return the beginning of a conversation's title that a terminal's title holds."""
    return title[:-1] if len(title) == CUT_CHARS + 1 and title.endswith(ELLIPSIS) else title


def shown(body: bytes, title: str) -> Conversation | None:
    """Return the one conversation that a terminal's title can mean; None when there is none, or several.

    Raises Unreadable.
    """
    fits = [session for session in _list(body) if _as_shown(_text(session, "title")) == title]
    return _conversation(fits[0]) if len(fits) == 1 else None


def conversation(body: bytes) -> Conversation | None:
    """Return the conversation that an answer describes; None when it has not had a prompt. Raises Unreadable."""
    return _conversation(_json(body))


def _conversation(only: Any) -> Conversation | None:
    model = only.get("model") if isinstance(only, Mapping) else None
    agent, model = _text(only, "agent"), model if isinstance(model, Mapping) else {}
    named = {key: value for key, value in model.items() if isinstance(value, str)}
    if not _text(only, "id").startswith("ses") or not agent or not {"id", "providerID"} <= named.keys():
        return None
    return Conversation(id=_text(only, "id"), title=_text(only, "title"), agent=agent, model=named)


def holds(body: bytes, ulid: str, text: str) -> bool:
    """Tell whether an answer is our message, with its text. Raises Unreadable."""
    message = _json(body)
    if not isinstance(message, Mapping):
        raise Unreadable("a message is no object")
    info, parts = _mapping(message, "info"), message.get("parts")
    if _text(info, "id") != message_id(ulid) or _text(info, "role") != "user":
        raise Unreadable("that is another message")
    return isinstance(parts, list) and text in [_text(part, "text") for part in parts]


def waiting(body: bytes) -> tuple[MessageId, str] | None:
    """Return the last message of a conversation if it is one of ours, with its text: nothing has come of it.

    Its text's id says which one it is, whoever handed it over. Raises Unreadable.
    """
    for newest in _list(body)[-1:]:
        parts = newest.get("parts") if isinstance(newest, Mapping) else None
        for part in parts if isinstance(parts, list) else []:
            ulid = _text(part, "id").removeprefix(OURS)
            if is_ulid(ulid) and _text(_mapping(newest, "info"), "id") == message_id(ulid):
                return MessageId(ulid), _text(part, "text")
    return None


def beats(data: bytes) -> bool:
    """Tell whether an event only says that it is still there."""
    return b'"server.heartbeat"' in data[:200]


def _as_shown(title: str) -> str:
    return title[:CUT_CHARS] + ELLIPSIS if len(title) > SHOWN_CHARS else title


@dataclass(slots=True, kw_only=True)
class Doings:
    """What an opencode does, as far as its events tell. `take` and `begin` return what is news of it."""

    limit: re.Pattern[str] | None = None
    """What a reason for trying again says when a usage limit is reached."""
    _busy: set[str] = field(default_factory=set)
    _limited: bool = False
    _asking: dict[str, str] = field(default_factory=dict)
    _prompts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Messages of a user whose text may still come."""
    _parts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Parts that were told: they are told again whenever something of them changes."""
    _helpers: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Conversations that another one has begun: what is asked there is no prompt of a person's."""

    def begin(self, status: bytes, permissions: bytes, questions: bytes) -> list[Report]:
        """Return what it does at the beginning of the events. Raises Unreadable."""
        states = _json(status)
        if not isinstance(states, Mapping):
            raise Unreadable("the states are no object")
        self._busy = {name for name, state in states.items() if _text(state, "type") not in ("", "idle")}
        self._asking = {_text(one, "id"): _asked(one) for one in (*_list(permissions), *_list(questions))}
        news = [Report(meaning=Meaning.PROMPT if self._busy else Meaning.FINISHED)]
        return [*news, self._question()] if self._asking else news

    def take(self, data: bytes) -> list[Report]:
        """Return what an event tells; nothing when it is none that matters, or not readable."""
        try:
            event = _json(data)
        except Unreadable:
            return []
        about = _mapping(event, "properties")
        match _text(event, "type"):
            case "session.created" | "session.updated":
                self._note_helper(_mapping(about, "info"))
            case "session.status":
                return self._status(about)
            case "session.idle":
                return self._rests(_text(about, "sessionID"))
            case "session.deleted":
                return self._rests(_text(_mapping(about, "info"), "id"))
            case "session.compacted":
                return [Report(meaning=Meaning.PROMPT)]  # it goes on with what it did
            case "session.error":
                return self._trouble(_mapping(_mapping(about, "error"), "data"))
            case "message.updated":
                return self._message(_mapping(about, "info"))
            case "message.part.updated":
                return self._part(_mapping(about, "part"))
            case "permission.asked" | "question.asked":
                self._asking[_text(about, "id")] = _asked(about)
                return [self._question()]
            case "permission.replied" | "question.replied" | "question.rejected":
                return self._answered(_text(about, "requestID"))
        return []

    def _question(self) -> Report:
        return Report(meaning=Meaning.PERMISSION, detail=next(iter(self._asking.values())))

    def _answered(self, request: str) -> list[Report]:
        if self._asking.pop(request, None) is None:
            return []
        if self._asking:
            return [self._question()]
        return [Report(meaning=Meaning.PROMPT if self._busy else Meaning.FINISHED)]

    def _status(self, about: Mapping[str, Any]) -> list[Report]:
        name, status = _text(about, "sessionID"), _mapping(about, "status")
        match _text(status, "type"):
            case "idle":
                return self._rests(name)
            case "retry":
                self._busy.add(name)
                return self._trouble(status)
            case "busy" if name not in self._busy:
                self._busy.add(name)
                return [Report(meaning=Meaning.PROMPT)]
        return []

    def _rests(self, name: str) -> list[Report]:
        if name not in self._busy:
            return []
        self._busy.discard(name)
        return [] if self._busy or self._asking else [Report(meaning=Meaning.FINISHED)]

    def _trouble(self, status: Mapping[str, Any]) -> list[Report]:
        said = _text(status, "message")
        if self.limit is None or not self.limit.search(said):
            return []
        self._limited = True
        return [Report(meaning=Meaning.NOTICE, limit=" ".join(said.split())[:200])]

    def _message(self, info: Mapping[str, Any]) -> list[Report]:
        if _text(info, "role") == "user" and _text(info, "sessionID") not in self._helpers:
            _note(self._prompts, _text(info, "id"))
        if info.get("summary") is True and not _mapping(info, "time").get("completed"):
            return [Report(meaning=Meaning.COMPACTING)]
        return []

    def _part(self, part: Mapping[str, Any]) -> list[Report]:
        if self._limited and _text(part, "type") == "step-start":  # its model answers again
            self._limited = False
            return [Report(meaning=Meaning.PROMPT)]
        text, name = _text(part, "text"), _text(part, "id")
        theirs = _text(part, "messageID") in self._prompts and name not in self._parts
        if _text(part, "type") != "text" or not text or part.get("synthetic") or not theirs:
            return []
        _note(self._parts, name)
        prompt = "" if name.startswith(OURS) else text  # ours is proven by its id, not by its words
        return [Report(meaning=Meaning.PROMPT, prompt=prompt, session=_text(part, "sessionID"))]

    def _note_helper(self, info: Mapping[str, Any]) -> None:
        if _text(info, "parentID"):
            _note(self._helpers, _text(info, "id"))


def _asked(request: Mapping[str, Any]) -> str:
    """Return what a permission or a question is about, in one line."""
    asked = request.get("questions")
    if isinstance(asked, list) and asked and isinstance(asked[0], Mapping):
        said = _text(asked[0], "question")
    else:
        patterns = request.get("patterns")
        about = ", ".join(str(one) for one in patterns) if isinstance(patterns, list) else ""
        said = f"{_text(request, 'permission')}: {about}"
    return " ".join(said.split())[:200]


def _note(notes: OrderedDict[str, None], name: str) -> None:
    notes[name] = None
    while len(notes) > KEPT_IDS:
        notes.popitem(last=False)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("that is no JSON") from None


def _list(body: bytes) -> list[Mapping[str, Any]]:
    found = _json(body)
    if not isinstance(found, list):
        raise Unreadable("that is no list")
    return [one for one in found if isinstance(one, Mapping)]


def _mapping(holder: Any, name: str) -> Mapping[str, Any]:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _text(holder: Any, name: str) -> str:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, str) else ""
