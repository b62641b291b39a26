"""A real opencode gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import os
import random
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from nova_torch.protocol.client import Client
from noval_d.canary.model.stub_model import StubModel
from tests.lab.opencode import OpencodeApiLab, OpencodeLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.live.mixed import COUNTS, run_mixed
from tests.support.node import TestNode, node, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600), needs(OpencodeLab)]


@COUNTS
def test_mixed_messages_end_submitted_and_reach_the_model_once(count: int) -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        run_mixed(opencode, "submitted", count=count)


@pytest.mark.long
def test_messages_sent_just_after_the_start_are_held_until_the_agent_is_ready_and_arrive_once() -> None:
    with agent_node(OpencodeLab, hooked=False, wait_ready=False) as opencode:
        sent = [opencode.send(f"[[early-{number}]] are you there?") for number in range(2)]
        for message in sent:  # the first takes the start screen away, and what is in its box
            opencode.node.wait_state(message, "submitted", timeout_s=60)
        for number in range(2):
            opencode.wait_received(f"[[early-{number}]]")


@pytest.mark.long
def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        assert isinstance(opencode.lab, OpencodeLab)
        opencode.lab.submit("[[first]] a prompt that opens the session")
        opencode.wait_received("[[first]]")
        opencode.wait_idle()
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "-l", "half a thought")
        opencode.lab.wait_for("half a thought")
        message = opencode.send("[[late]] go on")
        until(lambda: opencode.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        assert opencode.lab.composer(opencode.lab.capture()) == "half a thought"
        assert opencode.received("[[late]]") == 0
        opencode.lab.server.press(opencode.lab.pane, "Enter")
        opencode.node.wait_state(message, "submitted")
        opencode.wait_received("[[late]]")
        opencode.wait_received("half a thought")


@pytest.mark.long
def test_a_message_to_a_shell_prompt_is_held_and_nothing_is_run() -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "!")
        opencode.lab.wait_for("exit shell mode")
        message = opencode.send("[[shell]] touch toolran")
        until(lambda: opencode.node.receipt(message)["reason"] == "draft", 20, "the hold for the mode")
        opencode.lab.server.press(opencode.lab.pane, "Escape")
        opencode.node.wait_state(message, "submitted")
        opencode.wait_received("[[shell]]")
        assert not (opencode.directory / "toolran").exists()


@pytest.mark.long
def test_an_agent_that_exits_to_its_shell_holds_messages() -> None:
    with agent_node(OpencodeLab, hooked=False, in_shell=True) as opencode:
        opencode.lab.server.press(opencode.lab.pane, "C-c")
        until(lambda: opencode.lab.server.value(opencode.lab.pane, "pane_current_command") == "bash", 20)
        message = opencode.send("[[away]] $(touch ran) `touch ran`")
        assert opencode.node.wait_state(message, "held")["reason"] == "no_agent"
        assert "[[away]]" not in opencode.lab.capture()


@pytest.mark.long
def test_a_permission_asked_for_around_a_message_is_never_granted() -> None:
    rng = random.Random(11)
    with agent_node(OpencodeLab, hooked=False) as opencode:
        for number in range(40):
            try_permission(opencode, number, rng.uniform(-0.2, 2.0))


@COUNTS
def test_mixed_messages_to_one_with_a_port_end_acknowledged_and_reach_the_model_once(count: int) -> None:
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        run_mixed(opencode, "acknowledged", count=count)
        literal = opencode.send("/help @AGENTS.md !ls $HOME #[[literal]]")
        opencode.node.wait_state(literal, "acknowledged")
        assert over_the_api(opencode, literal)
        opencode.wait_received("[[literal]]")
        assert any(prompt == "/help @AGENTS.md !ls $HOME #[[literal]]" for prompt in opencode.stub.prompts())


def test_a_message_reaches_a_working_one_past_a_draft_and_is_seen_in_the_pane() -> None:
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        begin(opencode)
        opencode.stub.delay_s = 3.0
        works = opencode.send("[[works]] think")
        opencode.node.wait_state(works, "acknowledged")
        until(lambda: standing(opencode) == ("busy", "api"), 10, "work, as the API tells it")
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "-l", "half a thought")
        opencode.lab.wait_for("half a thought")
        message = opencode.send("[[past]] meanwhile")
        opencode.node.wait_state(message, "acknowledged", timeout_s=2)
        opencode.lab.wait_for("[[past]] meanwhile", 5)
        assert isinstance(opencode.lab, OpencodeLab)
        assert opencode.lab.composer(opencode.lab.capture()) == "half a thought"
        opencode.wait_received("[[past]]")
        assert opencode.received("half a thought") == 0


def test_a_permission_asked_for_around_a_message_to_one_with_a_port_is_never_granted() -> None:
    rng = random.Random(11)
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        begin(opencode)
        for number in range(4):
            try_permission(opencode, number, rng.uniform(-0.2, 1.0), "acknowledged")


@pytest.mark.long
def test_forty_permissions_around_messages_over_the_api_are_never_granted() -> None:
    rng = random.Random(12)
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        begin(opencode)
        for number in range(40):
            try_permission(opencode, number, rng.uniform(-0.2, 2.0), "acknowledged")


@pytest.mark.parametrize("seed", [5, pytest.param(6, marks=pytest.mark.long)])
def test_a_daemon_that_is_killed_around_the_request_delivers_once(seed: int) -> None:
    """Five times an opencode: it writes a warning over its screen when ten have followed its events at once."""
    rng = random.Random(seed)
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        begin(opencode)
        for number in range(5):
            message = opencode.send(f"[[killed-{number}]] once")
            pause(rng.uniform(0.0, 0.08))
            opencode.node.kill()
            opencode.node.start()
            opencode.node.wait_state(message, "acknowledged")
            opencode.wait_received(f"[[killed-{number}]]")


@pytest.mark.long
def test_what_waits_behind_a_turn_that_is_broken_off_while_no_daemon_runs_reaches_the_model() -> None:
    with agent_node(OpencodeApiLab, hooked=False) as opencode:
        begin(opencode)
        opencode.stub.delay_s = 60.0
        works = opencode.send("[[works]] think")
        opencode.node.wait_state(works, "acknowledged")
        opencode.wait_received("[[works]]")
        message = opencode.send("[[behind]] and then this")
        opencode.node.wait_state(message, "acknowledged")
        opencode.node.kill()
        for _ in range(2):  # the first asks whether that is meant
            opencode.lab.server.press(opencode.lab.pane, "Escape")
            pause(0.3)
        opencode.lab.wait_for("interrupted")
        pause(1.0)  # what it began by itself would be begun by then
        opencode.stub.delay_s = 0.0
        assert opencode.received("[[behind]]") == 0
        opencode.node.start()
        opencode.wait_received("[[behind]]", 40.0)


@pytest.mark.long
def test_one_that_is_killed_and_goes_on_with_its_conversation_on_another_port_gets_what_waited() -> None:
    with agent_node(OpencodeApiLab, hooked=False, in_shell=True) as opencode:
        begin(opencode)
        pid = int(opencode.lab.tmux("display-message", "-p", "-t", opencode.lab.pane, "#{pane_pid}"))
        (child,) = psutil.Process(pid).children()
        argv = child.cmdline()
        last = opencode.send("[[last]] before the end")
        child.kill()
        until(lambda: opencode.lab.server.value(opencode.lab.pane, "pane_current_command") == "bash", 20)
        message = opencode.send("[[waits]] go on")
        assert not opencode.node.receipt(message)["final"]
        line = f"reset; {shlex.join(argv)} --continue"
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "-l", line)
        opencode.lab.server.press(opencode.lab.pane, "Enter")
        for one, marker in ((last, "[[last]]"), (message, "[[waits]]")):
            opencode.node.wait_state(one, "acknowledged", timeout_s=150)
            assert opencode.received(marker) <= 1
        opencode.wait_received("[[waits]]")


@pytest.mark.long
def test_spawned_ones_have_a_port_and_a_password_and_go_on_with_their_conversation() -> None:
    with (
        StubModel() as stub,
        node() as made,
        tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        binary = OpencodeLab.installed().find()
        assert binary is not None
        names = ("one", "two")
        for name in names:
            home = Path(folder) / name
            (home / "work").mkdir(parents=True)
            OpencodeLab.furnish(home, home / "work", stub, None)
            path = f"{binary.parent}:{os.environ['PATH']}"
            env = {**OpencodeLab.environment(stub), "HOME": str(home), "PATH": path}
            wish = {"role": "opencode", "agent_id": name, "driver": "opencode", "cwd": str(home / "work")}
            follow(made, "spawn", **wish, env=env)
        for name in names:
            ends(made, name, f"[[a-{name}]] by keys")
            until(lambda name=name: record(made, name)["state"] == "idle", 90, "its turn")  # type: ignore[misc]
        for name in names:
            assert over(made, ends(made, name, f"[[b-{name}]] over the API"))
        ports = [follower.laddr.port for follower in listeners(made)]
        assert len(set(ports)) == 2
        for port in ports:
            with pytest.raises(HTTPError, match="401"):
                urlopen(f"http://127.0.0.1:{port}/session", timeout=10)
        follow(made, "restart", agent_id="one")
        assert over(made, ends(made, "one", "[[c-one]] after the restart"))
        until(lambda: stub.received("[[c-one]]"), 90, "the message")
        assert any("[[b-one]]" in prompt for prompt in stub.prompts())


def listeners(made: TestNode) -> list[Any]:
    """Return the listening sockets of the programs in the node's panes."""
    pids = made.tmux.tmux("list-panes", "-a", "-F", "#{pane_pid}").split()
    found = [c for pid in pids for c in psutil.Process(int(pid)).net_connections("tcp")]
    return [connection for connection in found if connection.status == "LISTEN"]


def follow(made: TestNode, call: str, **args: Any) -> None:
    with Client.connect(made.socket, 10.0) as client:
        for _ in client.stream(call, args, 150.0):
            pass


def ends(made: TestNode, name: str, body: str) -> str:
    message = str(made.send(name, body)["id"])
    made.wait_state(message, "acknowledged", timeout_s=150)
    return message


def record(made: TestNode, name: str) -> dict[str, Any]:
    return next(dict(row) for row in made.call("agents") if row["agent_id"] == name)


def begin(opencode: AgentNode) -> None:
    """Open the conversation: its first message is typed, and acknowledged by the API."""
    message = opencode.send("[[begin]] hello")
    opencode.node.wait_state(message, "acknowledged", timeout_s=150)
    opencode.wait_received("[[begin]]")
    opencode.wait_idle()
    until(lambda: "OC | " in str(opencode.lab.server.value(opencode.lab.pane, "pane_title")), 90, "the title")


def over_the_api(opencode: AgentNode, message: str) -> bool:
    return over(opencode.node, message)


def over(made: TestNode, message: str) -> bool:
    return str(made.call("trace", {"id": message})["typed"]["pane"]).startswith("api:")


def standing(opencode: AgentNode) -> tuple[str, str]:
    (record,) = (row for row in opencode.node.call("agents") if row["agent_id"] == opencode.name)
    return record["state"], record["state_source"]


def try_permission(opencode: AgentNode, number: int, offset_s: float, verdict: str = "submitted") -> None:
    """Have a permission asked for about `offset_s` before or after a message is sent, and reject it."""
    marker = f"[[d-{number}]]"
    opencode.stub.mode, opencode.stub.delay_s = "tool", 0.6
    opencode.wait_idle()
    assert isinstance(opencode.lab, OpencodeLab)
    opencode.lab.submit(f"[[t-{number}]] USETOOL")
    opencode.stub.wait_received(f"[[t-{number}]]")
    pause(max(0.0, 0.6 + offset_s))
    message = opencode.send(f"{marker} a message near a dialog")
    opencode.lab.wait_for("Permission required", 90)
    opencode.stub.mode, opencode.stub.delay_s = "text", 0.0
    pause(0.5)
    assert "Permission required" in opencode.lab.capture()
    opencode.lab.server.press(opencode.lab.pane, "Escape")
    opencode.node.wait_state(message, verdict, timeout_s=90)
    opencode.wait_received(marker)
    assert not (opencode.directory / "toolran").exists()


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)
