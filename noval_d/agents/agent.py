"""One registered agent: where its pane is, what its hooks and its screen last told. State, and how to look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nova_torch.errors import PaneNotFound
from nova_torch.values import AgentId, AgentSpec, AgentState, MessageId
from noval_d.agents.attention import Attention, attention
from noval_d.agents.driver import Driver
from noval_d.agents.readiness import past_start
from noval_d.agents.recognition import described, is_interpreter, is_present
from noval_d.agents.reports import Meaning, Report
from noval_d.agents.sight import Sight, echoes, look
from noval_d.agents.states import Signs, Source, Standing, Transition, stand
from noval_d.agents.transcript import Transcript
from noval_d.api.endpoint import Endpoint
from noval_d.delivery.processed import Taken, Work, judge
from noval_d.delivery.view import AgentView
from noval_d.tmux import tty
from noval_d.tmux.control import ControlClient
from noval_d.tmux.front import Front, read_front
from noval_d.tmux.panes import PaneFacts, observe
from noval_d.tmux.screen import Screen

ASKING_S = 3.0  # a permission that a hook announced shows its dialog within this, or was settled without one
STILL_S = 3.0  # a working agent shows that it works; one that does not for this long has stopped
OVERRULES_S = 0.3  # a screen is drawn anew within this after the hook that told of a change

SHOWS_WORK_S = 10.0  # so long an agent that has taken a message is looked at often: a turn may be short
WORK = (Meaning.FINISHED, Meaning.PERMISSION, Meaning.COMPACTING)  # hooks that tell of work, not of a prompt

UNKNOWN = Standing(state=AgentState.STARTING, source=Source.TMUX)


@dataclass(slots=True, kw_only=True)
class Agent:
    """One agent of this node. Changes only on the loop."""

    spec: AgentSpec
    driver: Driver
    clock: Callable[[], float]
    clock_ms: Callable[[], int]
    facts: PaneFacts | None = None
    front: Front | None = None
    """Who leads the foreground of its pane, where the command alone does not say who that is."""
    server: str = ""
    """Identity of the tmux server that `facts` came from."""
    paused: bool = False
    launching: bool = False
    """It is being started: what is in front of its pane now is not yet the agent."""
    ending: bool = False
    """It is being ended by order: nothing more is typed into it."""
    session: str = ""
    """Its own conversation, once its hooks have told of a prompt in it."""
    hooked: bool | None = None
    """Whether the agent's hooks report; None until one did, or one should have and did not."""
    api: Endpoint | None = None
    """Its own HTTP API, while its events are followed: they are its hooks then."""
    started: bool = False
    started_at: float = -1e9
    """When its hook told of its start."""
    working: bool = False
    asking_since: float | None = None
    asked: str = ""
    """What it asks for, as its API told."""
    limit: str = ""
    """What its API told of a usage limit that is reached."""
    dialog_shown: bool = False
    compacting: bool = False
    prompt_since: float | None = None
    was_ready: bool = False
    """Its start is over: a dialog that hides the input box for a while begins none."""
    still_since: float | None = None
    """Since when the screen has shown no work although the hooks said that there is some."""
    standing: Standing = UNKNOWN
    state_since_ms: int = 0
    attention: Attention | None = None
    attention_since_ms: int = 0
    typing: bool = False
    """This node has text of a message in the input box."""
    told_at: float = -1e9
    """When a hook last told what the agent does: a look before that says nothing any more."""
    seen_ms: int = 0
    sight: Sight | None = None
    screen: Screen | None = None
    transcript: Transcript | None = None
    looked_at: float = -1e9
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    taken: Taken | None = None
    """The first message that it has acknowledged and of which no work was seen yet."""
    worked_hook_at: float = -1e9
    worked_seen_at: float = -1e9
    hands: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever presses keys in the pane: a delivery, or an answer to a dialog."""
    waiting: Callable[[], int] = lambda: 0
    """How many messages are in hand for it."""
    tell: Callable[[Transition | Attention | None], None] = lambda _news: None
    """Called with each change of its state, and of what it needs a person for (None: nothing any more)."""

    def __repr__(self) -> str:
        pane = self.facts.pane_id if self.facts else "no pane"
        return f"<Agent {self.spec.agent_id} {pane} {self.spec.driver} {self.state}>"

    @property
    def id(self) -> AgentId:
        """The agent's name."""
        return self.spec.agent_id

    @property
    def state(self) -> AgentState:
        """What it is doing."""
        return self.standing.state

    @property
    def pane_key(self) -> str:
        """Name of this very pane on this very server: what a paste was aimed at."""
        return f"{self.server}/{self.facts.pane_id}/{self.facts.pid}" if self.facts else ""

    @property
    def present(self) -> bool:
        """Whether the agent itself, not the shell it left, is in the foreground of its pane."""
        if self.facts is None or self.facts.dead:
            return False
        return is_present(self.driver, self.spec, self.facts.command, self.front.argv if self.front else ())

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
        if self.pane_key != before or (was_present and not self.present) or another:
            self.started = self.working = self.compacting = self.was_ready = False
            self.hooked = self.asking_since = self.prompt_since = self.sight = None

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
            case Meaning.FINISHED:
                self.working, self.asking_since = False, None
            case Meaning.PERMISSION:
                self.asking_since, self.dialog_shown = self.clock(), False
                self.asked = report.detail if self.api is not None else ""
            case Meaning.ENDED:
                self.started = self.working = self.was_ready = False
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

    @property
    def tells(self) -> bool:
        """Whether it says itself which prompts it has taken, by hooks or by its API."""
        return (bool(self.driver.hooks) or self.api is not None) and self.hooked is not False

    @property
    def unsettled(self) -> bool:
        """Whether its state may end by time alone, so that somebody has to look again soon."""
        if self.state is AgentState.STARTING:
            return True
        sight = self.sight
        asking = self.asking_since is not None and not self.dialog_shown
        taken = self.taken
        if taken is not None and self.clock() - taken.at < SHOWS_WORK_S:
            return True
        return asking or (self.working and sight is not None and not sight.busy and sight.dialog is None)

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

    def echoes(self, typed: str) -> int:
        """Return how often `typed` stood above the composer at the last look."""
        return echoes(self.driver, self.screen, typed) if self.screen is not None else 0

    def handed_over(self) -> list[str]:
        """Return the prompts that the agent's transcript says the model got within a turn, since last asked."""
        if self.transcript is None or not self.driver.transcript_prompt:
            return []
        return self.transcript.new_prompts(self.driver.transcript_where, self.driver.transcript_prompt)

    async def view(self, client: ControlClient) -> AgentView:
        """Look at the pane now: one control line, and the terminal's own count of unread bytes."""
        seen = None
        while (facts := self.facts) is not None:
            aimed_at = self.pane_key
            seen = await observe(client, facts.pane_id, capture=self.driver.kind != "line")
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
        self.screen = seen.screen
        self.sight = look(self.driver, seen.screen) if seen.screen is not None else None
        if self.sight is not None and (self.sight.busy or self.sight.dialog is not None):
            self.worked_seen_at = self.looked_at
        self._follow_screen()
        self.restate()
        terminal = self._terminal(seen.facts)
        unread, buffered = terminal or (0, False)
        return AgentView(
            driver=self.driver,
            facts=seen.facts,
            sight=self.sight,
            present=self.present,
            running=described(seen.facts.command, self.front.argv if self.front else ()),
            ready=self._ready(),
            paused=self.paused,
            unread_bytes=unread,
            line_buffered=buffered,
            terminal=terminal is not None,
            working=self.working,
            asking=self.asking_since is not None,
            launching=self.launching,
            ending=self.ending,
        )

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

    def _follow_screen(self) -> None:
        sight, now = self.sight, self.clock()
        if sight is None:
            return
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

    def _ready(self) -> bool:
        if self.driver.kind == "line" or self.was_ready:
            return True
        now, stood_since = self.clock(), self.prompt_since
        ready = past_start(
            self.driver,
            stood_s=now - stood_since if stood_since is not None else None,
            told_s=now - self.started_at if self.started else None,
            age_s=self._process_age_s() if stood_since is not None else 0.0,
        )
        self.was_ready = ready and stood_since is not None
        return ready

    def _process_age_s(self) -> float:
        """Return how long the pane's foreground process group has run; 0 when that cannot be read."""
        if self.facts is None:
            return 0.0
        try:
            with open(f"/proc/{self.facts.pid}/stat", encoding="ascii", errors="replace") as file:
                leader = int(file.read().rpartition(")")[2].split()[5])
            with open(f"/proc/{leader}/stat", encoding="ascii", errors="replace") as file:
                started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
            with open("/proc/uptime", encoding="ascii") as file:
                return float(file.read().split()[0]) - started
        except (OSError, ValueError, IndexError):
            return 0.0

    def restate(self) -> None:
        """Note, and tell, what state the agent is in now and whether it needs a person."""
        before, now = self.standing, stand(self._signs())
        if now.state is before.state and self.state_since_ms:
            self.standing = replace(now, source=before.source)  # whoever told of the state first
        else:
            self.standing, self.state_since_ms = now, self.clock_ms()
            self.tell(Transition(before=before.state, now=now))
        self._attend()

    def _attend(self) -> None:
        before, self.attention = self.attention, attention(self.standing, self.waiting())
        if self.attention != before:
            self.attention_since_ms = self.clock_ms()
            self.tell(self.attention)

    def _signs(self) -> Signs:
        facts = self.facts
        if facts is None:
            return Signs(pane=False, launching=self.launching)
        overruled = self.looked_at < self.told_at + OVERRULES_S
        return Signs(
            pane=True,
            dead=facts.dead,
            present=self.present,
            command=facts.command,
            launching=self.launching,
            paused=self.paused,
            line=self.driver.kind == "line",
            ready=self._ready(),
            working=self.working,
            asking=self.asking_since is not None,
            asked=self.asked,
            limit=self.limit,
            teller=Source.API if self.api is not None else Source.HOOK,
            compacting=self.compacting,
            typing=self.typing,
            sight=None if overruled else self.sight,
        )
