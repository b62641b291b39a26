"""The rights that docs/broker.md gives to each user, as they stand there."""

from __future__ import annotations

import re

from tests.support.node import ROOT
from tests.support.servers import PASSWORD, OwnServer


def paper() -> list[list[str]]:
    """Return every ACL line of the document, word by word."""
    text = (ROOT / "docs" / "broker.md").read_text(encoding="utf-8")
    return [line.split() for line in re.findall(r"^ACL SETUSER .+$", text, re.MULTILINE)]


def users() -> list[str]:
    return sorted({words[2] for words in paper()})


def commands_of(user: str) -> list[str]:
    """Return the commands that the document allows `user`."""
    return [word[1:] for words in paper() if words[2] == user for word in words[3:] if word.startswith("+")]


def give(server: OwnServer) -> None:
    """Make the users of the document, each with the password of the tests."""
    for words in paper():
        server.ask(*(word.replace(">PASSWORD", f">{PASSWORD}") for word in words))
