"""Sends, kills, wipes, stops and lost panes in any order: the panes get what the model says, and no more."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from noval_d.failpoints import STEPS
from tests.support.fault_stage import LINE, SCREEN, fault_stage
from tests.support.random_walk import World

MINUTES = float(os.environ.get("NOVA_FAULTS_MINUTES", "0"))
STEP_NAMES = [step for step in STEPS if not step.startswith(("schedule", "spawn", "scale"))]
KINDS = st.sampled_from((LINE, LINE, SCREEN))
NODES = st.sampled_from(("owner", "sender"))
TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=20)
POINTS = st.one_of(
    st.just(""),
    st.builds(
        "{}={}@{}".format,
        st.sampled_from(STEP_NAMES),
        st.sampled_from(("kill", "kill", "error")),
        st.integers(1, 3),
    ),
)
COUNTS = {"messages": 0, "unconfirmed": 0, "walks": 0}


class Walk(RuleBasedStateMachine):
    """One walk through one world."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self._world: World | None = None

    @property
    def world(self) -> World:
        """It is made with the first step: hypothesis begins with a walk of none."""
        if self._world is None:
            folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
            self._world = World(self.stack.enter_context(fault_stage(folder)), folder)
        return self._world

    @rule(sender=NODES, kind=KINDS, text=TEXTS)
    def send(self, sender: str, kind: str, text: str) -> None:
        self.world.send(sender, kind, text)

    @rule(sender=NODES, kind=KINDS, count=st.integers(2, 6))
    def send_some(self, sender: str, kind: str, count: int) -> None:
        for number in range(count):
            self.world.send(sender, kind, f"of {count}, {number}")

    @initialize(sender=NODES)
    def begin(self, sender: str) -> None:
        for kind in (LINE, SCREEN, LINE):
            self.world.send(sender, kind, "at the beginning")

    @rule(which=NODES, points=POINTS, sender=NODES, kind=KINDS)
    def kill(self, which: str, points: str, sender: str, kind: str) -> None:
        self.world.kill(which, points)
        self.world.send(sender, kind, f"after {which} was armed with {points}")

    @rule(which=NODES, seconds=st.sampled_from((0.2, 1.0)))
    def stop_for(self, which: str, seconds: float) -> None:
        self.world.stop(which)
        time.sleep(seconds)
        self.world.resume(which)

    @rule()
    def wipe(self) -> None:
        self.world.wipe()

    @rule()
    def kill_broker(self) -> None:
        self.world.kill_broker()

    @rule(seconds=st.sampled_from((0.2, 1.5)))
    def stall_tmux(self, seconds: float) -> None:
        self.world.stall_tmux(seconds)

    @rule(program=st.booleans())
    def kill_pane(self, program: bool) -> None:
        self.world.kill_pane(program=program)
        self.world.register()

    @rule()
    def register(self) -> None:
        self.world.register()

    @rule(seconds=st.sampled_from((0.05, 0.3, 1.0)))
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    @rule()
    def settle(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        if self._world is None:
            return
        try:
            self.world.settle()
            COUNTS["walks"] += 1
            COUNTS["messages"] += len(self.world.sent)
            COUNTS["unconfirmed"] += self.world.unconfirmed
        finally:
            self.stack.close()


def walk(seed: int, *, examples: int, steps: int) -> None:
    """Walk; nothing is made smaller, since a walk takes its time. What was done stands in the failure."""
    run_state_machine_as_test(
        hypothesis.seed(seed)(Walk),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_a_short_random_walk_ends_as_the_model_says() -> None:
    walk(5, examples=2, steps=9)


@pytest.mark.endless
@pytest.mark.skipif(not MINUTES, reason="NOVA_FAULTS_MINUTES says for how long: make faults")
@pytest.mark.timeout(0)
def test_a_long_random_walk_ends_as_the_model_says() -> None:
    ends = time.monotonic() + MINUTES * 60
    while time.monotonic() < ends:
        seed = int(os.environ.get("NOVA_SEED", "0")) or secrets.randbits(32)
        print(f"\nNOVA_SEED={seed}, {ends - time.monotonic():.0f} s left, so far {COUNTS}", flush=True)
        walk(seed, examples=2, steps=40)
