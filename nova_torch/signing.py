"""Sign what nodes write into the broker, and say of what is read there whether a node of the fleet wrote it. Pure.

HMAC-SHA256 with a key of the fleet. What is signed is the meaning, the decoded values that decide anything, not
the bytes: a field that this version does not know decides nothing here, and the order of headers neither. The
purpose is signed too, so that a mark of a schedule is no receipt, and the place: what lies in another mailbox than
it was written for is not signed for that one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgpack

from nova_torch.errors import ConfigInvalid
from nova_torch.values import Hop, Message

KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")
HOW = 'Make a line with: echo "KEYNAME $(openssl rand -hex 32)"'


class Problem(StrEnum):
    """Why something is not taken for the word of a node of the fleet."""

    NONE = ""
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    MISPLACED = "misplaced"

    @property
    def explained(self) -> str:
        """What that means, for people."""
        return _EXPLAINED[self]


_EXPLAINED = {
    Problem.NONE: "it is signed",
    Problem.UNSIGNED: "it is not signed",
    Problem.UNKNOWN_KEY: "it is signed with a key that this node does not have",
    Problem.FORGED: "its signature is wrong: it was altered, or made without the key",
    Problem.MISPLACED: "it was signed for another mailbox",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the fleet."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<Key {self.id}>"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of the fleet: the first one signs, all of them are recognized."""

    keys: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys)

    def sign(self, purpose: str, values: Sequence[Any]) -> str:
        """Return the signature, `KEY:HEX`; empty without a key."""
        if not self.keys:
            return ""
        key = self.keys[0]
        return f"{key.id}:{_mac(key, purpose, values)}"

    def check(self, signature: str, purpose: str, values: Sequence[Any]) -> Problem:
        """Say what is wrong with a signature."""
        if not signature:
            return Problem.UNSIGNED
        key_id, _, mac = signature.partition(":")
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            return Problem.UNKNOWN_KEY
        right = hmac.compare_digest(mac.encode(), _mac(key, purpose, values).encode())
        return Problem.NONE if right else Problem.FORGED

    # -- what is signed, by purpose --

    def sign_message(self, message: Message) -> str:
        """Sign a message for the mailbox that its header `agent` names."""
        return self.sign("message", _message(message))

    def check_message(self, message: Message, signature: str, mailbox: str) -> Problem:
        """Say what is wrong with a message that lies in `mailbox`."""
        problem = self.check(signature, "message", _message(message))
        if problem is Problem.NONE and message.headers.get("agent") != mailbox:
            return Problem.MISPLACED
        return problem

    def sign_receipt(self, hop: Hop, node: str) -> str:
        """Sign a receipt for `node`."""
        return self.sign(*_hop(hop, node))

    def check_receipt(self, hop: Hop, signature: str, node: str) -> Problem:
        """Say what is wrong with a receipt in the mail of `node`."""
        return self.check(signature, *_hop(hop, node))


def read_keys(lines: Iterable[str], where: str) -> Keyring:
    """Read a key file: `NAME HEX` a line, 32 bytes or more; `#` begins a comment. Raises ConfigInvalid."""
    keys: list[Key] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name, text = words
            secret = bytes.fromhex(text)
        except ValueError:
            raise ConfigInvalid(f"line {number} of the key file {where} is no key.", HOW) from None
        if not KEY_ID.match(name):
            raise ConfigInvalid(f"line {number} of the key file {where} has no name of a key.", HOW)
        if len(secret) < KEY_BYTES:
            raise ConfigInvalid(f"the key {name} in {where} is shorter than {KEY_BYTES} bytes.", HOW)
        if any(key.id == name for key in keys):
            raise ConfigInvalid(f"the key {name} is twice in {where}.", "Give the new one another name.")
        keys.append(Key(name, secret))
    if not keys:
        raise ConfigInvalid(f"the key file {where} has no key.", HOW)
    return Keyring(tuple(keys))


def _mac(key: Key, purpose: str, values: Sequence[Any]) -> str:
    signed = msgpack.packb(["nova-torch 1", purpose, *values])
    return hmac.new(key.secret, signed, hashlib.sha256).hexdigest()


def _message(message: Message) -> list[Any]:
    return [
        message.id,
        message.sender,
        message.target,
        message.body,
        str(message.priority),
        str(message.kind),
        message.correlation_id,
        message.reply_to,
        message.created_ms,
        message.expires_ms,
        sorted(message.headers.items()),
        message.schema,
    ]


def _hop(hop: Hop, node: str) -> tuple[str, list[Any]]:
    """Return the purpose and what is signed: a rejection is no receipt, not even to a version that knows none."""
    values = [node, hop.message, hop.at_ms, hop.node, str(hop.state), hop.reason, hop.final]
    return ("rejection", [*values, hop.of]) if hop.of else ("receipt", values)
