"""The checker of broker commands catches what DragonflyDB does not have."""

from __future__ import annotations

import pytest

from tests.support.commands import Checker

MAILBOX = "nova:{a:x}:mbx"


def problem(line: str, *, in_script: bool = False) -> str:
    return Checker().check(line.split(), in_script=in_script) or ""


@pytest.mark.parametrize(
    "line",
    [
        "PING",
        "GET k",
        "SET k v NX",
        "set k v px 5",
        f"XADD {MAILBOX} * i IDMP p MAXLEN",
        "XADD nova:{n:a}:in MAXLEN ~ 5 * p x",
        "XREAD COUNT 5 BLOCK 5000 STREAMS k 0-0",
        "XREADGROUP GROUP g c COUNT 5 STREAMS k >",
        "BZMPOP 5 1 k MIN COUNT 64",
        "ZADD k LT 0 a 1 b",
        "XGROUP CREATE k g 0 MKSTREAM",
        "FLUSHALL",
        "EVALSHA sha 2 nova:{a:x}:own nova:{a:x}:hi word",
    ],
)
def test_what_the_project_sends_passes(line: str) -> None:
    assert problem(line) == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("XACKDEL s g IDS 1 1-1", "not in DragonflyDB"),
        ("SET k 2 IFEQ 1", "IFEQ"),
        ("SET k 2 NX GET", "GET"),
        ("XREAD BLOCK 0 STREAMS k 0-0", "between 1 and 5000"),
        ("XREAD BLOCK 9000 STREAMS k 0-0", "between 1 and 5000"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS k >", "BLOCK"),
        ("BZMPOP 0 1 k MIN", "between"),
        (f"XADD {MAILBOX} MAXLEN 5 * p x", "never on"),
        (f"XADD {MAILBOX} MAXLEN ~ 5 * p x", "never on"),
        (f"XTRIM {MAILBOX} MAXLEN 5", "never on"),
        ("XADD s IDMP p 1 * a 1", "IDMP"),
        ("CLIENT UNBLOCK 1", "not in DragonflyDB"),
        ("FUNCTION LIST", "not in DragonflyDB"),
        ("OBJECT ENCODING k", "not in DragonflyDB"),
        ("SWAPDB 0 1", "not in DragonflyDB"),
        ("ZADD k INCR 1 a", "INCR"),
        ("EXPIRE k 5 GT", "GT"),
        ("GEOADD k 1 2 a", "not in the list"),
        ("EVALSHA sha 2 nova:{a:x}:own nova:{a:y}:own", "2 hash tags"),
        ("EVALSHA sha 2 nova:own nova:hi", "0 hash tags"),
    ],
)
def test_what_dragonfly_refuses_is_caught(line: str, told: str) -> None:
    assert told in problem(line)


def test_a_script_that_touches_a_key_it_did_not_declare_is_caught() -> None:
    checker = Checker()
    assert checker.check(["EVALSHA", "sha", "1", "nova:{a:x}:own", "data"]) is None
    assert checker.check(["GET", "nova:{a:x}:own"], in_script=True) is None
    assert "not declared" in str(checker.check(["GET", "nova:{a:x}:seen"], in_script=True))


def test_a_counter_of_an_unlisted_command_is_caught() -> None:
    assert Checker().knows(["XGROUP", "CREATE"])
    assert Checker().knows(["SHUTDOWN"])
    assert not Checker().knows(["CONFIG", "SET"])
