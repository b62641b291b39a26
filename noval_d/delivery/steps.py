"""Decide the next step after a paste into a composer: wait, space, Enter, or a verdict. No I/O, no clock.

The rules are DELIVERY 3 and 4. In short: Enter only while our text is positively in the composer, no dialog is
open, and the agent had input so recently that it puts off drawing a dialog; a verdict only on proof.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nova_torch.values import State
from noval_d.agents.driver import Driver
from noval_d.delivery import back, lost
from noval_d.delivery.back import Back, Taking
from noval_d.delivery.lost import Erase, Probe

MAX_ENTERS = 3
MAX_SPACES = 8
MAX_LOSSES = 3  # of 8 that fell into the keys of somebody who types without end one was lost twice
RETRY_ENTER_S = 1.2  # how long an Enter may take to show before it counts as swallowed
EMPTIED_S = 0.15  # an empty composer for this long after Enter is the proof of DELIVERY 4.2
STAYED_S = 0.5  # an echo above a composer that keeps the text for this long: sent, and left behind
PATIENCE_S = 30.0  # the same where no second Enter is pressed anyway: opencode opens its session first
STAYS_S = 10.0  # how long a busy agent may take to show what became of a text that stays
SWALLOWED_S = 0.5  # an empty composer for this long after a dialog closed: the dialog ate the paste
VANISHED_S = 10.0  # how long a hook may come after the text left the composer before our Enter
NEVER_SEEN = "the text never appeared in the input box"
MIXED = "mixed"  # why it waits: somebody else's text stands in the input box together with ours
TAKEN_UNSEEN = "it was being taken back from beside somebody else's text, and what became of it was not seen"
MIXED_GONE = "somebody else typed into the same line, and it left the input box without our Enter"
LOOK_S = 0.006  # between two looks while something is about to happen
MIXED_LOOK_S = 0.05  # between two looks while somebody else's text stands beside ours
IDLE_LOOK_S = 0.1  # between two looks while a person has to act


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the driver says of the timing; seconds."""

    settle_s: float
    enter_window_s: float
    space_wait_s: float
    landed_within_s: float
    defers_dialogs: bool
    queues: bool = True
    """It takes text while it works; one that does not is not sent an Enter then, either."""
    hides: bool = False
    """The agent has no composer while it works: one that goes away with an Enter was submitted."""
    unsent_if_kept: bool = False
    retypes_lost: bool = False
    """What was typed before a space that is seen to work has been acted on, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one message got since its paste; monotonic seconds."""

    pasted_at: float
    read_at: float | None = None
    """Since when the agent has read our text, and its composer has been there to show it."""
    landed_at: float | None = None
    enters: int = 0
    entered_at: float | None = None
    spaces: int = 0
    spaced_at: float | None = None
    gone_at: float | None = None
    """Since when the composer has been there without our text."""
    dialog_seen: bool = False
    calm: bool = True
    """No dialog came and no time was lost since the paste: the first Enter needs no space before it."""
    busy_seen: bool = False
    """The agent worked when Enter was pressed or since: a text that stays in the composer may be sent."""
    echoed_at: float | None = None
    mixed: bool = False
    """Somebody else's text was seen in the composer together with ours."""
    resumed: bool = False
    """The paste was made by a daemon that has died; what happened since is not known."""
    losses: int = 0
    """How many pastes of it were lost before this one."""
    missing: bool = False
    """It should have shown long ago: whether it is lost is being found out."""
    probing: lost.Probing | None = None
    theirs: lost.Theirs | None = None
    taking: Taking | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the pane shows."""

    here: bool
    """Our text (or its `[Pasted …]` stand-in) is in the composer."""
    composer: str | None
    dialog: bool
    mixed: bool = False
    """Something else that was typed stands in the composer together with our text."""
    unread_bytes: int = 0
    running: bool = True
    """The pane is the same, alive, and the agent is in the foreground."""
    reading: bool = False
    """Somebody reads in copy mode, or the input is off."""
    acknowledged: bool = False
    hooked: bool = False
    """The agent's prompt hook is known to work."""
    busy: bool = False
    pending: bool = False
    """It shows texts that were sent and that it has not taken yet."""
    echoed: bool = False
    """Our text stands above the composer once more than before Enter: it was sent, or queued there."""
    column: int | None = None
    """Where the cursor is."""
    tells: bool = False
    """Its prompt hook was heard since it started."""
    elsewhere: bool = False
    """A piece of our text was in a prompt since the paste, or stands above the composer as it did not before."""
    idle: bool = False
    """Neither its screen nor its hooks tell of a turn."""
    back: Back | None = None
    """How our text can be taken out from beside somebody else's."""
    alone: bool = False
    """A prompt of theirs without ours was told of since that was begun."""
    told: tuple[str, ...] = ()
    """The prompts without a piece of ours that were told of since the last look; no white space in them."""
    queued: tuple[str, ...] = ()
    """The same of what the agent took into its queue."""
    piece: bool = False
    """The box holds a piece of our text, at least."""
    undrawn: bool = False
    """Somebody else has sent keys, and what they type may not be drawn yet."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after `seconds`, or earlier when a hook reports. `why` is for people."""

    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """Type one space: input makes the agent put off its dialogs again."""


@dataclass(frozen=True, slots=True)
class Enter:
    """Press Enter, guarded."""


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Take our text out from beside somebody else's."""

    back: Back


@dataclass(frozen=True, slots=True)
class Again:
    """The paste was swallowed whole, or taken back; nothing of it is left: type it anew."""

    lost: bool = False
    """No dialog was there: the agent lost it."""
    taken: bool = False
    """We took it back."""


@dataclass(frozen=True, slots=True)
class Done:
    """The verdict."""

    state: State
    reason: str = ""


Step = Wait | Space | Enter | TakeBack | Probe | Erase | Again | Done


def rules_of(driver: Driver) -> Rules:
    """Return the timing that a driver asks for."""
    return Rules(
        settle_s=driver.settle_s,
        enter_window_s=driver.enter_window_s,
        space_wait_s=driver.space_wait_s,
        landed_within_s=driver.landed_within_s,
        defers_dialogs=driver.defers_dialogs,
        queues=driver.queues_while_busy,
        hides=driver.busy_cursor_hidden,
        unsent_if_kept=driver.unsent_if_kept,
        retypes_lost=driver.retypes_lost,
    )


def entered(progress: Progress, now: float, *, busy: bool) -> Progress:
    """Return the progress after an Enter that tmux confirmed; `busy`: the agent worked then."""
    return replace(
        progress,
        enters=progress.enters + 1,
        entered_at=now,
        spaced_at=None,
        gone_at=None,
        echoed_at=None,
        calm=False,
        busy_seen=progress.busy_seen or busy,
    )


def spaced(progress: Progress, now: float) -> Progress:
    """Return the progress after a space that tmux confirmed; `now` is when it was sent."""
    return replace(progress, spaces=progress.spaces + 1, spaced_at=now)


def probed(progress: Progress, look: Look, now: float) -> Progress:
    """Return the progress after the space of a `Probe` that tmux confirmed; `now` is when it was sent."""
    return replace(progress, probing=lost.probed(look, now))


def erased(progress: Progress, now: float) -> Progress:
    """Return the progress after an `Erase` that tmux confirmed."""
    probing = progress.probing
    return replace(progress, probing=lost.erased(probing, now) if probing is not None else None)


def untouched(progress: Progress, look: Look) -> bool:
    """Tell whether our text certainly stands in the composer as it was pasted, with no Enter of ours."""
    return look.here and progress.enters == 0 and not progress.resumed


def next_step(rules: Rules, progress: Progress, look: Look, now: float) -> tuple[Progress, Step]:
    """Return the progress with what `look` adds to it, and what to do at `now`."""
    if look.acknowledged:
        return progress, Done(State.ACKNOWLEDGED)
    progress = _noted(progress, look, now)
    if not look.running:
        return progress, Done(State.UNCONFIRMED, "the agent ended before the delivery was proven")
    if look.unread_bytes > 0:
        probing = lost.unread(progress.probing, now)
        return replace(progress, gone_at=None, probing=probing), Wait(LOOK_S, "not_reading")
    taken = rules.hides and progress.enters > 0
    if look.dialog or (look.composer is None and not taken):
        seen = progress.dialog_seen or (look.dialog and not progress.missing)
        return replace(progress, dialog_seen=seen, calm=False, spaced_at=None, gone_at=None), Wait(
            IDLE_LOOK_S, "dialog"
        )
    if look.reading:
        return replace(progress, calm=False, spaced_at=None), Wait(IDLE_LOOK_S, "copy_mode")
    taking = progress.taking
    if taking is not None and not (look.here and now - taking.sent_at >= back.SHOWS_S):
        return _taken_back(rules, progress, back.seen(taking, look.composer, now), look, now)
    if look.here:
        landed_at = now if progress.landed_at is None else progress.landed_at
        mixed = progress.mixed or look.mixed
        progress = replace(progress, landed_at=landed_at, gone_at=None, mixed=mixed)
        if look.back is not None and taking is None and _may_take_back(progress, look):
            return progress, TakeBack(look.back)  # at once: their Enter may come any moment
        progress, step = _landed(rules, progress, look, now)
        if look.mixed and isinstance(step, Enter | Space):
            # our Enter would send what somebody else has not finished
            return replace(progress, calm=False, spaced_at=None), Wait(MIXED_LOOK_S, MIXED)
        if look.undrawn and isinstance(step, Enter | Space):
            return progress, Wait(LOOK_S)
        return progress, step
    gone_at = now if progress.gone_at is None else progress.gone_at
    return _gone(rules, replace(progress, gone_at=gone_at), look, now)


def _noted(progress: Progress, look: Look, now: float) -> Progress:
    """Return the progress with what any look may add to it."""
    if look.composer is None:
        progress = replace(progress, read_at=None)
    elif progress.read_at is None and look.unread_bytes == 0:
        progress = replace(progress, read_at=now)
    if progress.missing:
        progress = replace(progress, theirs=lost.overheard(progress.theirs, look, now))
    return progress


def _may_take_back(progress: Progress, look: Look) -> bool:
    """Tell whether nothing but our paste can have happened to our text, and a prompt with it would be told of."""
    return look.tells and not (progress.enters or progress.resumed or progress.dialog_seen)


def _taken_back(
    rules: Rules, progress: Progress, taking: Taking, look: Look, now: float
) -> tuple[Progress, Step]:
    """The keys that take our text back were pressed: see theirs without it, or find out where it is."""
    if look.here:
        return replace(progress, gone_at=None), Wait(LOOK_S, MIXED)
    gone_at = now if progress.gone_at is None else progress.gone_at
    progress = replace(progress, taking=taking, gone_at=gone_at, mixed=True)
    if look.elsewhere:  # theirs has sent both before it could be taken back: a hook will say so
        return _gone(rules, progress, look, now)
    if taking.seen_at is None and look.alone and progress.probing is None:
        return progress, Again(taken=True)
    if taking.seen_at is None:
        waits = now - taking.sent_at < back.TELLS_S
        return (progress, Wait(LOOK_S, MIXED)) if waits else _never_seen(rules, progress, look, now)
    if now - taking.seen_at < back.RESTS_S:
        return progress, Wait(LOOK_S, MIXED)
    return progress, Again(taken=True)


def _landed(rules: Rules, progress: Progress, look: Look, now: float) -> tuple[Progress, Step]:
    """Our text is in the composer and nothing is in the way: bring it to Enter by the rules."""
    if progress.entered_at is not None and progress.spaced_at is None:
        return _entered_and_here(rules, progress, look, now, progress.entered_at)
    if look.busy and not rules.queues:
        return replace(progress, calm=False, spaced_at=None), Wait(IDLE_LOOK_S, "busy")
    if progress.spaced_at is not None:
        return progress, _after_space(rules, progress, progress.spaced_at, now)
    assert progress.landed_at is not None
    settled_at = progress.landed_at + rules.settle_s
    if now < settled_at:
        return progress, Wait(settled_at - now)
    fresh = progress.calm and not progress.resumed and now - progress.pasted_at <= rules.enter_window_s
    if fresh or not rules.defers_dialogs:
        return progress, Enter()
    return progress, Space()


def _entered_and_here(
    rules: Rules, progress: Progress, look: Look, now: float, entered_at: float
) -> tuple[Progress, Step]:
    """Enter was pressed and our text is still there: swallowed, sent and left behind, or given back unsent."""
    if rules.unsent_if_kept and rules.defers_dialogs:
        if now - entered_at < RETRY_ENTER_S:
            return progress, Wait(LOOK_S)
        if progress.enters >= MAX_ENTERS:
            return progress, Done(State.UNCONFIRMED, "the input box still holds the text after Enter")
        return progress, Space()
    busy_seen = progress.busy_seen or look.busy
    echoed_at = (progress.echoed_at or now) if look.echoed else None
    progress = replace(progress, busy_seen=busy_seen, echoed_at=echoed_at)
    if echoed_at is not None and now - echoed_at >= STAYED_S:
        return progress, Done(State.SUBMITTED)
    waited = now - entered_at
    if waited < RETRY_ENTER_S or look.echoed:
        return progress, Wait(LOOK_S)
    if waited < (PATIENCE_S if not rules.defers_dialogs else STAYS_S if busy_seen else 0.0):
        return progress, Wait(IDLE_LOOK_S)
    if busy_seen or progress.enters >= MAX_ENTERS or not rules.defers_dialogs:
        return progress, Done(State.UNCONFIRMED, "the input box still holds the text after Enter")
    return progress, Space()


def _after_space(rules: Rules, progress: Progress, spaced_at: float, now: float) -> Step:
    waited = now - spaced_at
    if waited < rules.space_wait_s:
        return Wait(rules.space_wait_s - waited)
    if waited <= rules.enter_window_s:
        return Enter()
    if progress.spaces >= MAX_SPACES:
        return Done(State.UNCONFIRMED, "the machine is too slow to press Enter safely")
    return Space()


def _gone(rules: Rules, progress: Progress, look: Look, now: float) -> tuple[Progress, Step]:
    """The composer is there without our text: submitted, swallowed, or not to be seen yet."""
    assert progress.gone_at is not None
    gone_for = now - progress.gone_at
    if progress.enters > 0:
        if look.pending:
            return replace(progress, gone_at=None), Wait(IDLE_LOOK_S, "busy")
        # after a dialog a text that was not taken yet is given back a moment later
        if gone_for >= (SWALLOWED_S if progress.dialog_seen else EMPTIED_S):
            return progress, Done(State.SUBMITTED)
        return progress, Wait(LOOK_S)
    if progress.mixed:
        if gone_for >= (VANISHED_S if look.hooked else SWALLOWED_S):
            return progress, Done(State.UNCONFIRMED, MIXED_GONE)
        return progress, Wait(IDLE_LOOK_S, MIXED)
    if progress.landed_at is not None or progress.resumed:
        if gone_for >= (VANISHED_S if look.hooked else SWALLOWED_S):
            return progress, Done(State.UNCONFIRMED, "the text left the input box before Enter was pressed")
        return progress, Wait(IDLE_LOOK_S)
    if progress.dialog_seen and look.composer == "" and gone_for >= SWALLOWED_S:
        return progress, Again()
    if progress.dialog_seen and gone_for >= rules.landed_within_s:
        return progress, Done(State.UNCONFIRMED, "after a dialog the input box shows another text")
    missing = progress.missing or gone_for >= rules.landed_within_s
    if (
        rules.retypes_lost and progress.read_at is not None
    ):  # keys of theirs that are unread say nothing of ours
        missing = missing or now - progress.read_at >= rules.landed_within_s
    if missing and not progress.dialog_seen:
        return _never_seen(rules, progress, look, now)
    return progress, Wait(LOOK_S)


def _never_seen(rules: Rules, progress: Progress, look: Look, now: float) -> tuple[Progress, Step]:
    """The text should have been in the composer long ago: lost for good, or nobody knows where it is."""
    nowhere = Done(State.UNCONFIRMED, NEVER_SEEN if progress.taking is None else TAKEN_UNSEEN)
    if not rules.retypes_lost or progress.losses >= MAX_LOSSES:
        return progress, nowhere
    theirs = progress.theirs or lost.overheard(None, look, now)
    probing, found = lost.judge(progress.probing, theirs, look, now, now - progress.pasted_at)
    progress = replace(progress, missing=True, probing=probing, theirs=theirs)
    match found:
        case lost.Doubt():
            return progress, nowhere
        case lost.Lost():
            return progress, Again(lost=True)
        case lost.Patience(seconds, why):
            return progress, Wait(seconds, why)
    return progress, found
