"""Attacks: by somebody who may write to the broker, by other users of the machine, by links in a directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_torch.codec import decode_signed, encode_hop
from nova_torch.communication import NovaOrchestrator
from nova_torch.nodes import Drain
from nova_torch.signing import Keyring
from nova_torch.ulid import new_ulid
from nova_torch.values import Hop, MessageId, NodeId, State
from noval_d.fleet.drain import drain_order, sealed_order
from noval_d.mailroom.seals import Seals
from noval_d.schedule.copies import sealed
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import Raw, raw
from tests.support.attacker import FLEET, KEY_LINE, OTHER, WRONG, Attacker, now_ms
from tests.support.node import TestNode, node, until
from tests.support.schedules import once, seals

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    keys = tmp_path_factory.mktemp("keys") / "fleet-keys"
    keys.touch(0o600)
    keys.write_text(KEY_LINE)
    with node(env={"NOVA_SIGNING_MODE": "require", "NOVA_SIGNING_KEY_FILE": str(keys)}) as made:
        yield made


@pytest.fixture
def victim(strict: TestNode, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Raw]:
    agent = raw(strict, tmp_path, f"victim-{new_ulid()[-6:]}")
    yield agent
    strict.call("unregister", {"agent_id": agent.name})


def flushed(victim: Raw, *bodies: str) -> None:
    """Send something honest behind everything else; then exactly `bodies` and that were typed."""
    sent = victim.node.send(victim.name, "honest")["id"]
    victim.node.wait_state(sent, "submitted")
    assert victim.bytes().decode() == "".join(f"{body}\r" for body in (*bodies, "honest"))


def far(ring: Keyring) -> Seals:
    return seals(NodeId("far"), ring)


def rejections(made: TestNode) -> list[dict[str, Any]]:
    return [
        entry
        for entry in made.call("audit")
        if str(entry["code"]) in ("unsigned", "unknown_key", "forged", "misplaced")
    ]


def test_a_message_of_a_node_of_the_fleet_is_typed(strict: TestNode, victim: Raw) -> None:
    attacker = Attacker(strict)
    message = attacker.message(victim.name, "from a node with the key")
    attacker.put(victim.name, message, FLEET.sign_message(message))
    until(victim.bytes, what="the message")
    flushed(victim, "from a node with the key")


@pytest.mark.parametrize("ring", [None, WRONG, OTHER], ids=["unsigned", "wrong key", "unknown key"])
def test_a_forged_message_is_a_dead_letter_and_is_told_to_everybody_but_its_sender(
    strict: TestNode, victim: Raw, ring: Keyring | None
) -> None:
    attacker = Attacker(strict)
    message = attacker.message(victim.name, "rm -rf /", headers={"origin": strict.environment["NOVA_NODE"]})
    attacker.put(victim.name, message, ring.sign_message(message) if ring else "")
    reason = attacker.dead(victim.name, message.id)
    expected = {None: "not signed", WRONG: "signature is wrong", OTHER: "a key that this node does not have"}
    assert expected[ring] in reason
    flushed(victim)
    health = {check["code"]: check for check in strict.call("status")["health"]}
    assert "were not taken" in health["signature_rejected"]["message"]
    assert (
        strict.call("dead_list", {"agent": victim.name}) == []
    )  # its id has no verdict: it may be another's
    told = [entry for entry in rejections(strict) if entry["target"] == victim.name]
    assert [(entry["call"], entry["id"], entry["sender"]) for entry in told] == [
        ("message", message.id, "user:boss")
    ]


def test_a_forged_message_does_not_take_the_id_of_an_honest_one(strict: TestNode, victim: Raw) -> None:
    attacker = Attacker(strict)
    honest = attacker.message(victim.name, "mine")
    forged = replace(honest, body="not mine")
    attacker.put(victim.name, forged)
    attacker.dead(victim.name, honest.id)
    attacker.put(victim.name, honest, FLEET.sign_message(honest))
    until(victim.bytes, what="the honest message")
    flushed(victim, "mine")


def test_a_message_that_was_typed_is_not_typed_again_when_it_is_put_back(
    strict: TestNode, victim: Raw
) -> None:
    attacker = Attacker(strict)
    strict.call("pause", {"agent_id": victim.name})
    sent = strict.send(victim.name, "transfer 100")["id"]
    (payload,) = until(lambda: attacker.waiting(victim.name), what="the message in its mailbox")
    strict.call("resume", {"agent_id": victim.name})
    strict.wait_state(sent, "submitted")
    until(lambda: not attacker.waiting(victim.name), what="the acknowledgement")
    for name in (sent, new_ulid()):  # under its own name in the mailbox, and under another
        attacker.put_raw(victim.name, name, payload)
    until(lambda: not attacker.waiting(victim.name), what="the answer to the replay")
    flushed(victim, "transfer 100")


@pytest.mark.parametrize(
    "altered",
    [
        {"body": "transfer 999"},
        {"sender": "user:root"},
        {"created_ms": 1},
        {"expires_ms": now_ms() + DAY_MS},
        {"id": MessageId(new_ulid())},
        {"headers": {"origin": "far", "form": "command"}},
    ],
    ids=lambda altered: next(iter(altered)),
)
def test_an_altered_message_is_refused(strict: TestNode, victim: Raw, altered: dict[str, Any]) -> None:
    attacker = Attacker(strict)
    message = attacker.message(victim.name, "transfer 100")
    if "headers" in altered:
        altered = {"headers": {**altered["headers"], "agent": victim.name}}
    changed = replace(message, **altered)
    attacker.put(victim.name, changed, FLEET.sign_message(message))
    assert "signature is wrong" in attacker.dead(victim.name, changed.id)
    flushed(victim)


def test_a_message_for_another_agent_is_refused(strict: TestNode, victim: Raw, tmp_path: Path) -> None:
    attacker = Attacker(strict)
    message = attacker.message("somebody", "drop the tables")
    attacker.put(victim.name, message, FLEET.sign_message(message))
    assert "for another mailbox" in attacker.dead(victim.name, message.id)
    flushed(victim)


def test_an_old_message_that_is_not_known_here_is_not_typed(strict: TestNode, victim: Raw) -> None:
    attacker = Attacker(strict)
    old = attacker.message(victim.name, "of last week", created_ms=now_ms() - 8 * DAY_MS)
    late = attacker.message(victim.name, "of yesterday", created_ms=now_ms() - DAY_MS)
    ahead = attacker.message(victim.name, "of tomorrow", created_ms=now_ms() + DAY_MS)
    for message in (old, ahead, late):
        attacker.put(victim.name, message, FLEET.sign_message(message))
    until(victim.bytes, what="the message of yesterday")
    flushed(victim, "of yesterday")
    dead = {row["id"]: row for row in strict.call("dead_list", {"agent": victim.name})}
    assert dead[old.id]["state"] == "unconfirmed"
    assert dead[ahead.id]["state"] == "failed"
    assert "the clocks differ" in dead[ahead.id]["reason"]


def test_a_forged_receipt_changes_nothing(strict: TestNode, victim: Raw) -> None:
    attacker, here = Attacker(strict), strict.environment["NOVA_NODE"]
    strict.call("pause", {"agent_id": victim.name})
    sent = strict.send(victim.name, "still to be typed")["id"]
    strict.wait_state(sent, "held")
    hop = Hop(message=MessageId(sent), at_ms=now_ms(), node=NodeId("far"), state=State.SUBMITTED, final=True)
    attacker.post(here, encode_hop(hop))
    attacker.post(here, encode_hop(hop, WRONG.sign_receipt(hop, here)))
    attacker.post(here, encode_hop(hop, FLEET.sign_receipt(hop, "elsewhere")))  # meant for another node
    until(lambda: not attacker.read_mail(here), what="the mail being read")
    assert strict.receipt(sent)["state"] == "held"
    strict.call("resume", {"agent_id": victim.name})
    strict.wait_state(sent, "submitted")
    flushed(victim, "still to be typed")
    assert "receipt" in {entry["call"] for entry in rejections(strict)}


def test_an_honest_receipt_is_taken(strict: TestNode, victim: Raw) -> None:
    attacker, here = Attacker(strict), strict.environment["NOVA_NODE"]
    strict.call("pause", {"agent_id": victim.name})
    sent = strict.send(victim.name, "typed elsewhere")["id"]
    strict.wait_state(sent, "held")
    hop = Hop(message=MessageId(sent), at_ms=now_ms(), node=NodeId("far"), state=State.SUBMITTED, final=True)
    attacker.post(here, encode_hop(hop, FLEET.sign_receipt(hop, here)))
    strict.wait_state(sent, "submitted")


def test_a_forged_schedule_is_not_sent_and_a_forged_mark_ends_none(strict: TestNode, victim: Raw) -> None:
    attacker = Attacker(strict)
    due = now_ms() + 1500
    named = {"agent": victim.name, "target": victim.name, "created_ms": now_ms()}
    honest, forged = once(due, body="as agreed", **named), once(due, body="evil", **named)
    attacker.schedule(victim.name, sealed(forged, far(Keyring())))
    attacker.schedule(victim.name, sealed(forged, far(WRONG)))
    attacker.schedule(victim.name, sealed(honest, far(FLEET)))
    until(lambda: [s for s in strict.call("schedule_list") if s["id"] == honest.id], what="the schedule")
    ended = sealed(honest.marked(ended="cancelled"), far(WRONG))
    attacker.schedule(victim.name, ended)
    until(victim.bytes, what="the scheduled message")
    flushed(victim, "as agreed")
    assert {s["id"] for s in strict.call("schedule_list", {"all": True})} & {forged.id, honest.id} == {
        honest.id
    }


def test_a_forged_old_or_misdirected_order_drains_no_node(strict: TestNode) -> None:
    attacker, here = Attacker(strict), strict.environment["NOVA_NODE"]
    now = drain_order(Drain(since_ms=now_ms(), deadline_ms=now_ms(), by="user:boss"))
    old = drain_order(Drain(since_ms=now_ms() - DAY_MS, deadline_ms=now_ms(), by="user:boss"))
    for order in (
        now,
        sealed_order(now, here, far(WRONG)),
        sealed_order(now, "elsewhere", far(FLEET)),
        sealed_order(old, here, far(FLEET)),
    ):
        attacker.order(here, order)
        until(lambda: not attacker.ordered(here), what="the order being read")
        assert strict.call("node_show", {"name": here})["state"] == "ready"
    attacker.order(here, sealed_order(now, here, far(FLEET)))
    until(lambda: strict.call("node_show", {"name": here})["state"] != "ready", what="the honest order")
    strict.call("node_resume", {"name": here})


def test_what_the_node_itself_writes_is_signed(strict: TestNode, victim: Raw) -> None:
    attacker = Attacker(strict)
    strict.call("pause", {"agent_id": victim.name})
    sent = strict.send(victim.name, "for the mailbox")["id"]
    (payload,) = until(lambda: attacker.waiting(victim.name), what="the message in its mailbox")
    message, signature = decode_signed(payload)
    assert message.id == sent
    assert not FLEET.check_message(message, signature, victim.name)
    strict.call("schedule_add", {"target": victim.name, "body": "later", "in_s": 3600})
    (kept,) = attacker.schedules(victim.name)
    assert kept.mark.count("|") == 6
    assert "ab" * 32 not in strict.log()


def test_keys_and_mode_change_while_the_daemon_runs(tmp_path: Path) -> None:
    config, keys = tmp_path / "config.toml", tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(KEY_LINE)
    config.write_text("")
    with node(env={"NOVA_TORCH_CONFIG": str(config)}) as made:
        victim = raw(made, tmp_path)
        attacker = Attacker(made)
        # without signatures write access to the broker is access to the agents
        attacker.put("raw", attacker.message("raw", "whoami"))
        until(lambda: victim.bytes() == b"whoami\r", what="the forged message")
        config.write_text(f'[signing]\nmode = "warn"\nkey_file = "{keys}"\n')
        assert set(made.call("reload")["changed"]) == {"signing.mode", "signing.key_file"}
        attacker.put("raw", attacker.message("raw", "again"))
        until(lambda: victim.bytes() == b"whoami\ragain\r", what="the message that is warned of")
        assert "signature_missing" in {check["code"] for check in made.call("status")["health"]}
        config.write_text(f'[signing]\nmode = "require"\nkey_file = "{keys}"\n')
        made.call("reload")
        refused = attacker.put("raw", attacker.message("raw", "a third time"))
        assert "not signed" in attacker.dead("raw", refused.id)
        keys.write_text(f"k2 {'ef' * 32}\n{KEY_LINE}")
        made.call("reload")
        old = attacker.message("raw", "old key")
        attacker.put("raw", old, FLEET.sign_message(old))
        until(lambda: victim.bytes().endswith(b"old key\r"), what="a message under the old key")
        keys.write_text(f"k2 {'ef' * 32}\n")
        made.call("reload")
        gone = attacker.put("raw", message := attacker.message("raw", "x"), FLEET.sign_message(message))
        assert "a key that this node does not have" in attacker.dead("raw", gone.id)
        keys.chmod(0o644)
        failed = made.novactl("rpc", "reload")
        assert "open to others" in failed.stderr
        assert victim.bytes() == b"whoami\ragain\rold key\r"
        entries = [json.loads(line) for line in made.novactl("audit", "--json").stdout.splitlines()]
        assert "taken_unsigned" in {entry["code"] for entry in entries}


def test_two_nodes_and_a_program_with_the_keys_talk_as_ever(
    strict: TestNode, victim: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing = {name: value for name, value in strict.env.items() if name.startswith("NOVA_SIGNING")}
    with neighbour(strict, **signing) as second:
        until(lambda: [a for a in second.call("agents") if a["agent_id"] == victim.name], what="the agent")
        sent = second.send_wait(victim.name, "from the neighbour", wait="submitted")
        assert (sent["state"], sent["final"]) == ("submitted", True)
        due = second.call("schedule_add", {"target": victim.name, "body": "later", "in_s": 0.5})["id"]
        until(lambda: victim.bytes().endswith(b"later\r"), what=f"the schedule {due}")
    for name, value in signing.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NOVA_SOCKET", str(strict.state / "nobody.sock"))
    monkeypatch.setenv("NOVA_STATE_DIR", str(strict.state))
    program = NovaOrchestrator(broker=f"unix://{strict.state}/broker/broker.sock")
    receipt = program.send_message(victim.name, "from a program", wait="submitted", timeout_s=20)
    assert receipt.state is State.SUBMITTED
    assert victim.bytes() == b"from the neighbour\rlater\rfrom a program\r"
