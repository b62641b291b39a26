"""kill -9 at every step of a message's road: it arrives exactly once, and its sender is told the truth."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from noval_d.failpoints import STEPS
from tests.support.fault_stage import LINE, SCREEN, FaultStage, fault_stage
from tests.support.node import node
from tests.support.spawned import Spawned, command

MINUTES = float(os.environ.get("NOVA_FAULTS_MINUTES", "0"))
DELIVERED = {"submitted", "acknowledged"}

ELSEWHERE = {
    "back.before",
    "back.after",
    "back.written",
    "lost.before",
    "lost.after",
    "schedule.before",
    "schedule.after",
    "schedule.told",
    "spawn.before",
    "spawn.after",
    "scale.decided",
    "task.before",
    "task.after",
}
"""Steps that no message passes; they have tests of their own."""
ROAD = [step for step in STEPS if step not in ELSEWHERE]
OF_THE_SENDER = {
    *("accept.before", "accept.after", "enqueue.before", "enqueue.after", "queued.after"),
    *("outbox.before", "outbox.after", "mail.after"),
}
OF_SCREENS = {"enter.before", "enter.after", "entered.before", "entered.after", "hop.before", "hop.after"}
"""Steps that only a message for an agent with an input box passes."""
OF_BOTH = {"paste.after", "proof.after"}
"""Steps at which the two kinds of agents differ most."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStage]:
    """Return one stage for all steps: the daemons are started anew for each anyway."""
    with fault_stage(tmp_path_factory.mktemp("stage")) as made:
        yield made
        print(f"{made.sent} messages, unconfirmed: {dict(made.unconfirmed)}")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        *((step, LINE) for step in ROAD if step not in OF_SCREENS),
        *((step, SCREEN) for step in ROAD if step in OF_SCREENS | OF_BOTH),
    ],
)
def test_a_daemon_killed_at_any_step_delivers_once_and_says_so(
    stage: FaultStage, step: str, kind: str
) -> None:
    which = stage.sender if step in OF_THE_SENDER else stage.owner
    receipt = stage.strike(which, kind, f"{step}=kill")
    assert receipt["state"] in DELIVERED, receipt
    assert stage.got(kind) == stage.log[kind]


@pytest.mark.endless
@pytest.mark.skipif(not MINUTES, reason="NOVA_FAULTS_MINUTES says for how long: make faults")
@pytest.mark.timeout(0)
def test_a_daemon_killed_again_as_it_recovers_delivers_once(stage: FaultStage) -> None:
    seed = int(os.environ.get("NOVA_SEED", "0")) or secrets.randbits(32)
    print(f"\nNOVA_SEED={seed}")
    rng = random.Random(seed)
    ends, told = time.monotonic() + MINUTES * 60, time.monotonic()
    while time.monotonic() < ends:
        for step in rng.sample(ROAD, len(ROAD)):
            kind = SCREEN if step in OF_SCREENS else rng.choice((LINE, SCREEN))
            sends = step in OF_THE_SENDER
            again = rng.choice([other for other in ROAD if (other in OF_THE_SENDER) == sends])
            which = stage.sender if sends else stage.owner
            receipt = stage.strike(which, kind, f"{step}=kill", f"{again}=kill")
            assert receipt["state"] in DELIVERED, receipt
            assert stage.got(kind) == stage.log[kind]
            if time.monotonic() > ends:
                break
            if time.monotonic() - told > 15:
                told = time.monotonic()
                print(
                    f"{stage.sent} messages, {ends - told:.0f} s left, {dict(stage.unconfirmed)}", flush=True
                )


@pytest.mark.parametrize("step", ["spawn.before", "spawn.after"])
def test_a_daemon_killed_at_a_go_ahead_starts_one_program(tmp_path: Path, step: str) -> None:
    with node() as made:
        made.stop()
        made.capture = None
        made.env["NOVA_FAILPOINTS"] = f"{step}=kill"
        made.start()
        log = tmp_path / "worker-1.jsonl"
        args = {
            "role": "worker",
            "agent_id": "worker-1",
            "command": command(made, log),
            "here": str(tmp_path),
        }
        with Client.connect(made.socket, 10.0) as client:
            thread = threading.Thread(target=_drain, args=(client, {**args, "restart": "never"}))
            thread.start()
            assert made.process is not None
            assert made.process.wait(20) == -signal.SIGKILL
            thread.join()
        del made.env["NOVA_FAILPOINTS"]
        made.start()
        agent = Spawned(made, "worker-1", log)
        agent.wait_state("idle", timeout_s=45)
        assert agent.starts() == 1


def _drain(client: Client, args: dict[str, object]) -> None:
    try:
        for _ in client.stream("spawn", args, 30.0):
            pass
    except NovaError:
        return


def test_an_armed_daemon_says_so_in_its_log_and_in_status() -> None:
    with node(env={"NOVA_FAILPOINTS": "spawn.after=error@9"}) as made:
        (found,) = [check for check in made.call("status")["health"] if check["code"] == "failpoints"]
        assert found["severity"] == "error"
        assert "spawn.after=error@9" in found["message"]
        assert "warning failpoints.armed points=spawn.after=error@9" in made.log()
