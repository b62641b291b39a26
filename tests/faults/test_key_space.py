"""Every key of the key space, written by another program with another type: named, in nobody's way but its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from nova_torch import keys as key_space
from nova_torch.asks import Ask, pack_ask, seal
from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.errors import KeyUnfit, NovaError
from nova_torch.keys import Keys
from nova_torch.ulid import new_ulid
from tests.faults.test_review_node import on_broker
from tests.support.agents import Raw, raw
from tests.support.attacker import now_ms
from tests.support.node import TestNode, node, until

NODE = "test-node"
NAMES = {"<agent>": "raw", "<node>": NODE, "{prefix}": "nova"}
ROWS = re.findall(r"^\| `([^`]+)` \| (string|stream|hash|zset) \|", key_space.__doc__ or "", re.MULTILINE)
UNTYPED = {
    "nova:{reg}:n:test-node": "each beat overwrites it",
    "nova:{br}:task:<task>": "a foreign word",
    "nova:{s<n>}:gen": "of several shards only",
}


def named(pattern: str) -> str:
    for what, name in NAMES.items():
        pattern = pattern.replace(what, name)
    return pattern


SPACE = {named(pattern): type_ for pattern, type_ in ROWS}
BRIDGES, ANOTHER = "nova:{br}:dead", "nova:{sc}:acts"
DRAINS = "nova:{reg}:drains"
KEYS = sorted(SPACE.keys() - UNTYPED.keys())


def test_what_a_node_looks_at_is_the_whole_key_space() -> None:
    assert Keys().typed(NODE, ["raw"]) == {key: SPACE[key] for key in KEYS}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    config = tmp_path_factory.mktemp("scaled") / "config.toml"
    config.write_text(
        '[agents.w]\ndriver = "line"\ncwd = "/"\ncommand = ["cat"]\n'
        "[scaling]\nhard_cap = 3\nlook_s = 0.2\n[scaling.w]\nmax = 1\nbudget_per_day = 1\n"
    )
    with node(env={"NOVA_TORCH_CONFIG": str(config), "NOVA_BROKER_BEAT_S": "0.5"}) as made:
        yield made


@pytest.fixture(scope="module")
def agents(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Raw]:
    return {name: raw(running, tmp_path_factory.mktemp(name), name) for name in ("raw", "other")}


def write(running: TestNode, *commands: tuple[str | bytes, ...]) -> None:
    async def batch(broker: Broker) -> None:
        await broker._link.batch(commands)

    on_broker(running, batch)


def spoil(running: TestNode, key: str) -> None:
    """Put a set there: a type that no key of ours has. Then have everything done that needs one of the keys."""
    write(running, ("DEL", key), ("SADD", key, "not", "yours"))
    if key == BRIDGES:  # which this node has none of: it names the key as it looks for another one
        write(running, ("DEL", ANOTHER), ("SADD", ANOTHER, "not", "yours"))
    junk = Enqueue(agent="raw", message_id=new_ulid(), lane=Lane.MBX, payload=b"no message", limit=99)
    asked = seal(pack_ask(Ask(what="nothing", asker="lib-x", at_ms=now_ms(), details={})), "")

    async def touch(broker: Broker) -> None:
        with contextlib.suppress(KeyUnfit):  # this very test may meet it too
            await broker.enqueue([junk])
        with contextlib.suppress(KeyUnfit):
            await broker.ask(NODE, new_ulid(), asked)

    on_broker(running, touch)
    if key == DRAINS:
        refused = running.novactl("node", "drain", NODE)
        assert "has a key of ours with another type" in refused.stderr
    task = {"title": "for nobody", "role": "nobody", "anyway": True}
    for call, args in (
        ("task_add", task),
        ("pause", {"agent_id": "other"}),
        ("resume", {"agent_id": "other"}),
    ):
        with contextlib.suppress(NovaError):  # it may need that very key
            running.call(call, args)


def findings(running: TestNode) -> str:
    return " ".join(f"{check['message']} {check['hint']}" for check in running.call("status")["health"])


def well(running: TestNode) -> bool:
    codes = {check["code"] for check in running.call("status")["health"]}
    return (
        running.call("status")["broker"]["state"] == "up" and not {"broker_key_unfit", "broker_down"} & codes
    )


def beside(running: TestNode, other: Raw, key: str, before: bytes) -> None:
    """Spoil a key; see that it is named, and that another agent's message and schedule go on."""
    spoil(running, key)
    sent = running.send("other", f"beside {key}")["id"]
    running.call("schedule_add", {"target": "other", "body": f"in time beside {key}", "in_s": 0.3})
    running.call("schedule_add", {"target": "raw", "body": f"in time with {key}", "in_s": 0.3})
    running.wait_state(sent, "submitted")
    typed = f"beside {key}\rin time beside {key}\r".encode()
    until(lambda: other.bytes() == before + typed, 45, "the schedule of the other agent")
    if SPACE[key] != "string" or key.endswith(":own") or key == DRAINS:  # the others are just written over
        until(
            lambda: f"key {key} is no {SPACE[key]}" in findings(running),
            15,
            f"the finding ({running.log()[-1500:]})",
        )


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_type_is_named_and_messages_and_schedules_go_on(
    running: TestNode, agents: dict[str, Raw], key: str
) -> None:
    until(lambda: well(running), what="a node that is well")
    before = agents["other"].bytes()
    try:
        beside(running, agents["other"], key, before)
    finally:
        write(running, ("DEL", key, *([ANOTHER] if key == BRIDGES else [])))
    until(lambda: well(running), 45, "the end of it")
    until(lambda: f"in time with {key}\r".encode() in agents["raw"].bytes(), 45, "the schedule of the agent")
    for name, agent in agents.items():
        after = running.send(name, f"after {key}")["id"]
        running.wait_state(after, "submitted")
        assert agent.bytes().endswith(f"after {key}\r".encode())
        assert agent.bytes().count(f" {key}\r".encode()) == (3 if name == "other" else 2)


def test_schedules_of_another_type_stop_no_other_schedule_at_a_new_connection(
    running: TestNode, agents: dict[str, Raw]
) -> None:
    key = "nova:{a:raw}:sched"
    until(lambda: well(running), what="a node that is well")
    running.call("schedule_add", {"target": "raw", "body": "later with it", "in_s": 3})
    connections = running.log().count("broker.up")
    write(running, ("DEL", key), ("SADD", key, "not", "yours"), ("CLIENT", "KILL", "TYPE", "NORMAL"))
    try:
        until(lambda: running.log().count("broker.up") > connections, what="the connection")
        running.call("schedule_add", {"target": "other", "body": "later beside it", "in_s": 0.3})
        until(lambda: agents["other"].bytes().endswith(b"later beside it\r"), what="the other's schedule")
        until(lambda: agents["raw"].bytes().endswith(b"later with it\r"), what="its own schedule")
        assert f"key {key} is no hash" in findings(running)
    finally:
        write(running, ("DEL", key))
    until(lambda: well(running), 45, "the end of it")
