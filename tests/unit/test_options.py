"""The table of commands, the light parser and the Typer app made from it."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from novactl import app, light, main
from novactl.options import Command
from novactl.table.hot import HOT
from novactl.table.whole import COMMANDS

Values = dict[str, Any]
Seen = list[tuple[str, Values]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What would have been run, with which values."""
    found: Seen = []

    def invoke(command: Command, values: Values) -> int:
        found.append((" ".join(command.path), values))
        return 0

    monkeypatch.setattr(app, "invoke", invoke)
    monkeypatch.setattr(main, "invoke", invoke)
    return found


def through_typer(seen: Seen, argv: list[str]) -> tuple[int, Any]:
    seen.clear()
    code = app.run(argv)
    return code, seen[-1] if seen else None


WORDS = [
    "a",
    "",
    "hello world",
    "-",
    "--",
    "--wait",
    "--wait=acknowledged",
    "--wait=",
    "--wait=nonsense",
    "--timeout",
    "5s",
    "--timeout=5s",
    "--json",
    "--json=1",
    "-q",
    "-qq",
    "--quiet",
    "--socket",
    "/s",
    "--priority",
    "-p",
    "high",
    "-phigh",
    "-p=high",
    "--skill",
    "--skill=x",
    "--limit",
    "-n",
    "3",
    "-3",
    "٣",
    "--state=idle",
    "--role",
    "--help",
    "-h",
    "--unknown",
    "--raw",
    "--command",
    "--no-raw",
    "--id",
    "--unanswered",
    "--replies",
    "--file",
    "--ttl=1m",
    "--wai",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.sampled_from(["--json", "-q", "--socket", "/s", "--timeout=3s"]), max_size=2),
    name=st.sampled_from([command.path[0] for command in HOT if not command.lenient]),
    after=st.lists(st.sampled_from(WORDS), max_size=6),
)
def test_whatever_the_light_road_understands_typer_understands_the_same(
    seen: Seen, before: list[str], name: str, after: list[str]
) -> None:
    argv = [*before, name, *after]
    plain = light.parse(light.expand(argv))
    if plain is None:
        return
    command, values = plain
    assert through_typer(seen, argv) == (0, (" ".join(command.path), values)), argv


@pytest.mark.parametrize(
    "argv",
    [
        ["send", "a", "hello"],
        ["send", "--wait", "a", "hello"],
        ["send", "a", "hello", "--wait"],
        ["send", "a", "--wait=replied", "--timeout", "5m", "hello", "-p", "high", "--json"],
        ["--json", "--socket", "/s", "send", "a", "--", "--wait"],
        ["-q", "agents", "--skill", "x", "--skill", "y", "--state", "idle"],
        ["inbox"],
        ["inbox", "a", "-n", "5"],
        ["inbox", "--unanswered"],
        ["ask", "a", "well?", "--timeout", "5m", "--json"],
        ["reply", "01JD3ZK8Q5W9X2Y4V6B8N0M1P3", "yes"],
    ],
)
def test_the_plain_ways_to_write_a_hot_command_take_the_light_road(seen: Seen, argv: list[str]) -> None:
    plain = light.parse(light.expand(argv))
    assert plain is not None
    command, values = plain
    assert through_typer(seen, argv) == (0, (" ".join(command.path), values))


def test_wait_without_a_value_takes_nothing_from_the_words_around_it() -> None:
    assert light.expand(["send", "--wait", "a", "x"]) == ["send", "--wait=submitted", "a", "x"]
    assert light.expand(["send", "a", "--", "--wait"]) == ["send", "a", "--", "--wait"]
    assert light.expand(["send", "--file", "--wait", "a"]) == ["send", "--file", "--wait", "a"]
    assert light.expand(["--socket", "send", "send", "a", "--wait"])[-1] == "--wait=submitted"
    assert light.expand(["rpc", "--wait"]) == ["rpc", "--wait"]


def test_a_command_of_the_whole_line_wins_over_one_before_it(seen: Seen) -> None:
    argv = ["--timeout", "3s", "agents", "--timeout", "4s"]
    plain = light.parse(argv)
    assert plain is not None
    assert plain[1]["timeout"] == "4s"
    assert through_typer(seen, argv)[1][1]["timeout"] == "4s"


def test_a_hook_takes_whatever_it_is_given(seen: Seen) -> None:
    for argv in (["hook"], ["hook", "Stop"], ["hook", "Stop", "--nonsense", "more"]):
        plain = light.parse(argv)
        assert plain is not None
        assert plain[1]["event"] == (argv[1] if len(argv) > 1 else "")
        assert through_typer(seen, argv)[0] == 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.path))
def test_every_command_has_code_help_and_examples_that_parse(seen: Seen, command: Command) -> None:
    module, _, function = command.run.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert command.help.endswith(".")
    texts = (command.help, *(param.help for param in command.params))
    assert not [text for text in texts if re.search(r"\[[a-z]", text)], "the help leaves it out, as markup"
    assert all(param.help.endswith(".") or param.help.endswith(").") for param in command.params)
    assert command.examples
    for example in command.examples:
        assert " ".join(("novactl", *command.path)) in example
