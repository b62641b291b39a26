"""The rights of docs/broker.md on a real server: a whole node does all it can with them, and needs each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.broker import Broker, Enqueue, Entry, Kept, Lane, Owner
from nova_torch.errors import BrokerUnavailable, ForeignRefused
from nova_torch.login import Login
from tests.support.aio import run
from tests.support.node import until
from tests.support.pair import pair
from tests.support.rights import commands_of, give
from tests.support.servers import PASSWORD, OwnServer, own_server

UNNAMED = "can't run this command or subcommand"
"""What Redis 7.0 says of a command in a script: not which."""
BRIDGES = """
[bridges]
dialects = ["registry"]
receipts = "all"

[[bridges.stream]]
name = "ops"
key = "ops:agents:{agent}"
dialect = "torch"
replies = "ops:answers:{sender}"

[[bridges.channel]]
name = "say"
key = "ops:say:{agent}"
dialect = "torch"
replies = "ops:said:{sender}"

[[bridges.channel]]
name = "all"
key = "ops:all"
dialect = "torch"
replies = "ops:said:{sender}"
to = "all"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server() as made:
        give(made)
        yield made


def denied(server: OwnServer) -> list[str]:
    """Return what the server has refused anybody, as it remembers it."""
    return [
        " ".join(word.decode() for word in row if isinstance(word, bytes)) for row in server.ask("ACL", "LOG")
    ]


def idle(server: OwnServer) -> list[str]:
    """Return the commands that a node may send and nobody has."""
    used = server.ask("INFO", "commandstats").decode()
    return [name for name in commands_of("nova-node") if f"cmdstat_{name}" not in used]


def test_a_whole_node_with_these_rights_and_no_others_is_refused_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BRIDGES)
    env = {"NOVA_TORCH_CONFIG": str(config)}
    with pair(env, user="nova-node", prepare=give) as both:
        server, near, far = both.server, both.near, both.far
        until(both.well, 45, f"health: {both.finding()}")
        server.ask("CONFIG", "RESETSTAT")
        far.kill()  # its next start claims what it had
        far.start()
        far.wait_up()
        until(lambda: len(near.call("agents")) == 2, what="both agents in the registry")
        both.send("here")
        question = both.send("there", 1, answer="wanted")[0]
        near.wait_state(question, "submitted")
        far.call("reply", {"question": question, "body": "the answer", "sender": "there"})
        near.wait_state(question, "replied")
        assert near.novactl("send", "there", "scheduled", "--in", "1s").returncode == 0
        assert near.novactl("send", "there", "never", "--in", "1h").returncode == 0
        until(lambda: b"scheduled\r" in both.there.bytes(), 45, "the scheduled one")
        left = near.call("schedule_list")[0]
        assert near.novactl("schedule", "cancel", left["id"]).returncode == 0
        assert {record["agent_id"] for record in far.call("agents")} == {"here", "there"}
        far.call("pause", {"agent_id": "there"})
        buried = str(near.send("there", "too late", ttl_s=0.3)["id"])
        near.wait_state(buried, "expired")
        far.call("resume", {"agent_id": "there"})
        fields = ("sender", "boss", "type", "message", "payload", "by stream")
        server.ask("XADD", "ops:agents:here", "*", *fields, user="ops-writer")
        server.ask("PUBLISH", "ops:say:there", '{"sender":"boss","payload":"by channel"}', user="ops-writer")
        server.ask("PUBLISH", "ops:all", '{"sender":"boss","payload":"to all"}', user="ops-writer")
        server.ask("PUBLISH", "ops:all", "no message", user="ops-writer")
        until(lambda: b"by stream" in both.here.bytes() and b"to all" in both.here.bytes(), 45, "the bridged")
        until(lambda: b"by channel" in both.there.bytes(), 45, "the bridged")
        answers = ("XREAD", "COUNT", "9", "STREAMS", "ops:answers:boss", "0")
        until(lambda: server.ask(*answers, user="ops-writer"), 45, "what the bridge tells back")
        assert near.call("health")["status"] in ("ok", "warn")
        far.call("unregister", {"agent_id": "there"})
        until(lambda: near.call("status")["outbox"] == 0, 45, "an empty outbox")
        server.ask("ZADD", "nova:{reg}:nodes", time.time_ns() // 1_000_000 - 1000, "ghost")
        near.call("node_remove", {"name": "ghost"})
        assert far.stop() == 0  # which leaves the fleet in order
        until(lambda: idle(server) == [], 45, "use of every right")
        assert denied(server) == []
        assert PASSWORD not in near.log() + far.log()


async def tour(broker: Broker) -> None:
    """Do once what a node does with its broker."""
    epoch = await broker.claim_epoch("one")
    owner = Owner(node="one", epoch=epoch)
    await broker.info()
    await broker.generation()
    await broker.beat("one", epoch, b"", ttl_s=20)
    await broker.beat("old", 1, b"", ttl_s=-25 * 3600)
    await broker.nodes()
    await broker.forget_node("old")
    await broker.claim("a", owner)
    await broker.claim_for("box", owner, seconds=60)
    await broker.owner_of("a")
    item = Enqueue(agent="a", message_id="m1", lane=Lane.MBX, payload=b"x", limit=9)
    await broker.enqueue([item])
    await broker.enqueue([item])
    await broker.bells("one", block_s=0.01)
    entries = await broker.read("a", owner, count=9)
    await broker.backlog(["a"])
    await broker.bury("a", owner, entries[0], state="dead", reason="x")
    never_in = Entry(lane=Lane.MBX, entry_id="", message_id="m2", payload=b"")
    await broker.bury("a", owner, never_in, state="dead", reason="x")
    letter, _ = await broker.dead("a", 9)
    await broker.unbury("a", letter.entry_id)
    await broker.ack("a", owner, [(e.lane, e.entry_id) for e in await broker.read("a", owner, count=9)])
    await broker.put_schedules("a", [Kept(id="s", asked=b"x", mark="1")])
    await broker.schedule_marks("a", owner, ["s"])
    await broker.schedules(["a"])
    await broker.forget_schedules("a", ["s"])
    await broker.post("one", [b"receipt"])
    await broker.mail_done("one", epoch, [mail.entry_id for mail in await broker.mail("one", block_s=0.01)])
    await broker.release("a", owner, drop=True)
    await broker.join_streams(["ops:agents:a"], backlog_s=1)
    await broker.read_streams("one", ["ops:agents:a"], count=1, block_s=0.01)
    await broker.pending_entries("one", "ops:agents:a", after="0", count=1)
    await broker.claim_entries("one", ["ops:agents:a"], idle_s=20)
    await broker.publish("ops:all", b"x")
    await broker.bury_foreign("e", {"a": "b"}, again=True)
    await (await broker.channels("one", ["ops:all"], ["ops:say:*"])).close()
    problems = await broker.mirror(
        {"nova:registry:a": {"b": "c"}},
        once={"d": "e"},
        dead_s=60,
        active="nova:registry:active",
        present=["a"],
        absent=["b"],
        gone=["nova:registry:b"],
    )
    if problems:
        raise ForeignRefused(problems[0])
    await broker.leave("one", epoch)


async def toured(server: OwnServer, user: str) -> None:
    async with await Broker.connect(server.url_of(user), login=Login(password=PASSWORD)) as broker:
        await tour(broker)


@pytest.fixture
def node_user(server: OwnServer) -> OwnServer:
    """The server without data, the user with all of its rights."""
    give(server)
    server.ask("FLUSHALL")
    server.ask("SCRIPT", "FLUSH")
    server.ask("ACL", "LOG", "RESET")
    return server


def test_the_tour_of_a_node_is_refused_nothing(node_user: OwnServer) -> None:
    run(toured(node_user, "nova-node"))
    assert denied(node_user) == []


@pytest.mark.parametrize("command", commands_of("nova-node"))
def test_without_one_of_its_rights_a_node_is_told_which(node_user: OwnServer, command: str) -> None:
    node_user.ask("ACL", "SETUSER", "nova-node", f"-{command}")
    with pytest.raises((BrokerUnavailable, ForeignRefused)) as caught:
        run(toured(node_user, "nova-node"))
    told = caught.value.message.lower()
    assert command in told or UNNAMED in told
    assert "docs/broker.md" in caught.value.hint or isinstance(caught.value, ForeignRefused)


@pytest.mark.parametrize("rule", ["~nova:*", "&nova:*"])
def test_without_its_keys_or_its_channel_a_node_is_told(node_user: OwnServer, rule: str) -> None:
    kept = "&ops:all" if rule.startswith("&") else "~ops:agents:*"
    node_user.ask(
        "ACL", "SETUSER", "nova-node", "resetchannels" if rule.startswith("&") else "resetkeys", kept
    )
    with pytest.raises((BrokerUnavailable, ForeignRefused), match=r"(?i)permission|can't"):
        run(toured(node_user, "nova-node"))


def test_a_monitor_sees_nodes_and_can_read_no_message_and_write_nothing(node_user: OwnServer) -> None:
    async def scenario() -> None:
        login = Login(password=PASSWORD)
        owner = Owner(node="one", epoch=5)
        item = Enqueue(agent="a", message_id="m", lane=Lane.MBX, payload=b"secret", limit=9)
        async with (
            await Broker.connect(node_user.url_of("nova-node"), login=login) as node,
            await Broker.connect(node_user.url_of("nova-monitor"), login=login) as monitor,
        ):
            await node.beat("one", 5, b"blob", ttl_s=20)
            await node.claim("a", owner)
            await node.enqueue([item])
            assert [(lease.node, lease.blob) for lease in await monitor.nodes()] == [("one", b"blob")]
            await monitor.info()
            for refused in (
                monitor.beat("two", 6, b"", ttl_s=20),
                monitor.read("a", owner, count=1),
                monitor.enqueue([item]),
                monitor.dead("a", 1),
                monitor.owner_of("a"),
                monitor.publish("nova:x", b""),
            ):
                with pytest.raises((BrokerUnavailable, ForeignRefused)):
                    await refused

    run(scenario())


def test_a_bridge_writer_reaches_its_own_streams_and_nothing_of_ours(node_user: OwnServer) -> None:
    assert node_user.ask("XADD", "ops:agents:a", "*", "payload", "x", user="ops-writer")
    for words in (
        ("XADD", "nova:{a:a}:mbx", "*", "i", "m", "p", "x"),
        ("XREAD", "STREAMS", "nova:{a:a}:mbx", "0"),
        ("PUBLISH", "nova:x", "x"),
        ("EVAL", "return 1", 0),
        ("CONFIG", "GET", "requirepass"),
    ):
        with pytest.raises(BrokerUnavailable, match="does not allow its user"):
            node_user.ask(*words, user="ops-writer")
