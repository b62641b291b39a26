"""One message in the hands of this node: where it came from and how far it got. State only."""

from __future__ import annotations

from dataclasses import dataclass, field

from nova_torch.broker import Entry
from nova_torch.values import AgentId, Message, State
from noval_d.delivery import proof
from noval_d.mailroom.ledger import Entry as LedgerEntry
from noval_d.mailroom.ledger import Phase
from noval_d.tmux.front import Front

OTHERS = 16  # prompts between two looks
OTHER_CHARS = 4096  # more than an input box shows


@dataclass(slots=True, kw_only=True)
class Item:
    """A message that is not settled. `entries` are its places in the agent's mailbox."""

    message: Message
    agent: AgentId
    arrival: int
    phase: Phase = Phase.RECEIVED
    attempt: int = 0
    pane: str = ""
    """Key of the pane that its paste was aimed at."""
    entries: list[Entry] = field(default_factory=list)
    typed: str = ""
    """The text as it was pasted; what a hook's prompt is matched with."""
    acknowledged: bool = False
    acknowledged_at: float = 0.0
    beside: str = ""
    """That its prompt held more than messages, for people."""
    arrived_at: float = 0.0
    entered_at: float = 0.0
    front: Front | None = None
    """Who led the foreground at its paste, where that was asked."""
    elsewhere: bool = False
    """A piece of its text was in a prompt since its paste that did not prove it."""
    losses: int = 0
    """How often the agent lost its paste, and it was given back to be typed again."""
    backs: int = 0
    """How often it was taken back from beside somebody else's text."""
    theirs: str = ""
    """What stood beside it when keys were last pressed to take it back, without white space."""
    alone: bool = False
    """A prompt of that and nothing else was told of since."""
    told_others: tuple[str, ...] = ()
    """Prompts without a piece of it that were told of since the last look, without white space."""
    queued_others: tuple[str, ...] = ()
    """The same of what the agent took into its queue."""
    shown_before: int = 0
    """How often its text stood above the composer at its paste."""
    echoes: int | None = None
    """How often its text stood above the composer when Enter was pressed."""
    told: tuple[str, str] = ("", "")
    """State and reason that its sender was last told."""
    written: bool = False
    """The ledger has a row for it."""
    refusals: int = 0
    """How often the guard refused a paste that the gate had allowed."""
    begun: bool = False
    """It is being written down that it is typed: it is not given back any more."""
    pasting: bool = False
    """Its paste is on its way: no prompt can be its own yet."""
    asked_at: float | None = None
    """When it was asked last whether it is still meant for its agent."""
    settling: bool = False
    """Its verdict is being written."""
    defects: int = 0
    """How often something of ours failed with it in hand that is no known kind of failure."""

    def __repr__(self) -> str:
        return f"<Item {self.message.id} {self.phase} attempt={self.attempt} told={self.told[0]}>"

    @property
    def token(self) -> str:
        """The marker that the paste of this attempt leaves in the pane."""
        return f"{self.message.id}.{self.attempt}"

    def heard(self, prompt: str, typed: str, *, cut: bool) -> None:
        """Note what a prompt that does not prove it says of it, `typed` as it was or would be pasted."""
        piece, shown = cut or proof.has_piece(prompt, typed), proof.collapsed(prompt)
        self.elsewhere = self.elsewhere or piece
        self.alone = self.alone or shown == self.theirs != ""
        if not piece and len(shown) <= OTHER_CHARS:
            self.told_others = (*self.told_others, shown)[-OTHERS:]

    def heard_queued(self, prompt: str) -> None:
        """Note what a prompt in the agent's queue says of it: it proves nothing yet."""
        shown = proof.collapsed(prompt)
        if proof.has_piece(prompt, self.typed):
            self.elsewhere = True
        elif len(shown) <= OTHER_CHARS:
            self.queued_others = (*self.queued_others, shown)[-OTHERS:]

    def overheard(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the prompts of others that were told of, and those that were queued, since this was asked last."""
        others = self.told_others, self.queued_others
        self.told_others = self.queued_others = ()
        return others

    def went_in_beside(self, prompt: str) -> bool:
        """Tell whether a prompt holds it, and more, although it was seen to be taken back."""
        waits = self.phase is Phase.RECEIVED and self.backs > 0 and not self.begun
        return waits and proof.matched(prompt, [self.typed]).beside

    @property
    def order(self) -> tuple[bool, int, int]:
        """Sort key: what may be typed already first, then by priority, then as it came."""
        return (self.phase is not Phase.TYPING, self.message.priority.rank, self.arrival)


def restored(entry: LedgerEntry) -> Item:
    """Return a message as the ledger knows it."""
    told = entry.state is State.ACKNOWLEDGED
    return Item(
        message=entry.message,
        agent=entry.agent,
        arrival=0,
        phase=entry.phase,
        attempt=entry.attempt,
        pane=entry.pane,
        acknowledged=told,
        beside=entry.reason if told else "",
        written=True,
    )
