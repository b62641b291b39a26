"""Messages over an agent's HTTP API: exactly once and proven, whatever becomes of requests and answers."""

from __future__ import annotations

import json
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noval_d.api.opencode import message_id
from tests.lab.tmux import PROGRAMS
from tests.support.node import TestNode, node, until

DRIVER = r"""
[driver]
name = "fakecode"
commands = ["python3", "python"]
processes = ['api_agent\.py']
[composer]
find = "at_prompt"
prompt = '> '
[ready]
after_s = 0.2
[text]
prefix = "[nova] "
[api]
kind = "opencode"
port = "--port"
title = 'OC \| (?P<title>.+)'
agent = '^ *┃  (?P<agent>\S+) · '
limit = '(?i)rate limit'
"""


@dataclass(slots=True)
class Fake:
    """An agent with an API in a pane of its own."""

    node: TestNode
    name: str
    pane: str
    home: Path

    def messages(self) -> list[tuple[str, list[str]]]:
        """Return what it holds: the id and the texts of each message."""
        file = self.home / "messages.json"
        kept: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return [(one["info"]["id"], [part["text"] for part in one["parts"]]) for one in kept]

    def texts(self) -> list[str]:
        return [text for _, texts in self.messages() for text in texts]

    def posts(self) -> list[str]:
        """Return the ids of the prompts that came by the API, each as often as it came."""
        return (self.home / "posts").read_text().split()

    def fault(self, mode: str) -> None:
        (self.home / "fault").write_text(mode)

    def launch(self, port: int) -> None:
        """Start it, in the shell of its pane."""
        line = f"{sys.executable} {PROGRAMS / 'api_agent.py'} {self.home} --port {port}"
        self.node.tmux.press(self.pane, "-l", line)
        self.node.tmux.press(self.pane, "Enter")
        self.node.tmux.wait_for(self.pane, "Build · Fake")

    def tell(self, kind: str, **properties: Any) -> None:
        """Have it tell an event."""
        (self.home / "event.new").write_text(json.dumps({"type": kind, "properties": properties}))
        (self.home / "event.new").rename(self.home / "event")

    def wait_record(self, **wanted: str) -> dict[str, Any]:
        """Wait until `agents` says that of it."""

        def fits() -> dict[str, Any] | None:
            (record,) = (row for row in self.node.call("agents") if row["agent_id"] == self.name)
            return dict(record) if wanted.items() <= dict(record).items() else None

        return dict(until(fits, 45, f"{wanted}"))

    def wait_followed(self) -> None:
        until(lambda: f"api.followed agent={self.name}" in self.node.log(), 45, "its API")

    def send(self, body: str, state: str = "acknowledged", timeout_s: float = 30.0) -> str:
        message = str(self.node.send(self.name, body)["id"])
        self.node.wait_state(message, state, timeout_s=timeout_s)
        return message


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    drivers = tmp_path_factory.mktemp("drivers")
    (drivers / "fakecode.toml").write_text(DRIVER)
    with node(env={"NOVA_DELIVERY_DRIVERS_DIR": str(drivers)}) as made:
        yield made


@pytest.fixture
def fake(running: TestNode, tmp_path: Path) -> Iterator[Fake]:
    pane = running.tmux.open("bash --noprofile --norc", directory=tmp_path, columns=200, lines=20)
    made = Fake(running, f"fake-{secrets.token_hex(4)}", pane, tmp_path)
    made.launch(free_port())
    running.register(made.name, pane, "fakecode")
    made.wait_followed()
    yield made
    running.call("unregister", {"agent_id": made.name})


@pytest.mark.parametrize("fault", ["", "error", "error after", "cut", "garbage", "huge", "lose", "late"])
def test_a_message_is_there_once_and_acknowledged_whatever_is_answered(fake: Fake, fault: str) -> None:
    fake.fault(fault)
    message = fake.send("/help is no command here")
    assert fake.messages() == [(message_id(message), ["/help is no command here"])]


def test_a_request_that_is_taken_after_it_was_given_up_leaves_one_message(fake: Fake) -> None:
    fake.fault("slow")
    fake.send("late, and asked again")
    time.sleep(3.0)  # until the first request is taken, too
    assert fake.texts() == ["late, and asked again"]


def test_an_agent_that_dies_with_the_message_tells_of_it_when_it_is_back(fake: Fake) -> None:
    fake.fault("die")
    message = str(fake.node.send(fake.name, "are you there?")["id"])
    until(lambda: "Killed" in fake.node.tmux.capture(fake.pane), 45, "its death")
    assert not fake.node.receipt(message)["final"]
    fake.launch(free_port())
    fake.node.wait_state(message, "acknowledged")
    assert fake.texts() == ["are you there?"]


def test_a_daemon_that_is_killed_around_the_request_sends_it_once(fake: Fake) -> None:
    fake.fault("hang")
    message = str(fake.node.send(fake.name, "once, please")["id"])
    until(lambda: fake.texts() == ["once, please"], 45, "the message")
    fake.node.kill()
    fake.node.start()
    fake.node.wait_state(message, "acknowledged")
    assert fake.messages() == [(message_id(message), ["once, please"])]


def test_what_waits_when_the_daemon_is_killed_is_asked_for_by_the_next_one(fake: Fake) -> None:
    message = message_id(fake.send("nobody has begun with this"))
    fake.node.kill()
    before = fake.posts().count(message)
    fake.node.start()
    until(lambda: fake.posts().count(message) > before, 45, "the same request once more")
    assert fake.messages() == [(message, ["nobody has begun with this"])]


def test_an_agent_that_is_away_holds_and_gets_it_on_another_port(fake: Fake) -> None:
    fake.node.tmux.press(fake.pane, "C-c")
    until(lambda: fake.node.tmux.value(fake.pane, "pane_current_command") == "bash", 45, "the shell")
    message = str(fake.node.send(fake.name, "when you are back")["id"])
    fake.node.wait_state(message, "held")
    fake.launch(free_port())
    fake.node.wait_state(message, "acknowledged")
    assert fake.messages() == [(message_id(message), ["when you are back"])]


def test_what_is_typed_because_two_conversations_have_the_title_is_acknowledged_by_the_api(
    fake: Fake,
) -> None:
    fake.fault("two")
    message = fake.send("by keys")
    ((name, texts),) = fake.messages()
    assert (name, [text.strip() for text in texts]) == ("msg_typed1", ["by keys"])
    assert message_id(message) != name


def test_a_draft_is_in_nobodys_way_and_is_left_alone(fake: Fake) -> None:
    fake.node.tmux.press(fake.pane, "-l", "half a thou")
    fake.node.tmux.wait_for(fake.pane, "> half a thou")
    fake.send("past the draft")
    assert fake.texts() == ["past the draft"]
    assert "> half a thou" in fake.node.tmux.capture(fake.pane)


def test_nobody_else_who_listens_on_the_named_port_is_spoken_to(running: TestNode, tmp_path: Path) -> None:
    """The agent names a port on its command line which another process has: it is left alone, keys are used."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(0.1)
        pane = running.tmux.open("bash --noprofile --norc", directory=tmp_path, columns=200, lines=20)
        fake = Fake(running, "nobody", pane, tmp_path)
        port = other.getsockname()[1]
        line = f"python3 -c 'import time; time.sleep(99)' api_agent.py --port {port}"
        running.tmux.press(pane, "-l", line)
        running.tmux.press(pane, "Enter")
        until(lambda: running.tmux.value(pane, "pane_current_command").startswith("python"), 45, "it")
        running.register("nobody", pane, "fakecode")
        time.sleep(2.5)  # two looks for an API
        with pytest.raises(TimeoutError):
            other.accept()
        assert str(port) not in running.log()
        running.call("unregister", {"agent_id": fake.name})


def test_work_and_limits_are_told_by_the_api(fake: Fake) -> None:
    fake.tell("session.status", sessionID="ses_one", status={"type": "busy"})
    fake.wait_record(state="busy", state_source="api")
    fake.tell(
        "session.status", sessionID="ses_one", status={"type": "retry", "message": "Rate limit reached"}
    )
    fake.wait_record(state="busy", attention="limit")
    fake.tell("session.idle", sessionID="ses_one")
    fake.wait_record(state="idle", state_source="api", attention="")


def test_a_permission_is_told_with_its_question_and_no_message_meets_it(fake: Fake) -> None:
    fake.node.tmux.press(fake.pane, "C-b")  # the dialog hides the input line
    until(lambda: "> " not in fake.node.tmux.capture(fake.pane), 45, "the dialog")
    fake.tell("permission.asked", id="per_1", sessionID="ses_one", permission="bash", patterns=["rm -rf x"])
    record = fake.wait_record(state="dialog", state_source="api", attention="dialog")
    assert record["shown"] == "bash: rm -rf x"
    message = str(fake.node.send(fake.name, "not now")["id"])
    fake.node.wait_state(message, "held")
    until(lambda: fake.node.receipt(message)["reason"] == "dialog", 45, "the reason")
    assert fake.texts() == []
    fake.node.tmux.press(fake.pane, "C-b")
    fake.tell("permission.replied", sessionID="ses_one", requestID="per_1", reply="reject")
    fake.node.wait_state(message, "acknowledged")
    assert fake.texts() == ["not now"]


def test_an_api_that_answers_nonsense_is_not_followed_and_keys_are_used(
    running: TestNode, tmp_path: Path
) -> None:
    pane = running.tmux.open("bash --noprofile --norc", directory=tmp_path, columns=200, lines=20)
    fake = Fake(running, "nonsense", pane, tmp_path)
    fake.fault("nonsense")
    fake.launch(free_port())
    running.register("nonsense", pane, "fakecode")
    fake.send("by keys", "submitted")
    assert [text.strip() for text in fake.texts()] == ["by keys"]
    assert running.log().count("api.unusable agent=nonsense") < 20
    running.call("unregister", {"agent_id": "nonsense"})
