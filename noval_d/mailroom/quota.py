"""Count what each sender has open and sends, and say when it is too much. Held in memory; `load` brings it back."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nova_torch.errors import LimitReached
from nova_torch.sections import LimitsSection
from nova_torch.values import AgentId, HoldReason, Hop, Message, MessageId, State
from noval_d.delivery.gate import Hold

MINUTE_S = 60.0
SENDERS = 4096
"""Of so many senders the last minute is remembered; then those who were silent are forgotten."""


@dataclass(slots=True)
class Window:
    """When, by a monotonic clock, the messages of one sender within the last minute were counted."""

    at: deque[tuple[float, MessageId]] = field(default_factory=deque)

    def wait_s(self, now: float, limit: int) -> float:
        """Return how long until one more is within the limit; 0: it is now."""
        while self.at and now - self.at[0][0] >= MINUTE_S:
            self.at.popleft()
        return 0.0 if len(self.at) < limit else self.at[len(self.at) - limit][0] + MINUTE_S - now


class Windows:
    """The last minute of every sender."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of: dict[str, Window] = {}

    def wait_s(self, sender: str, limit: int) -> float:
        """Return how long until one more of `sender` is within the limit a minute; 0: it is now."""
        window = self._of.get(sender)
        return window.wait_s(self._clock(), limit) if window is not None else 0.0

    def has(self, sender: str, message: MessageId) -> bool:
        """Tell whether a message of the last minute was counted."""
        window = self._of.get(sender)
        return window is not None and any(known == message for _, known in window.at)

    def count(self, sender: str, message: MessageId) -> None:
        """Count one more."""
        if len(self._of) >= SENDERS and sender not in self._of:
            now = self._clock()
            self._of = {name: w for name, w in self._of.items() if w.at and now - w.at[-1][0] < MINUTE_S}
        self._of.setdefault(sender, Window()).at.append((self._clock(), message))


class Quota:
    """What senders have open in this node's outbox, and how fast they send.

    `still_open` tells of a message of this outbox whether it is not final.
    """

    def __init__(
        self,
        limits: Callable[[], LimitsSection],
        clock: Callable[[], float],
        still_open: Callable[[MessageId], Message | None],
    ) -> None:
        self._limits = limits
        self._still_open = still_open
        self._sent = Windows(clock)
        self._delivered = Windows(clock)
        self._open: dict[MessageId, tuple[str, AgentId]] = {}
        self._by_sender: Counter[str] = Counter()
        self._by_pair: Counter[tuple[str, AgentId]] = Counter()

    def __repr__(self) -> str:
        return f"<Quota open={len(self._open)} senders={len(self._by_sender)}>"

    # -- where messages are accepted --

    def load(self, known: Iterable[tuple[Message, AgentId]]) -> None:
        """Count what was open before the start."""
        for message, agent in known:
            self._add(message, agent)

    def take(self, message: Message, agent: AgentId) -> None:
        """Count a message that is about to be accepted. Raises LimitReached, saying when to try again."""
        limits, sender = self._limits(), message.sender
        if limits.sender_open and self._by_sender[sender] >= limits.sender_open:
            raise LimitReached(
                f"{sender} has {self._by_sender[sender]} messages without a verdict (limits.sender_open).",
                "Try again when some are delivered: novactl status",
            )
        if limits.pair_open and self._by_pair[sender, agent] >= limits.pair_open:
            raise LimitReached(
                f"{sender} has {self._by_pair[sender, agent]} messages for {agent} without a verdict"
                " (limits.pair_open).",
                f"Try again when some are delivered; what holds them: novactl peek {agent}",
            )
        if limits.sender_per_minute and (wait_s := self._sent.wait_s(sender, limits.sender_per_minute)) > 0:
            raise LimitReached(
                f"{sender} has sent {limits.sender_per_minute} messages within a minute"
                " (limits.sender_per_minute).",
                f"Try again in {wait_s:.0f} s." if wait_s >= 1 else "Try again in a second.",
            )
        self._add(message, agent)
        if limits.sender_per_minute:
            self._sent.count(sender, message.id)

    def give_back(self, message: MessageId) -> None:
        """Count a message no longer as open: it is final, or was not accepted after all."""
        found = self._open.pop(message, None)
        if found is None:
            return
        self._by_sender[found[0]] -= 1
        self._by_pair[found] -= 1
        if not self._by_sender[found[0]]:
            del self._by_sender[found[0]]
        if not self._by_pair[found]:
            del self._by_pair[found]

    def heard(self, hop: Hop, agent: AgentId) -> None:
        """Follow what becomes of the messages of this outbox."""
        if hop.final:
            self.give_back(hop.message)
        elif hop.state is State.QUEUED and hop.message not in self._open:
            message = self._still_open(hop.message)  # ordered again, or scheduled, or bridged
            if message is not None:
                self._add(message, agent)

    def _add(self, message: Message, agent: AgentId) -> None:
        if message.id in self._open:
            return
        self._open[message.id] = (message.sender, agent)
        self._by_sender[message.sender] += 1
        self._by_pair[message.sender, agent] += 1

    # -- where messages are delivered --

    def hold(self, message: Message) -> Hold | None:
        """Return why a message that was not accepted here waits: its sender is too fast."""
        limit, sender = self._limits().sender_per_minute, message.sender
        if not limit or self._delivered.has(sender, message.id):
            return None
        wait_s = self._delivered.wait_s(sender, limit)
        if wait_s > 0:
            return Hold(
                HoldReason.RATE_LIMITED,
                f"{sender} has sent {limit} messages within a minute (limits.sender_per_minute);"
                f" goes on in {wait_s:.0f} s",
                wait_s,
            )
        self._delivered.count(sender, message.id)
        return None

    def crowd(self, message: Message, agent: AgentId, in_hand: Iterable[Message]) -> str:
        """Return why one more message from elsewhere is not taken beside those in hand; empty: it is."""
        most = self._limits().pair_open
        if not most or sum(other.sender == message.sender for other in in_hand) < most:
            return ""
        return f"{most} messages of {message.sender} wait for {agent} already (limits.pair_open)"
