"""Seal what this node writes into the broker; of what it reads there, take only what a node of the fleet sealed.

What is not taken was written by who knows whom: it changes no state here, not even that of a message whose id it
bears. It is counted, an event, a line of the audit log, and a finding of `doctor`; and the node that it names as
its sender's is told by a rejection, which that one takes for its own message only by its bytes (`rejections.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nova_torch.codec import (
    decode_signed,
    decode_signed_hop,
    encode_hop,
    encode_message,
)
from nova_torch.sections import SigningSection
from nova_torch.signing import Keyring, Problem
from nova_torch.values import Hop, Message, NodeId

log = logging.getLogger("nova.seals")

SHOWN_MS = 3_600_000
"""How long what was not sealed is a warning."""


class Unproven(Exception):
    """What was read from the broker is not the word of a node of the fleet, and must be. `reason` says why.

    `message` is what it says, if it says it is a message: of whom, only its writer knows.
    """

    def __init__(self, reason: str, message: Message | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


@dataclass(slots=True)
class Tally:
    """What was not sealed as it should be since the start, and the last of it."""

    count: int = 0
    at_ms: int = 0
    what: str = ""


Rejected = Callable[..., None]
"""Write a line of the audit log: what, and target, message, sender, code by name."""


class Seals:
    """The keys of the fleet at work, and what they showed."""

    def __init__(
        self,
        node: NodeId,
        section: SigningSection,
        keyring: Keyring,
        *,
        clock_ms: Callable[[], int],
        publish: Callable[[dict[str, Any]], None],
        rejected: Rejected,
    ) -> None:
        self._node = node
        self._section = section
        self._keyring = keyring
        self._clock_ms = clock_ms
        self._publish = publish
        self._rejected = rejected
        self.tally = Tally()

    def __repr__(self) -> str:
        return f"<Seals {self._section.mode} {len(self._keyring.keys)} keys unproven={self.tally.count}>"

    @property
    def mode(self) -> str:
        """`off`, `warn` or `require`."""
        return self._section.mode

    @property
    def signs(self) -> bool:
        """Whether what goes out is signed."""
        return bool(self._keyring)

    @property
    def strict(self) -> bool:
        """Whether what is not sealed is not taken."""
        return self._section.mode == "require"

    def configure(self, section: SigningSection, keyring: Keyring) -> None:
        """Go on with other keys, or another mode."""
        self._section, self._keyring = section, keyring

    # -- messages --

    def message(self, message: Message, envelope: bytes) -> bytes:
        """Return the envelope as it goes into a mailbox."""
        return encode_message(message, self._keyring.sign_message(message)) if self._keyring else envelope

    def opened(self, raw: bytes, mailbox: str) -> Message:
        """Return the message that lies in `mailbox`. Raises InvalidRequest, Unproven."""
        message, signature = decode_signed(raw)
        if self._section.mode != "off":
            problem = self._keyring.check_message(message, signature, mailbox)
            try:
                self._judge(problem, "message", mailbox, message.id, message.sender)
            except Unproven as error:
                raise Unproven(error.reason, message) from None
        return message

    def out_of_time(self, message: Message) -> str:
        """Return why a message that is sealed, and new here, is too old or too new to be taken; empty: it is not.

        The ledger knows what came within `state.keep_days`; a shorter `max_age_s` is for who wants no late message.
        """
        if not self.strict:
            return ""
        age_s = (self._clock_ms() - message.created_ms) / 1000
        if self._section.max_age_s and age_s > self._section.max_age_s:
            return f"it is {age_s:.0f} s old (signing.max_age_s is {self._section.max_age_s:g})"
        if -age_s > self._section.max_skew_s:
            return (
                f"its time is {-age_s:.0f} s ahead of this node's clock (signing.max_skew_s is"
                f" {self._section.max_skew_s:g}): the clocks differ"
            )
        return ""

    # -- receipts --

    def receipt(self, node: NodeId, hop: Hop) -> bytes:
        """Return a receipt as it goes into the mail of `node`."""
        return encode_hop(hop, self._keyring.sign_receipt(hop, node))

    def opened_receipt(self, raw: bytes) -> Hop:
        """Return a receipt from this node's mail. Raises InvalidRequest, Unproven."""
        hop, signature = decode_signed_hop(raw)
        if self._section.mode != "off":
            problem = self._keyring.check_receipt(hop, signature, self._node)
            self._judge(problem, "receipt", self._node, hop.message, hop.node)
        return hop

    # -- schedules --

    def sign(self, purpose: str, *values: Any) -> str:
        """Sign anything else; empty without a key."""
        return self._keyring.sign(purpose, values)

    def check(self, signature: str, purpose: str, *values: Any, target: str, named: str, sender: str) -> None:
        """Raise Unproven when `values` are not sealed and must be."""
        if self._section.mode != "off":
            self._judge(self._keyring.check(signature, purpose, values), purpose, target, named, sender)

    # -- what is not sealed --

    def _judge(self, problem: Problem, what: str, target: str, named: str, sender: str) -> None:
        if problem is Problem.NONE:
            return
        tally, strict = self.tally, self.strict
        tally.count += 1
        tally.at_ms = self._clock_ms()
        tally.what = f"a {what} for {target}: {problem.explained}"
        if tally.count & (tally.count - 1) == 0:  # the 1st, 2nd, 4th, ...: nobody fills the disk this way
            log.warning(
                "seals.unproven",
                extra={"what": what, "target": target, "id": named, "problem": problem, "count": tally.count},
            )
        code = problem.value if strict else f"taken_{problem.value}"
        self._rejected(what, target=target, message=named, sender=sender, code=code)
        self._publish(
            {
                "at_ms": tally.at_ms,
                "event": "broker.unproven",
                "id": named,
                "agent": target,
                "state": "rejected" if strict else "taken",
                "reason": problem.value,
                "node": self._node,
                "sender": sender,
                "what": what,
            }
        )
        if strict:
            raise Unproven(problem.explained)
