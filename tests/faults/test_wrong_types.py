"""Keys of ours that another program wrote with another type: named, and in nobody's way but their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nova_torch.broker import Broker
from tests.faults.test_review_node import on_broker
from tests.support.agents import Raw, raw
from tests.support.node import TestNode, node, until

NODE = "test-node"
OF_AN_AGENT = [f"nova:{{a:raw}}:{part}" for part in ("mbx", "hi", "own", "seen")]
OF_THE_NODE = [f"nova:{{n:{NODE}}}:{part}" for part in ("bell", "in")]
OF_TASKS = ["nova:{tk}:all", "nova:{tk}:log"]
HASHES = ("nova:{a:raw}:seen", "nova:{tk}:all", "nova:{reg}:epochs", "nova:{reg}:orders")
TYPES = {**dict.fromkeys(HASHES, "hash"), "nova:{a:raw}:own": "string", f"nova:{{n:{NODE}}}:bell": "zset"}
OF_THE_REGISTRY = [f"nova:{{reg}}:{part}" for part in ("nodes", "strict", "epochs", "orders", "log", "gen")]


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


@pytest.fixture(scope="module")
def agents(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Raw]:
    return {name: raw(running, tmp_path_factory.mktemp(name), name) for name in ("raw", "other")}


def ask(running: TestNode, *commands: tuple[str, ...]) -> None:
    async def write(broker: Broker) -> None:
        await broker._link.batch(commands)

    on_broker(running, write)


def spoil(running: TestNode, key: str) -> None:
    other = ("XADD", key, "*", "not", "yours") if key in HASHES else ("HSET", key, "not", "yours")
    ask(running, ("DEL", key), other)


def findings(running: TestNode) -> dict[str, str]:
    health = running.call("status")["health"]
    return {check["code"]: f"{check['message']} {check['hint']}" for check in health}


def well(running: TestNode) -> bool:
    status = running.call("status")
    return status["broker"]["state"] == "up" and not {"broker_key_unfit", "broker_down"} & set(
        findings(running)
    )


@pytest.mark.parametrize("key", [*OF_AN_AGENT, *OF_THE_NODE, *OF_TASKS])
def test_one_key_of_another_type_is_named_and_only_what_needs_it_waits(
    running: TestNode, agents: dict[str, Raw], key: str
) -> None:
    until(lambda: well(running), what="a node that is well")
    connections = running.log().count("broker.up")
    spoil(running, key)
    text = f"through {key.rpartition(':')[2]} of {key[5:9]}"
    waiting = running.send("raw", text, priority="high" if key.endswith("hi") else "normal")["id"]
    if key in OF_TASKS:
        running.novactl("task", "add", "one that cannot be kept yet", "--role", "nobody", "--anyway")
    said = until(lambda: findings(running).get("broker_key_unfit"), 45, f"the finding of {key}")
    assert f"key {key} is no {TYPES.get(key, 'stream')}, as it must be" in said
    assert f"redis-cli DEL '{key}'" in said
    for n in range(3):
        sent = running.send("other", f"{n} {text}")
        running.wait_state(sent["id"], "submitted")
    assert running.log().count("broker.up") == connections
    ask(running, ("DEL", key))
    running.wait_state(waiting, "submitted")
    until(lambda: well(running), 45, "the end of it")
    assert agents["raw"].bytes().count(text.encode()) == 1


@pytest.mark.parametrize("key", OF_THE_REGISTRY)
def test_a_registry_of_another_type_is_named_and_local_agents_go_on(
    running: TestNode, agents: dict[str, Raw], key: str
) -> None:
    until(lambda: well(running), what="a node that is well")
    spoil(running, key)
    running.call("pause", {"agent_id": "other"})  # news, which goes into the log

    def named() -> bool:
        return f"key {key} is no " in " ".join(findings(running).values())

    until(named, 45, f"the finding of {key}")
    text = f"without {key}"
    sent = running.send("raw", text)
    running.wait_state(sent["id"], "submitted")
    ask(running, ("DEL", key))
    until(lambda: well(running), 45, "the end of it")
    running.call("resume", {"agent_id": "other"})
    after = running.send("raw", f"after {key}")
    running.wait_state(after["id"], "submitted")
    assert agents["raw"].bytes().count(text.encode()) == 1


@pytest.mark.parametrize("value", ["garbage", "99999999999999999999", "-1", "1e300", "nan"])
def test_epochs_that_are_none_keep_no_node_from_connecting(
    running: TestNode, agents: dict[str, Raw], value: str
) -> None:
    until(lambda: well(running), what="a node that is well")
    connections = running.log().count("broker.up")
    ask(
        running,
        ("HSET", "nova:{reg}:epochs", NODE, value),
        ("SET", f"nova:{{n:{NODE}}}:epoch", value),
        ("SET", "nova:{a:raw}:own", f"{NODE}|{value}"),
        ("SET", "nova:{a:other}:own", value),
        ("CLIENT", "KILL", "TYPE", "NORMAL"),
    )
    until(lambda: running.log().count("broker.up") > connections and well(running), 45, "the connection")
    for name, agent in agents.items():
        sent = running.send(name, f"as of {value}")
        running.wait_state(sent["id"], "submitted")
        assert agent.bytes().count(f"as of {value}\r".encode()) == 1
