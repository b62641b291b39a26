"""One registered agent: takes over what its pane, its hooks, its API and its screen tell, and looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from nova_torch.errors import PaneNotFound
from nova_torch.values import MessageId
from noval_d.agents.condition import Condition
from noval_d.agents.opening import Opening
from noval_d.agents.prompt import Prompt, Spot, read_prompt, spot_of
from noval_d.agents.recognition import described, is_interpreter
from noval_d.agents.reports import Meaning, Report
from noval_d.agents.sight import HEAD_CHARS, echoes, look
from noval_d.agents.their_keys import TheirKeys
from noval_d.agents.transcript import Transcript
from noval_d.api.endpoint import Endpoint
from noval_d.delivery.processed import Taken, Work, judge
from noval_d.delivery.view import AgentView
from noval_d.tmux import tty
from noval_d.tmux.control import ControlClient
from noval_d.tmux.front import read_front
from noval_d.tmux.panes import Observation, PaneFacts, observe

ASKING_S = 3.0  # a permission that a hook announced shows its dialog within this, or was settled without one
RESTS_S = 0.3  # an aider reads what was typed ahead as its prompt comes back, and asks about an address in it
STILL_S = 3.0  # a working agent shows that it works; one that does not for this long has stopped
WORK = (Meaning.FINISHED, Meaning.PERMISSION, Meaning.COMPACTING)  # hooks that tell of work, not of a prompt


@dataclass(slots=True, kw_only=True)
class Agent(Condition):
    """One agent of this node: its condition, and all that changes it."""

    def __repr__(self) -> str:
        pane = self.facts.pane_id if self.facts else "no pane"
        return f"<Agent {self.spec.agent_id} {pane} {self.spec.driver} {self.state}>"

    def moved(self, facts: PaneFacts | None, server: str) -> None:
        """Take over new facts of the pane; another pane or another program forgets what hooks told."""
        self._take(facts, server)
        self.wake.set()
        self.restate()

    def _take(self, facts: PaneFacts | None, server: str) -> None:
        before, front = self.pane_key, self.front
        was_present = self.present
        self.facts, self.server = facts, server
        general = facts is not None and not facts.dead and is_interpreter(facts.command)
        self.front = read_front(facts.pid) if facts is not None and general else None
        another = front is not None and not front.is_same(self.front)
        if self.pane_key != before:
            self.their_keys = TheirKeys()
        if facts is not None:
            cursor = facts.cursor_x, facts.cursor_y
            self.their_keys = self.their_keys.saw(facts.nova_keys, cursor, self.clock())
        if self.pane_key != before or (was_present and not self.present) or another:
            self.started = self.working = self.compacting = self.was_ready = self.told_prompt = False
            self.hooked = self.asking_since = self.prompt_since = self.sight = None
            self.opening = Opening()
            self.reported_ms = self.clock_ms()
            self.prompt.away()
        if another:
            self.prompt = Prompt()
        elif facts is not None and self.pane_key != before:
            self.prompt = Prompt(read_prompt(facts.nova_prompt, facts.pid))

    def heard(self, report: Report) -> None:
        """Take over what a hook reported."""
        if report.transcript and (self.transcript is None or self.transcript.path != report.transcript):
            self.transcript = Transcript(report.transcript)
            self.handed_over()  # what stands there already is no news
        self.hooked = True
        self.limit = report.limit
        was_compacting, self.compacting = self.compacting, report.meaning is Meaning.COMPACTING
        if report.meaning not in (Meaning.NOTICE, Meaning.PERMISSION):
            self.told_at = self.clock()
        if report.meaning in WORK:
            self.worked_hook_at = self.clock()
        if report.session and report.meaning in (Meaning.PROMPT, Meaning.FINISHED):
            self.session = report.session  # one without a prompt cannot be resumed
        match report.meaning:
            case Meaning.STARTED if was_compacting:
                self.started = True  # it goes on with the turn in which it has compacted
            case Meaning.STARTED:
                self.started, self.working, self.asking_since = True, False, None
                self.started_at = self.clock()
            case Meaning.PROMPT:
                self.started, self.working, self.asking_since = True, True, None
                self.prompted, self.told_prompt = False, True
            case Meaning.FINISHED:
                self.working, self.asking_since = False, None
            case Meaning.PERMISSION:
                self.asking_since, self.dialog_shown = self.clock(), False
                self.asked = report.detail if self.api is not None else ""
            case Meaning.ENDED:
                self.started = self.working = self.was_ready = self.told_prompt = False
                self.hooked = self.asking_since = self.prompt_since = None
            case Meaning.NOTICE | Meaning.COMPACTING:
                pass
        self.wake.set()
        self.restate()

    def followed(self, api: Endpoint | None) -> None:
        """Note that its API is followed from now on, or (None) no longer: nothing that it told holds then."""
        self.api = api
        if api is None:
            self.hooked = self.asking_since = None
            self.working = self.compacting = False
            self.limit = ""
        self.wake.set()
        self.restate()

    def acknowledged(self, message: MessageId, at: float) -> None:
        """Note that it has taken a message: from now on some work should be seen."""
        if self.taken is None:
            self.taken = Taken(message=message, at=at)

    def judge_work(self, limit_s: float) -> bool:
        """Look for signs of work on what it has acknowledged; True when there were none within the limit, once."""
        before = self.taken
        if before is None:
            return False
        size = self.transcript.size() if self.transcript is not None else None
        work = Work(hook_at=self.worked_hook_at, seen_at=self.worked_seen_at, transcript_bytes=size)
        self.taken = judge(before, work, self.clock(), limit_s)
        return self.taken is not None and self.taken.warned and not before.warned

    def echoes(self, typed: str, chars: int = HEAD_CHARS) -> int:
        """Return how often `typed`, by `chars` letters of it, stood above the composer at the last look."""
        return echoes(self.driver, self.screen, typed, chars) if self.screen is not None else 0

    def handed_over(self) -> list[tuple[str, bool]]:
        """Return what the agent's transcript has added since last asked.

        Prompts that the model got within a turn, and (True) those that were taken into the agent's queue.
        """
        driver = self.driver
        if self.transcript is None or not driver.transcript_prompt:
            return []
        got = (driver.transcript_where, driver.transcript_prompt)
        queued = (driver.transcript_queued_where, driver.transcript_queued)
        kinds = (got, queued) if driver.transcript_queued else (got,)
        return [(text, bool(kind)) for kind, text in self.transcript.new_texts(*kinds)]

    async def view(self, client: ControlClient, *, to_type: bool = False) -> AgentView:
        """Look at the pane now: one control line, and the terminal's own count of unread bytes.

        Of a line-based program the line with the cursor is looked at before something is typed (`to_type`), and
        by the watcher.
        """
        seen = None
        while (facts := self.facts) is not None:
            aimed_at = self.pane_key
            seen = await observe(client, facts.pane_id, capture=to_type or self.driver.kind != "line")
            if self.pane_key != aimed_at:
                seen = None
                continue  # it moved to another pane meanwhile: what was seen is not the agent's
            # the pane with this number may have been respawned, or be no agent's any more
            if seen is None or not self._same(seen.facts, facts):
                self.moved(None, self.server)
                seen = None
            break
        if seen is None:
            return AgentView(
                driver=self.driver,
                facts=None,
                paused=self.paused,
                launching=self.launching,
                ending=self.ending,
            )
        self._take(seen.facts, self.server)
        self.seen_ms, self.looked_at = self.clock_ms(), self.clock()
        self.screen = seen.screen if self.driver.kind != "line" else None
        self.sight = look(self.driver, self.screen) if self.screen is not None else None
        if self.sight is not None:
            self.opening.saw(self.sight, self.looked_at)
            if self.sight.busy or self.sight.dialog is not None:
                self.worked_seen_at = self.looked_at
        self._follow_screen()
        self.restate()
        terminal = self._terminal(seen.facts)
        unread, buffered = terminal or (0, False)
        spot = self._spot(seen, editing=not buffered)
        return AgentView(
            driver=self.driver,
            facts=seen.facts,
            sight=self.sight,
            present=self.present,
            behind=self.behind,
            running=described(seen.facts.command, self.front.argv if self.front else ()),
            ready=self.ready(),
            opening=self.opening.lasts(self.looked_at),
            paused=self.paused,
            unread_bytes=unread,
            line_buffered=buffered,
            terminal=terminal is not None,
            spot=spot,
            at_prompt=spot is not None and self.prompt.shown(self.driver, spot),
            half_typed=self.prompt.behind(self.driver, spot, self.looked_at) if spot is not None else "",
            rested=self.rested_since is not None and self.looked_at - self.rested_since >= RESTS_S,
            working=self.working,
            asking=self.asking_since is not None,
            launching=self.launching,
            ending=self.ending,
        )

    def _spot(self, seen: Observation, *, editing: bool) -> Spot | None:
        """Return where the cursor of a line-based program stands, and let that be known of its prompt."""
        if self.driver.kind != "line" or seen.screen is None or not self.present:
            return None
        spot = spot_of(
            seen.screen, width=seen.facts.width, history_rows=seen.facts.history_rows, editing=editing
        )
        self.prompt.saw(self.driver, spot, self.looked_at)
        return spot

    def _same(self, seen: PaneFacts, known: PaneFacts) -> bool:
        return (seen.pid, seen.nova_agent, seen.nova_node) == (known.pid, self.id, known.nova_node)

    def _terminal(self, facts: PaneFacts) -> tuple[int, bool] | None:
        """Return the unread bytes and whether lines are buffered; None when the terminal cannot be asked."""
        if facts.dead:
            return 0, False
        try:
            unread = tty.unread_bytes(facts.tty)
            return unread, self.driver.kind == "line" and tty.is_line_buffered(facts.tty)
        except (PaneNotFound, OSError):
            return None  # it ended between the look and this, or is not ours to open

    def unread_bytes(self, facts: PaneFacts) -> int:
        """Return how many bytes of its terminal it has not read yet; 0 where that cannot be asked."""
        return (self._terminal(facts) or (0, False))[0]

    def _follow_screen(self) -> None:
        sight, now = self.sight, self.clock()
        if sight is None:
            return
        if sight.composer is None or sight.busy:
            self.rested_since = None
        elif self.rested_since is None:
            self.rested_since = now
        at_work = sight.busy and self.driver.busy_cursor_hidden  # its input box is gone meanwhile
        if (sight.composer is None and not at_work) or not self.present:
            self.prompt_since = None
        elif self.prompt_since is None:
            self.prompt_since = now
        if self.working and sight.composer is not None and not sight.busy:
            self.still_since = now if self.still_since is None else self.still_since
            if now - self.still_since > STILL_S:
                self.working = False  # a turn that was broken off (Escape) reports no end
        else:
            self.still_since = None
        if sight.dialog is not None:
            self.dialog_shown = True
        elif self.asking_since is not None and sight.composer is not None:
            shown_and_gone = self.dialog_shown
            if shown_and_gone or now - self.asking_since > ASKING_S:
                self.asking_since = None
