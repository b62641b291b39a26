"""Three nodes in network namespaces of their own: reached from each other, cut off, killed for good, and back.

NOVA_CUT_S says for how long one of them is cut off (8 seconds; the long form is 60).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.broker.servers import find_server
from nova_torch.errors import Conflict
from tests.support.agents import Raw, raw
from tests.support.doers import doer
from tests.support.namespaces import Spoke, Wheel, wheel
from tests.support.node import TestNode, node, until
from tests.support.talkers import asking

LEASE_S = 3.0
CUT_S = float(os.environ.get("NOVA_CUT_S", "8"))
PORT = 6379
NAMES = ("one", "two", "three")


@contextlib.contextmanager
def broker_in(hub: Wheel, folder: Path) -> Iterator[None]:
    """Run a server in the hub, on all of its addresses."""
    server = find_server()
    command = server.arguments(str(folder), str(folder / "broker.sock"))
    opened = {"--port": str(PORT), "--port=0": f"--port={PORT}"}
    words = [opened.get(word, word) for word in command]
    if "--port" in command:
        at = command.index("--port")
        words = [*command[:at], "--port", str(PORT), *command[at + 2 :], "--protected-mode", "no"]
        words += ["--bind", "0.0.0.0"]
    with subprocess.Popen(
        [*hub.enter, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until((folder / "broker.sock").exists, what="the broker")
            yield
        finally:
            process.kill()
            process.wait(10)


@contextlib.contextmanager
def node_in(spoke: Spoke, name: str) -> Iterator[TestNode]:
    """Run a node in a namespace, with a tmux server and a state directory of its own."""
    env = {
        "NOVA_NODE": name,
        "NOVA_BROKER_URL": f"redis://{spoke.hub_address}:{PORT}",
        "NOVA_BROKER_LEASE_S": str(LEASE_S),
        "NOVA_BROKER_BEAT_S": "0.5",
    }
    with node(start=False, env=env) as made:
        made.before = tuple(spoke.enter)
        made.start()
        made.wait_up()
        yield made


def with_role(of: TestNode, folder: Path, name: str) -> Raw:
    folder.mkdir(exist_ok=True)
    agent = raw(of, folder, name)
    of.call("register", {"agent_id": name, "pane": agent.pane, "driver": "line", "role": "dev"})
    return agent


def states(of: TestNode) -> dict[str, str]:
    return {str(row["node"]): str(row["state"]) for row in of.call("node_list")}


def where(of: TestNode) -> dict[str, tuple[str, bool]]:
    """Return of each agent its node and whether it is lost."""
    return {str(a["agent_id"]): (str(a["node"]), a["state"] == "lost") for a in of.call("agents")}


def is_fleet(of: TestNode, agents: dict[str, tuple[str, bool]]) -> bool:
    return where(of) == agents


def bodies(agent: Raw) -> list[bytes]:
    return [line for line in agent.bytes().split(b"\r") if line]


def task(of: TestNode, title: str, **more: Any) -> str:
    return str(of.call("task_add", {"title": title, "anyway": True, **more})["id"])


def is_task(of: TestNode, ident: str, **wanted: Any) -> bool:
    shown = of.call("task_show", {"id": ident})
    return {name: shown[name] for name in wanted} == wanted


def group(of: TestNode, body: str, *options: str) -> tuple[int, dict[str, Any], str]:
    done = of.novactl("send", "role:dev", body, "--json", *options)
    return done.returncode, {r["agent"]: r for r in map(json.loads, done.stdout.splitlines())}, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300 + 2 * CUT_S)
def test_three_nodes_are_one_fleet_whatever_happens_to_two_of_them(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(wheel(3))
        (tmp_path / "broker").mkdir()
        stack.enter_context(broker_in(hub, tmp_path / "broker"))
        one, two, three = (
            stack.enter_context(node_in(spoke, name)) for spoke, name in zip(hub.spokes, NAMES, strict=True)
        )
        a1 = with_role(one, tmp_path / "one", "a1")
        b1 = with_role(two, tmp_path / "two", "b1")
        c1 = with_role(three, tmp_path / "three", "c1")
        c2 = with_role(three, tmp_path / "three", "c2")
        works = doer(two, tmp_path / "two", "works", skills=("quick",))
        holds = doer(three, tmp_path / "three", "holds", "--hold", skills=("slow",))
        everybody = {
            "a1": ("one", False),
            "b1": ("two", False),
            "c1": ("three", False),
            "c2": ("three", False),
            "works": ("two", False),
            "holds": ("three", False),
        }
        for each in (one, two, three):
            until(functools.partial(is_fleet, each, everybody), what="one fleet")

        # across: a message, a question with its answer, a group, tasks
        sent = str(one.send("b1", "across")["id"])
        one.wait_state(sent, "submitted")
        with asking(one, "c1", "well?", "--timeout", "60s") as waiting:
            until(lambda: three.call("inbox", {"agent": "c1", "unanswered": True}), what="the question")
            (question,) = three.call("inbox", {"agent": "c1", "unanswered": True})
            three.call("reply", {"question": question["id"], "body": "very well", "sender": "c1"})
            said, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, said) == (0, "very well\n"), err
        code, receipts, err = group(two, "to all of you", "--wait")
        assert (code, {r["state"] for r in receipts.values()}, len(receipts)) == (0, {"submitted"}, 4), err
        asked = bodies(c1)[0]
        assert (bodies(a1), bodies(b1)) == ([b"to all of you"], [b"across", b"to all of you"])
        assert bodies(c1) == [asked, b"to all of you"]
        done = task(one, "done elsewhere", skills=["quick"])
        until(lambda: is_task(one, done, state="done", agent="works", attempt=1), 45, "the task")
        held = task(one, "begun elsewhere", skills=["slow"])
        until(lambda: holds.lines("told") == [held], 45, "the other task")

        # one is cut off: what is sent to it waits, nobody else is harmed, and it arrives once
        begun = time.monotonic()
        hub.spokes[1].cut()
        waits = [str(one.send("b1", f"waits {n}")["id"]) for n in range(3)]
        until(lambda: states(one)["two"] == "disconnected", 45, "two is disconnected")
        assert where(one)["b1"] == ("two", True)
        assert states(three) == {"one": "ready", "two": "disconnected", "three": "ready"}
        waits += [str(three.send("b1", f"waits {n}")["id"]) for n in range(3, 5)]
        for message in waits:
            (one if message in waits[:3] else three).wait_state(message, "queued")
        until(lambda: two.call("status")["mode"] == "fallback", 45, "two notices it")
        own = str(two.send("b1", "on its own node")["id"])
        two.wait_state(own, "submitted")
        later = task(one, "for whoever comes back", skills=["quick"])
        code, receipts, err = group(one, "who is there", "--wait", "--min", "3")
        assert (code, sorted(receipts), "1 away" in err) == (0, ["a1", "c1", "c2"], True), err
        time.sleep(max(0.0, begun + CUT_S - time.monotonic()))
        assert bodies(b1) == [b"across", b"to all of you", b"on its own node"]
        assert is_task(one, later, state="ready", agent="")
        hub.spokes[1].mend()
        for message in waits:
            (one if message in waits[:3] else three).wait_state(message, "submitted", timeout_s=60)
        until(lambda: states(one)["two"] == "ready" and where(one)["b1"] == ("two", False), 45, "two is back")
        assert sorted(bodies(b1)[3:]) == [f"waits {n}".encode() for n in range(5)]
        until(lambda: is_task(one, later, state="done", agent="works", attempt=1), 45, "the task that waited")
        until(lambda: works.lines("done") == [done, later], 45, "its own words")
        assert works.lines("told") == [done, later]

        # one is killed for good: its agents are lost, what is sent to them is kept, one is started elsewhere,
        # and what one of them had begun another one does
        three.kill()
        until(lambda: states(one)["three"] == "disconnected", 45, "three is disconnected")
        assert where(one) == {
            **everybody, "c1": ("three", True), "c2": ("three", True), "holds": ("three", True)
        }  # fmt: skip
        kept = [str(one.send(name, f"kept for {name}")["id"]) for name in ("c1", "c2")]
        until(lambda: where(two).get("c1") == ("three", True), 45, "the loss, as node two sees it")
        moved = with_role(two, tmp_path / "moved", "c1")
        one.wait_state(kept[0], "submitted")
        one.wait_state(kept[1], "queued")
        helps = doer(one, tmp_path / "one", "helps", skills=("slow",))
        everybody["helps"] = ("one", False)
        until(
            lambda: is_task(two, held, state="done", agent="helps", attempt=2), 30, "the task, by another one"
        )

        # it comes back all the same: what lives elsewhere is fenced off, the rest is taken up again
        before = bodies(c1)
        three.start()
        three.wait_up()
        one.wait_state(kept[1], "submitted")
        until(lambda: where(three) == {**everybody, "c1": ("two", False)}, 45, "where everybody is")
        with pytest.raises(Conflict, match="is done"):
            three.call("task_done", {"id": held, "result": "late", "pane": holds.pane})
        assert (helps.lines("done"), holds.lines("told")) == ([held], [held])
        for sender in (one, two, three):
            last = str(sender.send("c1", f"last from {sender.env['NOVA_NODE']}")["id"])
            sender.wait_state(last, "submitted")
        assert bodies(c1) == before
        assert sorted(bodies(moved)) == [
            b"kept for c1",
            b"last from one",
            b"last from three",
            b"last from two",
        ]
        assert bodies(c2)[-1] == b"kept for c2"
        assert len(bodies(c2)) == len(set(bodies(c2)))
