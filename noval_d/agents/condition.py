"""What is known of one agent at this moment, and the state that it adds up to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nova_torch.values import AgentId, AgentSpec, AgentState
from noval_d.agents.attention import Attention, attention
from noval_d.agents.driver import Driver
from noval_d.agents.opening import Opening
from noval_d.agents.prompt import Prompt
from noval_d.agents.readiness import past_start
from noval_d.agents.recognition import is_present, is_shell, may_be_a_shell
from noval_d.agents.sight import Sight, begun
from noval_d.agents.states import Signs, Source, Standing, Transition, stand
from noval_d.agents.their_keys import TheirKeys
from noval_d.agents.transcript import Transcript
from noval_d.api.endpoint import Endpoint
from noval_d.delivery.processed import Taken
from noval_d.tmux.front import Front, leader_age_s, read_front, read_name
from noval_d.tmux.panes import PaneFacts
from noval_d.tmux.screen import Screen

OVERRULES_S = 0.3  # a screen is drawn anew within this after the hook that told of a change
SHOWS_WORK_S = 10.0  # so long an agent that has taken a message is looked at often: a turn may be short

UNKNOWN = Standing(state=AgentState.STARTING, source=Source.TMUX)


@dataclass(slots=True, kw_only=True)
class Condition:
    """What was learned of one agent, by whichever way. Changes only on the loop."""

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
    kept: bool = False
    """This node started it, and goes with it when its program becomes another one."""
    session: str = ""
    """Its own conversation, once its hooks have told of a prompt in it."""
    hooked: bool | None = None
    """Whether the agent's hooks report; None until one did, or one should have and did not."""
    told_prompt: bool = False
    """A hook of the program that runs now has told of a prompt: it would of any other."""
    api: Endpoint | None = None
    """Its own HTTP API, while its events are followed: they are its hooks then."""
    prompt: Prompt = field(default_factory=Prompt)
    """That of a line-based program."""
    started: bool = False
    started_at: float = -1e9
    """When its hook told of its start."""
    prompted: bool = False
    """It was started with a first prompt, which no hook has told of yet."""
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
    opening: Opening = field(default_factory=Opening)
    rested_since: float | None = None
    """Since when its input box has been seen without work."""
    still_since: float | None = None
    """Since when the screen has shown no work although the hooks said that there is some."""
    standing: Standing = UNKNOWN
    state_since_ms: int = 0
    attention: Attention | None = None
    attention_since_ms: int = 0
    typing: bool = False
    """This node has text of a message in the input box."""
    mixed: bool = False
    """Something that somebody else typed stands there together with it."""
    told_at: float = -1e9
    """When a hook last told what the agent does: a look before that says nothing any more."""
    reported_ms: int = 0
    """When its newest hook ran; what an older one reports by and by is no news of its state."""
    seen_ms: int = 0
    sight: Sight | None = None
    screen: Screen | None = None
    transcript: Transcript | None = None
    looked_at: float = -1e9
    their_keys: TheirKeys = field(default_factory=TheirKeys)
    """What is known of keys that somebody else sends into its pane."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    taken: Taken | None = None
    """The first message that it has acknowledged and of which no work was seen yet."""
    worked_hook_at: float = -1e9
    worked_seen_at: float = -1e9
    hands: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever presses keys in the pane: a delivery, or an answer to a dialog."""
    waiting: Callable[[], int] = lambda: 0
    """How many messages are in hand for it."""
    emptied: Callable[[], None] = lambda: None
    """Called when the last of them is settled."""
    tell: Callable[[Transition | Attention | None], None] = lambda _news: None
    """Called with each change of its state, and of what it needs a person for (None: nothing any more)."""

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

    @property
    def behind(self) -> bool:
        """Whether it is the pane's own shell, and a command that it runs has the foreground meanwhile.

        So it is of one that is kept and has become that command (exec): its keeper takes that for it in a moment.
        """
        facts = self.facts
        if self.present or facts is None or facts.dead or self.driver.kind != "line":
            return False
        if not is_shell(self.spec.program):
            return False
        return read_name(facts.pid) == self.spec.program or (self.kept and self._became(facts))

    @staticmethod
    def _became(facts: PaneFacts) -> bool:
        front = read_front(facts.pid)
        return front is not None and front.pid == facts.pid and not may_be_a_shell(facts.command)

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

    def ready(self) -> bool:
        """Tell whether its start is over, and remember that it is."""
        if self.driver.kind == "line" or self.was_ready:
            return True
        now, stood_since = self.clock(), self.prompt_since
        ready = past_start(
            self.driver,
            stood_s=now - stood_since if stood_since is not None else None,
            told_s=now - self.started_at if self.started else None,
            age_s=leader_age_s(self.facts.pid) if self.facts is not None and stood_since is not None else 0.0,
            begun=stood_since is not None and self._shows_begun(),
            prompted=self.prompted,
        )
        self.was_ready = ready and stood_since is not None
        return ready

    def _shows_begun(self) -> bool:
        argv = self.front.argv if self.front is not None else ()
        return self.screen is not None and begun(self.driver, self.screen, argv)

    def restate(self) -> None:
        """Note, and tell, what state the agent is in now and whether it needs a person."""
        before, now = self.standing, stand(self._signs())
        if now.state is before.state and self.state_since_ms:
            self.standing = replace(now, source=before.source)  # whoever told of the state first
        else:
            self.standing, self.state_since_ms = now, self.clock_ms()
            self.tell(Transition(before=before.state, now=now))
        self.recount()

    def recount(self) -> None:
        """Note, and tell, whether it needs a person: in its state, and with what is in hand for it now."""
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
            behind=self.behind,
            command=facts.command,
            launching=self.launching,
            paused=self.paused,
            line=self.driver.kind == "line",
            ready=self.ready(),
            working=self.working,
            asking=self.asking_since is not None,
            asked=self.asked,
            limit=self.limit,
            teller=Source.API if self.api is not None else Source.HOOK,
            compacting=self.compacting,
            typing=self.typing,
            mixed=self.mixed,
            sight=None if overruled else self.sight,
        )
