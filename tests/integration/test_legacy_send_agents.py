"""`send-claude-message.sh` without a daemon, into shells and into agents that nobody has registered."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_torch.values import PaneId, State
from noval_d.agents.driver import Driver
from noval_d.agents.driver_file import load_drivers
from noval_d.delivery.steps import MIXED_GONE, MIXED_LOOK_S
from noval_d.legacy import typist as typist_module
from noval_d.legacy.asking import server_of
from noval_d.legacy.plain import _message
from noval_d.legacy.tmux import PlainTmux
from noval_d.legacy.typist import BESIDE, PlainTypist, Verdict
from noval_d.tmux.panes import PaneFacts
from tests.lab.tmux import PROGRAMS, PrivateTmux
from tests.support.legacy import (
    SEND,
    environment,
    original,
    own_claude,
    refused,
    run,
    sent,
)
from tests.support.node import until

# -- shells --


def shell(tmux: PrivateTmux) -> str:
    pane = tmux.open("bash --norc --noprofile -i")
    tmux.wait_for(pane, "$")
    return pane


def test_a_shell_that_its_user_named_runs_what_is_sent(tmux: PrivateTmux) -> None:
    pane = shell(tmux)
    env = environment(tmux)
    assert run(SEND, pane, "echo one; echo t'w'o;", env=env) == sent(pane, "echo one; echo t'w'o;")
    tmux.wait_for(pane, "\none\ntwo\n")
    assert run(SEND, pane, "/bin/echo a path", env=env).code == 0
    tmux.wait_for(pane, "\na path\n")


def test_what_somebody_types_at_a_prompt_is_not_fused_with_the_message(tmux: PrivateTmux) -> None:
    pane = shell(tmux)
    tmux.press(pane, "-l", "echo theirs")
    tmux.wait_for(pane, "$ echo theirs")
    refused(run(SEND, pane, "echo ours", env=environment(tmux, NOVA_LEGACY_HOLD="200ms")), 7, "'echo theirs'")
    finish = threading.Timer(0.5, tmux.press, (pane, "Enter"))
    finish.start()
    assert run(SEND, pane, "echo ours", env=environment(tmux)).code == 0
    finish.join()
    tmux.wait_for(pane, lambda screen: "\ntheirs\n" in screen and "\nours\n" in screen)


PROGRAMS_WITH_PROMPTS = {
    "readline": (f"{sys.executable} -i -q", ">>> ", "1 + 1", "2 + 2"),
    "cooked": (
        'sh -c \'while printf "you> "; read -r line; do echo "got [$line]"; done\'',
        "you> ", "theirs", "ours",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS_WITH_PROMPTS)
def test_what_somebody_types_into_a_program_that_nobody_registered_is_not_fused(
    name: str, tmux: PrivateTmux
) -> None:
    command, prompt, theirs, ours = PROGRAMS_WITH_PROMPTS[name]
    pane = tmux.open(command)
    env = environment(tmux, NOVA_LEGACY_HOLD="200ms")
    tmux.wait_for(pane, prompt.rstrip())
    assert run(SEND, pane, ours, env=env) == sent(pane, ours)
    until(lambda: tmux.capture(pane).count(prompt.rstrip()) == 2, what="the next prompt")
    tmux.press(pane, "-l", theirs)
    tmux.wait_for(pane, prompt + theirs)
    refused(run(SEND, pane, ours, env=env), 7, f"a half-typed line is behind its prompt: '{theirs}'")
    tmux.press(pane, "Enter")
    until(lambda: tmux.capture(pane).count(prompt.rstrip()) == 3, what="the next prompt")
    assert run(SEND, pane, ours, env=env) == sent(pane, ours)
    tmux.wait_for(pane, lambda screen: screen.count(prompt + ours) == 2)
    assert prompt + theirs + ours not in tmux.capture(pane)


def test_a_shell_that_an_agent_has_left_gets_nothing(tmux: PrivateTmux) -> None:
    pane = shell(tmux)
    spec = json.dumps({"role": "", "skills": [], "driver": "claude", "program": "claude"})
    tmux.tmux("set-option", "-p", "-t", pane, "@nova_agent", "claude-1")
    tmux.tmux("set-option", "-p", "-t", pane, "@nova_spec", spec)
    before = tmux.capture(pane)
    refused(
        run(SEND, pane, "rm important", env=environment(tmux)),
        7,
        "the pane belongs to agent claude-1, which is not in front: bash is",
    )
    assert tmux.capture(pane) == before


# -- agents that nobody has registered --


@dataclass(frozen=True, slots=True)
class Tui:
    tmux: PrivateTmux
    pane: str
    log: Path

    def events(self, what: str) -> list[str]:
        rows = map(json.loads, self.log.read_text().splitlines()) if self.log.exists() else ()
        return [row["text"].rstrip() for row in rows if row["event"] == what]

    def prompts(self, count: int) -> list[str]:
        """Return the last `count` prompts, once there are so many."""
        until(lambda: len(self.events("prompt")) >= count, what=f"{count} prompts")
        return self.events("prompt")[-count:]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tui]:
    """A program that looks like Claude Code and is called so."""
    folder = tmp_path_factory.mktemp("agent")
    with PrivateTmux.create() as tmux:
        log = folder / "tui.jsonl"
        words = [own_claude(folder), str(PROGRAMS / "agent_tui.py"), "--log", str(log)]
        pane = tmux.open(shlex.join(words))
        tmux.wait_for(pane, "? for shortcuts")
        yield Tui(tmux, pane, log)


def test_an_agent_that_nobody_has_registered_gets_it_once_and_a_command_as_it_is(agent: Tui) -> None:
    before = len(agent.events("prompt"))
    env = environment(agent.tmux)
    texts = ["Please run the tests", "/compact", "two\nlines; Enter"]
    assert [run(SEND, agent.pane, text, env=env) for text in texts] == [sent(agent.pane, t) for t in texts]
    assert agent.prompts(before + 3)[-3:] == texts


def test_a_dialog_is_not_approved_by_a_message(agent: Tui) -> None:
    agent.tmux.press(agent.pane, "-l", "USETOOL please")
    agent.tmux.wait_for(agent.pane, "USETOOL please")
    time.sleep(0.2)  # the program joins an Enter to a paste, as Claude does
    agent.tmux.press(agent.pane, "Enter")
    agent.tmux.wait_for(agent.pane, "Esc to cancel")
    before = len(agent.events("prompt"))
    env = environment(agent.tmux, NOVA_LEGACY_HOLD="300ms")
    refused(run(SEND, agent.pane, "go on", env=env), 7, "a dialog is open")
    assert (agent.events("approved"), agent.events("rejected")) == ([], [])
    agent.tmux.press(agent.pane, "Escape")
    until(lambda: agent.events("rejected"), what="the answer of a person")
    assert len(agent.events("prompt")) == before


def test_the_original_and_ours_at_the_same_time_lose_and_fuse_nothing(agent: Tui) -> None:
    env = environment(agent.tmux)
    run(SEND, agent.pane, "first", env=env)  # it is past its start
    before = len(agent.events("prompt"))
    expected: list[str] = []
    for number in range(3):
        theirs = threading.Thread(target=original, args=(env, agent.pane, f"theirs {number}"))
        theirs.start()
        agent.tmux.wait_for(agent.pane, f"❯\u00a0theirs {number}")
        assert run(SEND, agent.pane, f"ours {number}", env=env) == sent(agent.pane, f"ours {number}")
        theirs.join()
        expected += [f"theirs {number}", f"ours {number}"]
    assert agent.prompts(before + len(expected))[-len(expected) :] == expected
    assert len(agent.events("prompt")) == before + len(expected)


class Interfered(PlainTmux):
    """Somebody else types right behind our paste: what a `send-keys` in that moment does."""

    def __init__(self, env: dict[str, str], then: tuple[tuple[str, ...], ...]) -> None:
        super().__init__(server_of(env), env)
        self._then = then
        self.pasted = False

    def paste(
        self, pane: PaneFacts, text: str, *, now: float, enter: Driver | None = None, at_cursor: bool = False
    ) -> bool:
        ran = self.pasted = super().paste(pane, text, now=now, enter=enter, at_cursor=at_cursor)
        for keys in self._then if ran else ():
            self.run("send-keys", "-t", pane.pane_id, *keys)
        return ran


def typed_beside(
    env: dict[str, str], pane: str, text: str, *then: tuple[str, ...], seen: tuple[str, ...] = ()
) -> Verdict:
    """Type `text` while somebody types `then` behind it, and `seen` once it was noticed."""
    tmux = Interfered(env, then)

    def sleep(seconds: float) -> None:
        nonlocal seen
        if seconds == MIXED_LOOK_S and tmux.pasted and seen:  # a young agent is waited for in the same steps
            time.sleep(0.2)  # the program joins an Enter to a paste, as Claude does
            tmux.run("send-keys", "-t", pane, *seen)
            seen = ()
        time.sleep(seconds)

    return PlainTypist(tmux, load_drivers(), hold_s=5.0, sleep=sleep).type(PaneId(pane), _message(pane, text))


@pytest.mark.parametrize(
    ("theirs", "then", "state", "prompt"),
    [
        (", and theirs", "Enter", State.UNCONFIRMED, "ours, all of it , and theirs"),
        ("x", "BSpace", State.SUBMITTED, "ours, all of it"),
    ],
)
def test_keys_of_another_between_our_paste_and_our_enter_are_not_sent_by_us(
    agent: Tui, theirs: str, then: str, state: State, prompt: str
) -> None:
    env = environment(agent.tmux)
    assert run(SEND, agent.pane, "something first", env=env) == sent(agent.pane, "something first")
    before = len(agent.events("prompt"))
    verdict = typed_beside(env, agent.pane, "ours, all of it", ("-l", theirs), seen=(then,))
    assert (verdict.state, verdict.reason) == (state, MIXED_GONE if state is State.UNCONFIRMED else "")
    assert agent.prompts(before + 1)[before:] == [prompt]


RAW_ECHO = (
    "import os,tty;tty.setraw(0);os.write(1,b'> ');[os.write(1,b) for b in iter(lambda:os.read(0,99),b'')]"
)


def test_keys_behind_our_text_in_an_unknown_program_are_not_sent_by_us(
    tmux: PrivateTmux, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typist_module, "FOLLOW_S", 1.0)
    env = environment(tmux)
    pane = tmux.open(shlex.join([sys.executable, "-c", RAW_ECHO]))
    tmux.wait_for(pane, ">")
    assert typed_beside(env, pane, "quite alone").state is State.SUBMITTED
    verdict = typed_beside(env, pane, "ours, all of it", ("-l", ", and theirs"))
    assert (verdict.state, verdict.reason) == (State.UNCONFIRMED, f"typed without Enter: {BESIDE}")
    tmux.wait_for(pane, "ours, all of it, and theirs")
