"""Take secrets out of what people are shown: URLs, variables, and texts of any kind. No I/O.

Whatever shows a URL or hands something on goes through here, so that there is one answer to what a secret is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
LEAST = 6
"""A shorter secret is not looked for in texts: it would be found in every other word, and so be told."""
_SECRET_NAME = re.compile(r"PASS|TOKEN|KEY|SECRET|CREDENTIAL", re.IGNORECASE)
_URL = re.compile(r"(://[^:@/]*):(.*)@", re.DOTALL)  # a password may hold an @ or a /: the last @ ends it
_BARE = re.compile(r"\A([^:@/]*):(.*)@", re.DOTALL)  # somebody forgot the scheme: it is told of, in an error
_URL_IN_TEXT = re.compile(r"(://[^:@/\s\"'<>]*):[^\s\"'<>]*@")
_OPTION_IN_TEXT = re.compile(
    r"(--?[\w-]*(?:pass|token|key|secret)[\w-]*(?:=|\s+))[^\s\"',\]]+", re.IGNORECASE
)


def without_password(url: str) -> str:
    """Return `url` with any password replaced by `***`."""
    return _pattern(url).sub(rf"\1:{HIDDEN}@", url)


def passwords_of(url: str) -> tuple[str, ...]:
    """Return the password of `url` as it is written there and as it is meant; () when it has none."""
    found = _pattern(url).search(url)
    return tuple({found[2], unquote(found[2])}) if found and found[2] else ()


def _pattern(url: str) -> re.Pattern[str]:
    return _URL if "://" in url else _BARE


def secret_name(name: str) -> bool:
    """Tell whether a variable of this name holds a secret, as far as names tell."""
    return _SECRET_NAME.search(name) is not None


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables for people: of those with a secret's name only that they are set."""
    return {
        name: HIDDEN if secret_name(name) else without_password(value) for name, value in environment.items()
    }


def in_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without these secrets, passwords of URLs, and values of options that are named like secrets."""
    for secret in sorted(set(secrets), key=len, reverse=True):  # one may be a part of another
        if len(secret) >= LEAST:
            text = text.replace(secret, HIDDEN)
    text = _URL_IN_TEXT.sub(rf"\1:{HIDDEN}@", text)
    return _OPTION_IN_TEXT.sub(rf"\1{HIDDEN}", text)


def in_value(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return what JSON can be made of, with every text in it as by `in_text`, keys too."""
    known = tuple(secrets)
    if isinstance(value, str):
        return in_text(value, known)
    if isinstance(value, Mapping):
        return {in_text(str(name), known): in_value(item, known) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return _words([in_value(item, known) for item in value])
    return value


def _words(items: list[Any]) -> list[Any]:
    """Hide the word behind an option of a command line that is named like a secret."""
    hidden = False
    for at, item in enumerate(items):
        if hidden and isinstance(item, str) and not item.startswith("-"):
            items[at] = HIDDEN
        hidden = isinstance(item, str) and item.startswith("--") and "=" not in item and secret_name(item)
    return items
