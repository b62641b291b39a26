"""A node without the fleet's key beside one that takes only what is signed: what its sender is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from nova_torch.codec import encode_hop, encode_message
from nova_torch.communication import NovaOrchestrator
from nova_torch.errors import NotAllowed
from nova_torch.rejections import rejection
from nova_torch.values import MessageId, NodeId
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import Raw, raw
from tests.support.attacker import FLEET, KEY_LINE, OTHER, Attacker, now_ms
from tests.support.node import TestNode, node, until

WHAT = "takes only signed messages (signing.mode = require), and here is no key to sign with"


class Fleet:
    """`strict` takes only what is signed and has the agents; `keyless` sends. Both read a file when told to."""

    def __init__(self, strict: TestNode, keyless: TestNode, folder: Path) -> None:
        self.strict = strict
        self.keyless = keyless
        self.folder = folder

    def configure(self, which: TestNode, text: str) -> None:
        Path(which.env["NOVA_TORCH_CONFIG"]).write_text(text)
        which.call("reload")

    def require(self) -> None:
        self.configure(self.strict, f'[signing]\nmode = "require"\nkey_file = "{self.keys()}"\n')

    def keys(self, line: str = KEY_LINE, name: str = "keys") -> Path:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(line)
        return path

    def restart_strict(self, line: str = KEY_LINE) -> None:
        """Start it again after a `kill`: it takes only what is signed from its first moment."""
        keys = self.keys(line)
        Path(self.strict.env["NOVA_TORCH_CONFIG"]).write_text(
            f'[signing]\nmode = "require"\nkey_file = "{keys}"\n'
        )
        self.strict.start()

    def seen(self, signing: str) -> None:
        """Wait until the sender's node knows what the other one takes."""
        until(
            lambda: next(
                (
                    row
                    for row in self.keyless.call("node_list")
                    if row["node"] == "strict" and row["signing"] == signing
                ),
                None,
            ),
            what=f"the word of the other node: {signing}",
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    configs = [tmp_path / f"{name}.toml" for name in ("strict", "keyless")]
    for config in configs:
        config.write_text("")
    env = {"NOVA_BROKER_BEAT_S": "0.5"}
    with (
        node(env={**env, "NOVA_NODE": "strict", "NOVA_TORCH_CONFIG": str(configs[0])}) as strict,
        neighbour(strict, **env, NOVA_TORCH_CONFIG=str(configs[1])) as keyless,
    ):
        yield Fleet(strict, keyless, tmp_path)


def agent(fleet: Fleet, name: str = "raw") -> Raw:
    made = raw(fleet.strict, fleet.folder, name)
    until(lambda: [a for a in fleet.keyless.call("agents") if a["agent_id"] == name], what="the agent")
    return made


def test_a_sender_without_the_key_is_refused_before_anything_is_stored_and_told_the_cure(
    fleet: Fleet,
) -> None:
    victim = agent(fleet)
    fleet.require()
    fleet.seen("require")
    refused = fleet.keyless.novactl("send", "raw", "unsigned")
    assert refused.returncode == 4
    assert f"node strict {WHAT}. Give this node the fleet's keys (signing.key_file)" in refused.stderr
    assert fleet.keyless.call("status")["outbox"] == 0
    later = fleet.keyless.novactl("schedule", "add", "raw", "x", "--in", "1h")
    assert WHAT in later.stderr
    everybody = json.loads(fleet.keyless.novactl("send", "all", "x", "--json").stdout)
    assert (everybody["state"], WHAT in everybody["reason"]) == ("failed", True)
    (finding,) = [c for c in fleet.keyless.call("status")["health"] if c["code"] == "signing_key_missing"]
    assert "strict" in finding["message"]
    assert "signing.key_file" in finding["hint"]
    fleet.configure(fleet.keyless, f'[signing]\nkey_file = "{fleet.keys()}"\n')
    assert fleet.keyless.send_wait("raw", "signed", wait="submitted")["state"] == "submitted"
    assert victim.bytes() == b"signed\r"
    assert not [c for c in fleet.keyless.call("status")["health"] if c["code"] == "signing_key_missing"]


def test_what_was_queued_before_the_other_node_demanded_a_signature_fails_and_names_the_cure(
    fleet: Fleet,
) -> None:
    victim = agent(fleet)
    fleet.strict.kill()
    sent = fleet.keyless.send("raw", "unsigned")["id"]
    fleet.keyless.wait_state(sent, "queued")
    fleet.restart_strict()
    receipt = fleet.keyless.wait_state(sent, "failed")
    assert receipt["final"]
    assert "it is not signed; give the sender's node the keys (signing.key_file)" in receipt["reason"]
    assert "not signed" in Attacker(fleet.strict).dead("raw", sent)
    traced = fleet.keyless.novactl("trace", sent)
    assert "signing.key_file" in traced.stdout
    assert victim.bytes() == b""


def test_what_another_node_may_have_typed_before_is_not_said_to_be_untyped(fleet: Fleet) -> None:
    agent(fleet)
    attacker = Attacker(fleet.strict)
    fleet.strict.kill()
    sent = fleet.keyless.send("raw", "unsigned")["id"]
    fleet.keyless.wait_state(sent, "queued")
    (payload,) = attacker.waiting("raw")
    message = replace(attacker.message("raw", ""), id=MessageId(sent))
    hop = rejection(message, payload, "it is not signed", NodeId("third"), now_ms())
    attacker.post("other", encode_hop(hop))
    receipt = fleet.keyless.wait_state(sent, "unconfirmed")
    assert "node strict had it before and may have typed it" in receipt["reason"]


def test_a_rejection_of_what_a_forger_wrote_under_an_honest_id_ends_nothing(fleet: Fleet) -> None:
    victim, attacker = agent(fleet), Attacker(fleet.strict)
    fleet.configure(fleet.keyless, f'[signing]\nmode = "require"\nkey_file = "{fleet.keys()}"\n')
    fleet.strict.kill()
    sent = MessageId(fleet.keyless.send("raw", "signed")["id"])
    fleet.keyless.wait_state(sent, "queued")
    (honest,) = attacker.waiting("raw")
    forged = attacker.message("raw", "forged", id=sent, headers={"origin": "other"})
    attacker.put("raw", replace(forged, id=MessageId(now_id := attacker.message("raw", "").id)))
    attacker.put_raw("raw", "01ARZ3NDEKTSV4RRFFQ69G5FAV", encode_message(forged))
    hop = rejection(forged, honest, "it is not signed", NodeId("strict"), now_ms())
    attacker.post("other", encode_hop(hop))
    attacker.post("other", encode_hop(hop, OTHER.sign_receipt(hop, "other")))
    attacker.post("other", encode_hop(replace(hop, of=""), FLEET.sign_receipt(hop, "other")))
    until(lambda: not attacker.read_mail("other"), what="the mail being read")
    assert fleet.keyless.receipt(sent)["state"] == "queued"
    fleet.restart_strict()
    receipt = fleet.keyless.wait_state(sent, "submitted", "failed", "unconfirmed")
    attacker.dead("raw", now_id)
    until(lambda: not attacker.read_mail("other"), what="the true rejections being read")
    assert (receipt["state"], fleet.keyless.receipt(sent)["state"]) == ("submitted", "submitted")
    assert victim.bytes() == b"signed\r"


def test_with_a_key_that_the_other_node_does_not_have_yet_a_message_waits_and_says_so(fleet: Fleet) -> None:
    victim = agent(fleet)
    line = f"k9 {'ab' * 32}\n"
    fleet.configure(fleet.keyless, f'[signing]\nkey_file = "{fleet.keys(line, "new-keys")}"\n')
    fleet.require()
    sent = fleet.keyless.send("raw", "under a new key")["id"]
    receipt = until(
        lambda: (r := fleet.keyless.receipt(sent))["reason"] and r, what="the word of the other node"
    )
    assert (receipt["state"], receipt["final"]) == ("queued", False)
    assert "it is signed with a key that this node does not have" in receipt["reason"]
    fleet.keys(KEY_LINE + line)
    fleet.strict.call("reload")
    fleet.keyless.kill()
    fleet.keyless.start()
    fleet.keyless.wait_state(sent, "submitted")
    assert victim.bytes() == b"under a new key\r"


def test_another_key_is_known_to_all_before_any_signs_with_it_and_nothing_waits(fleet: Fleet) -> None:
    """The order of docs/operations.md: below the old key on every node, above it, alone."""
    victim = agent(fleet)
    sent: list[str] = []
    new = f"k9 {'ab' * 32}\n"
    both = ((fleet.strict, "keys"), (fleet.keyless, "keys-there"))
    for which, name in both:
        keys = fleet.keys(KEY_LINE, name)
        fleet.configure(which, f'[signing]\nmode = "require"\nkey_file = "{keys}"\n')
    fleet.seen("require")
    for lines in (KEY_LINE + new, new + KEY_LINE, new):
        for which, name in both:
            fleet.keys(lines, name)
            which.call("reload")
            sent.append(f"message {len(sent)}")
            assert fleet.keyless.send_wait("raw", sent[-1], timeout_s=30.0)["state"] == "submitted"
    assert victim.bytes() == "".join(f"{body}\r" for body in sent).encode()
    for which, _ in both:
        assert "signature_rejected" not in [check["code"] for check in which.call("status")["health"]]


def test_of_what_was_typed_before_the_keys_came_the_verdict_is_told(fleet: Fleet) -> None:
    victim, attacker = agent(fleet), Attacker(fleet.strict)
    message = attacker.put("raw", attacker.message("raw", "early"))
    until(lambda: victim.bytes() == b"early\r", what="the message")
    until(lambda: not attacker.waiting("raw"), what="the acknowledgement")
    fleet.require()
    before = until(lambda: attacker.read_mail("far"), what="the first receipts")
    attacker.put("raw", message)
    attacker.dead("raw", message.id)
    until(lambda: attacker.read_mail("far") > before, what="the verdict once more")
    last = attacker.last_mail("far")
    assert (last.message, last.state.value, last.final, last.of) == (message.id, "submitted", True, "")
    assert victim.bytes() == b"early\r"


def test_an_answer_to_a_node_that_takes_only_what_is_signed_is_refused_without_a_key(fleet: Fleet) -> None:
    made = raw(fleet.keyless, fleet.folder, "answers")
    until(lambda: [a for a in fleet.strict.call("agents") if a["agent_id"] == "answers"], what="the agent")
    fleet.require()
    fleet.seen("require")
    asked = fleet.strict.send("answers", "well?", answer="wanted")["id"]
    until(made.bytes, what="the question")
    hint = until(lambda: fleet.strict.call("trace", {"id": asked})["hint"], what="why it stays queued")
    assert "node other signs nothing" in hint
    with pytest.raises(NotAllowed, match="takes only signed messages"):
        fleet.keyless.call("reply", {"question": asked, "body": "yes", "sender": "answers"})


def test_a_program_without_daemon_and_key_is_told_as_well(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = agent(fleet)
    monkeypatch.setenv("NOVA_SOCKET", str(fleet.strict.state / "nobody.sock"))
    monkeypatch.setenv("NOVA_STATE_DIR", str(fleet.folder))
    program = NovaOrchestrator(broker=f"unix://{fleet.strict.state}/broker/broker.sock")
    fleet.strict.kill()
    with ThreadPoolExecutor() as pool:
        early = pool.submit(program.send_message, "raw", "unsigned", wait="submitted", timeout_s=40)
        until(lambda: Attacker(fleet.strict).waiting("raw"), what="the message in its mailbox")
        fleet.restart_strict()
        told = early.result()
    assert (told.state.value, "signing.key_file" in told.reason) == ("failed", True)
    assert program.receipt(told.id).state is told.state  # also to a process that did not send it
    fleet.seen("require")
    later = NovaOrchestrator(broker=f"unix://{fleet.strict.state}/broker/broker.sock")
    with pytest.raises(NotAllowed, match="takes only signed messages"):
        later.send_message("raw", "unsigned")
    assert victim.bytes() == b""
