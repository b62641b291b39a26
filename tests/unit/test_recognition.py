"""Which agent a pane runs is decided by who leads its foreground, never by an interpreter's name alone."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import DriverInvalid
from nova_torch.values import AgentId, AgentSpec
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers, parse_driver
from noval_d.agents.recognition import (
    claimants,
    claims,
    described,
    is_interpreter,
    is_present,
    may_be_a_shell,
    script_of,
)
from noval_d.agents.spec import read_spec, write_spec
from noval_d.tmux.front import Front, read_front

PATTERN = re.compile(r"(?:^|/)codex(?:\.js)?(?: |$)")
CODEX = Driver(name="codex", commands=("codex", "node"), processes=(PATTERN,))
LINE = Driver(name="line", kind="line")
WORDS = st.lists(st.text(max_size=30), max_size=6)


@pytest.mark.parametrize(
    ("command", "argv", "known"),
    [
        ("node", ["node", "/opt/bin/codex"], True),
        ("node", ["node", "--max-old-space-size=1", "/opt/lib/codex.js", "resume"], True),
        ("node", ["node", "server.js"], False),
        ("node", ["node", "server.js", "--about", "codexes"], False),
        ("node", [], False),
        ("codex", ["codex"], True),
        ("codex", [], True),
        ("bash", ["-bash"], False),
        ("bash", ["bash", "/opt/bin/codex"], False),
        ("", [], False),
    ],
)
def test_a_driver_claims_by_command_and_an_interpreter_by_its_command_line(
    command: str, argv: list[str], known: bool
) -> None:
    assert claims(CODEX, command, argv) is known


def test_two_drivers_may_claim_one_program() -> None:
    other = Driver(name="another", commands=("node",), processes=(re.compile("codex"),))
    assert claimants([CODEX, other, LINE], "node", ["node", "/bin/codex"]) == ["another", "codex"]


@pytest.mark.parametrize(
    ("command", "argv", "script"),
    [
        ("node", ["node"], ""),
        ("node", ["node", "/srv/app/server.js", "--port", "1"], "server.js"),
        ("node", ["/usr/bin/node", "--inspect", "/x/gemini"], "gemini"),
        ("python3", ["python3", "-m", "aider", "--model", "x"], "-m aider"),
        ("python3.11", ["/venv/bin/python3.11", "/venv/bin/aider"], "aider"),
        ("python3", ["python3", "-c", "print(1)"], "-c print(1)"),
        ("bash", ["-bash"], ""),
        ("bash", ["/bin/bash", "./deploy.sh"], "deploy.sh"),
        ("npm", ["npm exec codex"], "codex"),
        ("bun", ["bun", "run", "agent.ts"], "agent.ts"),
        ("claude", ["claude", "--resume"], ""),
        ("node", [], None),
    ],
)
def test_an_interpreter_is_known_by_what_it_runs(command: str, argv: list[str], script: str | None) -> None:
    assert script_of(command, argv) == script


@pytest.mark.parametrize(
    "name", ["node", "python3", "python3.11", "python", "bun", "deno", "bash", "zsh", "npx"]
)
def test_an_interpreters_name_is_the_name_of_no_agent(name: str) -> None:
    assert is_interpreter(name)
    text = f'[driver]\nname = "x"\ncommands = ["{name}"]\n[composer]\nfind = "between_rules"\n'
    with pytest.raises(DriverInvalid, match=r"driver\.processes is missing") as caught:
        parse_driver(text + "rule = '-'\nprompts = ['>']", "x.toml")
    assert name in caught.value.hint


@pytest.mark.parametrize("name", ["claude", "codex", "opencode", "nodemon", "pythonic", "vim", ""])
def test_another_name_may_be_one(name: str) -> None:
    assert not is_interpreter(name)


@pytest.mark.parametrize("name", ["bash", "-zsh", "fish", "ssh", "sudo", "docker", "tmux"])
def test_shells_and_what_leads_to_them_are_known(name: str) -> None:
    assert may_be_a_shell(name)


def spec(program: str, script: str | None) -> AgentSpec:
    return AgentSpec(agent_id=AgentId("a"), driver="line", program=program, script=script)


@pytest.mark.parametrize(
    ("program", "script", "command", "argv", "present"),
    [
        ("node", "agent.js", "node", ["node", "agent.js", "--resume"], True),
        ("node", "agent.js", "node", ["node", "server.js"], False),
        ("node", "agent.js", "node", [], False),
        ("node", "agent.js", "bash", ["-bash"], False),
        ("bash", "", "bash", ["-bash"], True),
        ("bash", "", "bash", ["/bin/bash", "./deploy.sh"], False),
        ("cat", "", "cat", ["cat"], True),
        ("node", None, "node", ["node", "server.js"], True),  # registered before scripts were noted
    ],
)
def test_a_registered_program_is_present_only_while_it_runs_the_same(
    program: str, script: str | None, command: str, argv: list[str], present: bool
) -> None:
    assert is_present(LINE, spec(program, script), command, argv) is present


@given(command=st.text(max_size=12), argv=WORDS)
def test_no_program_is_claimed_by_another_command_than_the_drivers(command: str, argv: list[str]) -> None:
    if command not in CODEX.commands:
        assert not claims(CODEX, command, argv)


@given(program=st.sampled_from(["node", "bash", "cat"]), argv=WORDS)
def test_what_was_in_front_at_the_registration_is_present(program: str, argv: list[str]) -> None:
    noted = spec(program, script_of(program, argv))
    assert is_present(LINE, noted, program, argv)
    assert read_spec("a", write_spec(noted)) == noted


@given(command=st.sampled_from(["node", "python3", "sh"]), argv=WORDS)
def test_what_a_person_is_told_has_no_arguments(command: str, argv: list[str]) -> None:
    assert described(command, ["x", "-c", "secret"]) == command
    assert described(command, argv).startswith(command)


def test_a_spec_of_an_older_daemon_has_no_script() -> None:
    old = read_spec("a", '{"role": "", "skills": [], "driver": "line", "program": "cat"}')
    assert old is not None
    assert old.script is None


def test_the_front_of_a_process_that_is_gone_cannot_be_read() -> None:
    assert read_front(0) is None
    assert read_front(2**30) is None


def test_the_same_process_is_told_from_another() -> None:
    front = Front(pid=1, started=5, argv=("node",))
    assert front.is_same(Front(pid=1, started=5, argv=("gemini",)))
    assert not front.is_same(Front(pid=1, started=6, argv=("node",)))
    assert front.is_same(None)


def test_the_drivers_that_come_along_claim_no_shell() -> None:
    for driver in load_drivers(None).values():
        assert not any(may_be_a_shell(command) for command in driver.commands)


def test_a_pid_without_a_terminal_has_no_front() -> None:
    front = read_front(os.getpid())
    assert front is None or front.argv
