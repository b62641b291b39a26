"""Somebody else's keys join our text between paste and Enter: never sent by us, and told as what it is."""

from __future__ import annotations

import os
import random
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from tests.support.agents import Tui, held, tui
from tests.support.node import TestNode, node, until

OURS = "ours, and long enough to be told from any other"
LONG = "\n".join(f"line {n} of ours" for n in range(20))
THEIRS = " and theirs"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """One node for the agents that nothing is taken back from (tests/faults/test_taken_back.py has the others)."""
    folder = tmp_path_factory.mktemp("drivers")
    own = (resources.files("noval_d.agents") / "drivers" / "claude.toml").read_text(encoding="utf-8")
    assert own.count("take_back = true") == 1
    (folder / "claude.toml").write_text(own.replace("take_back = true", "take_back = false"))
    with node(env={"NOVA_DELIVERY_DRIVERS_DIR": str(folder)}) as made:
        yield made


@pytest.fixture(scope="module")
def agents(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> Mapping[bool, Tui]:
    """Return an agent without hooks, and one with them."""
    return both(running, tmp_path_factory.mktemp("agents"))


def both(running: TestNode, folder: Path) -> Mapping[bool, Tui]:
    """Open an agent without hooks, and one with them, side by side."""
    with ThreadPoolExecutor() as pool:
        made = {
            hooks: pool.submit(tui, running, folder, "hooked" if hooks else "mute", hooks=hooks)
            for hooks in (False, True)
        }
        return {hooks: one.result() for hooks, one in made.items()}


@contextmanager
def behind_each_paste(agent: Tui, *keys: str) -> Iterator[None]:
    """Have tmux press `keys` in the agent's pane right behind every paste into it."""
    hook = shlex.join(["send-keys", "-t", agent.pane, *keys])
    agent.node.tmux.tmux("set-hook", "-p", "-t", agent.pane, "after-paste-buffer", hook)
    try:
        yield
    finally:
        agent.node.tmux.tmux("set-hook", "-pu", "-t", agent.pane, "after-paste-buffer")


def waits_beside(agent: Tui, message: str) -> None:
    """Wait until the message is told to wait for whoever typed beside it."""
    running = agent.node
    until(lambda: running.receipt(message)["reason"] == "mixed", 45, "the reason")
    assert running.receipt(message)["state"] == "typed"
    row = until(lambda: held(running, agent.name), 45, "the line in status")
    assert row["reason"] == "mixed"
    assert "your text and a message stand in its input box together" in row["detail"]
    assert agent.state() == "draft"
    (record,) = (a for a in running.call("agents") if a["agent_id"] == agent.name)
    assert record["attention"] == "draft"


@pytest.mark.parametrize("hooks", [False, True], ids=["no hooks", "hooks"])
@pytest.mark.parametrize("body", [OURS, LONG], ids=["a line", "a marker"])
def test_what_somebody_typed_behind_our_text_is_not_sent_by_us(
    running: TestNode, agents: Mapping[bool, Tui], hooks: bool, body: str
) -> None:
    agent = agents[hooks]
    name, before = agent.name, len(agent.prompts())
    with behind_each_paste(agent, "-l", THEIRS):
        message = running.send(name, body)["id"]
        waits_beside(agent, message)
    assert len(agent.prompts()) == before
    agent.press("Enter")
    assert agent.wait_prompts(before + 1)[before:] == [f"{body} {THEIRS}"]
    last = running.wait_state(message, "acknowledged" if hooks else "unconfirmed")
    if hooks:
        assert last["reason"] == "somebody else's text was sent with it, as one prompt"
    else:
        assert "somebody else typed into the same line" in last["reason"]
    after = running.send_wait(name, "and the next one", wait="acknowledged" if hooks else "submitted")
    assert agent.wait_prompts(before + 2)[before + 1 :] == ["and the next one"]
    assert after["reason"] == ""


def test_it_goes_in_alone_when_they_take_theirs_away(running: TestNode, agents: Mapping[bool, Tui]) -> None:
    agent = agents[False]
    before = len(agent.prompts())
    with behind_each_paste(agent, "-l", "x"):
        message = running.send(agent.name, "short")["id"]
        waits_beside(agent, message)
    agent.press("BSpace")
    running.wait_state(message, "submitted")
    assert agent.wait_prompts(before + 1)[before:] == ["short"]


def test_both_are_acknowledged_although_they_are_drawn_for_a_while_after_the_hook_told(
    running: TestNode, tmp_path: Path
) -> None:
    options = {"program": "faulty_tui.py", "arguments": ("--fault", "linger")}
    agent = tui(running, tmp_path, "lingering", hooks=True, **options)  # type: ignore[arg-type]
    with behind_each_paste(agent, "-l", THEIRS):
        message = running.send(agent.name, OURS)["id"]
        waits_beside(agent, message)
    agent.press("Enter")
    last = running.wait_state(message, "acknowledged", "unconfirmed")
    assert last["reason"] == "somebody else's text was sent with it, as one prompt"
    assert last["state"] == "acknowledged"
    assert agent.prompts() == [f"{OURS} {THEIRS}"]


ROUNDS = 20
FINAL = ("acknowledged", "submitted", "unconfirmed")
DRAWN_LATE = 2
"""Of so many keys that were read and not yet drawn at our Enter the screen tells nothing (docs/delivery.md)."""


def original(agent: Tui, rng: random.Random, number: int) -> None:
    """Send as the original does: text, a pause, Enter; neither moment is the same twice."""
    agent.draft(f"<theirs {number:02}>")
    time.sleep(rng.uniform(0.05, 0.35))
    agent.press("Enter")
    time.sleep(rng.uniform(0.0, 0.3))


def shared(agent: Tui, rng: random.Random, *, hooks: bool) -> str:
    """Send as the original does and by the node into one box, `ROUNDS` each; return how it went, for people."""
    running, before = agent.node, len(agent.prompts())
    bodies = [f"<ours {number:02}, whoever else types here>" for number in range(ROUNDS)]
    ids = [running.send(agent.name, body)["id"] for body in bodies]
    for number in range(ROUNDS):
        original(agent, rng, number)
    final = FINAL[::2] if hooks else FINAL[1:]

    def settled() -> bool:
        if agent.state() == "draft":  # an Enter right behind our paste was a line feed: press it again
            agent.press("Enter")
        return all(running.receipt(message)["state"] in final for message in ids)

    until(settled, 90, "their verdicts")
    prompts = agent.prompts()[before:]
    everything = "".join(prompts)
    sent = [*bodies, *(f"<theirs {number:02}>" for number in range(ROUNDS))]
    assert [text for text in sent if everything.count(text) != 1] == []
    claimed = []
    for message, body in zip(ids, bodies, strict=True):
        receipt = running.receipt(message)
        if body in [prompt.strip() for prompt in prompts]:
            assert (receipt["state"], receipt["reason"]) == (final[0], ""), receipt
        elif receipt["state"] != "unconfirmed" and not receipt["reason"]:
            claimed.append((body, receipt))
    assert len(claimed) <= (0 if hooks else DRAWN_LATE), claimed
    fused = sum("ours" in prompt and "theirs" in prompt for prompt in prompts)
    return f"{agent.name}: {len(prompts)} prompts, {fused} fused, {len(claimed)} of them claimed"


@pytest.mark.timeout(180)
def test_the_original_and_ours_at_once_lose_nothing_and_claim_nothing_that_was_fused(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("NOVA_SEED", "0")) or secrets.randbits(32)
    print(f"NOVA_SEED={seed}")
    with node() as made, ThreadPoolExecutor() as pool:
        work = [
            pool.submit(shared, agent, random.Random(f"{seed}{agent.name}"), hooks=hooks)
            for hooks, agent in both(made, tmp_path).items()
        ]
        for one in work:
            print(one.result())
