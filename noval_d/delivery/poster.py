"""Hand one message to an agent over its HTTP API, exactly once, and prove it: by that very message, asked for.

The message's id there is made of its own, so whatever was cut off (a crash of ours, an answer that was lost, an
agent that was killed) is decided by asking for it. `Item.pane` names the process and the conversation it was
handed to; it is written down before the first byte is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from nova_torch.ulid import stamp_ms
from nova_torch.values import Form, HoldReason, MessageId, State
from noval_d.agents.agent import Agent
from noval_d.api import opencode
from noval_d.api.endpoint import Endpoint
from noval_d.api.http import ApiFailed
from noval_d.api.opencode import Conversation
from noval_d.delivery.gate import Hold
from noval_d.delivery.item import Item
from noval_d.delivery.outcome import Outcome, Postponed, Verdict
from noval_d.delivery.template import plain
from noval_d.delivery.view import AgentView
from noval_d.mailroom.desk import Desk
from noval_d.tmux.front import Front, lives, read_front

log = logging.getLogger("nova.delivery")

ROAD = "api:"
POST_S = 10.0
AGAIN_S = 0.5  # before it is asked again what became of a message
HOPE_S = 15.0  # an opencode that loads, under load, answers nothing for some seconds
AIM_S = 1.0  # between two tries to tell the conversation that the pane shows
FORGOTTEN_S = 20.0  # so long an agent that is there again may take until its API can be asked
GONE_S = 60.0  # the same for one without a pane
STALE_MS = 3600_000  # what a daemon before this one handed over so long ago is not begun any more
TAKEN = (200, 204)
REFUSED_TRIES = 3  # then it goes by keys
LOST_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The conversation that the pane shows, and the API that takes messages for it."""

    endpoint: Endpoint
    conversation: Conversation

    @property
    def place(self) -> str:
        """What is written down: the very process, and its conversation."""
        return f"{ROAD}{self.endpoint.name}/{self.conversation.id}"


@dataclass(frozen=True, slots=True)
class Last:
    """What was handed over last, until it was seen that something came of it."""

    message: MessageId
    conversation: str


class Poster:
    """Hands messages to one agent over its API."""

    def __init__(self, agent: Agent, *, desk: Desk, may: Callable[[Item], bool]) -> None:
        self.agent = agent
        self._desk = desk
        self._may = may
        self._aimed_at = -1e9
        self._in_vain = ""
        self._last: Last | None = None
        self._looked_into = ""
        """The process that was asked once whether it has one that a daemon before this one handed over."""
        self._doubtful: tuple[Item, float] | None = None
        self._hoped: tuple[Front | None, float] = (None, 0.0)

    def __repr__(self) -> str:
        return f"<Poster {self.agent!r}>"

    @staticmethod
    def is_on_its_way(item: Item) -> bool:
        """Tell whether a message that may have been sent was sent over this road."""
        return item.pane.startswith(ROAD)

    def may(self, item: Item, view: AgentView) -> bool:
        """Tell whether it is worth asking which conversation the pane shows."""
        if self.agent.api is None or view.facts is None or item.message.form is Form.COMMAND:
            return False
        if item.refusals >= REFUSED_TRIES:
            return False
        return view.facts.title != self._in_vain or self.agent.clock() - self._aimed_at >= AIM_S

    def hope(self) -> Hold | None:
        """Return why keys are not used yet: it was started with a port, and has not been asked anything there."""
        agent, now = self.agent, self.agent.clock()
        option = agent.driver.api_port
        if (
            agent.api is not None
            or not option
            or not agent.driver.api_kind
            or (front := _front(agent)) is None
        ):
            return None
        if not front.is_same(self._hoped[0]) or self._hoped[0] is None:
            self._hoped = (front, now)
        named = any(word.partition("=")[0] == option for word in front.argv)
        if not named or now - self._hoped[1] >= HOPE_S:
            return None
        return Hold(HoldReason.STARTING, "its API is waited for", 0.25)

    async def aim(self, view: AgentView) -> Aim | None:
        """Return the conversation that the pane shows now; None when that cannot be told for certain.

        It is the only one whose title is that of the window; its last prompt ran under the agent that is chosen
        in the pane, so that nothing runs under another one than a person sees there.
        """
        if view.facts is None:
            return None
        title = view.facts.title
        self._aimed_at, self._in_vain = self.agent.clock(), title
        try:
            aim = await self._aim(title)
        except (ApiFailed, opencode.Unreadable) as error:
            log.info("api.unusable", extra={"agent": self.agent.id, "problem": str(error)})
            return None
        if aim is not None:
            self._in_vain = ""
        return aim

    async def _aim(self, window_title: str) -> Aim | None:
        """Raises ApiFailed, Unreadable."""
        agent, driver = self.agent, self.agent.driver
        endpoint, screen = agent.api, agent.screen
        if endpoint is None or screen is None or not endpoint.is_of(_front(agent)):
            return None
        title = driver.api_title.fullmatch(window_title) if driver.api_title else None
        if title is None:
            return None
        conversation = opencode.shown(
            await endpoint.get(opencode.search_path(title["title"])), title["title"]
        )
        rows = reversed([row.text for row in screen.rows])
        pattern = driver.api_agent
        chosen = next((found["agent"] for row in rows if pattern and (found := pattern.search(row))), "")
        if conversation is None or chosen.casefold() != conversation.agent.casefold():
            return None
        return Aim(endpoint=endpoint, conversation=conversation)

    async def post(self, item: Item, aim: Aim) -> Outcome:
        """Hand over a message that the gate let through, and prove it."""
        item.typed = plain(item.message)
        await self._desk.typing(item, aim.place)
        if not self._may(item):  # this process stood still, and its lease ended meanwhile
            await self._desk.untyped(item)
            return Postponed(0.0)
        return await self._hand_over(item, aim)

    async def _hand_over(self, item: Item, aim: Aim, *, again: bool = False) -> Outcome:
        """Send it, unless it is there; then see that it is. `again`: it may be on its way already."""
        agent, ulid = self.agent, item.message.id
        try:
            if await self._is_there(item, aim.endpoint, aim.conversation.id):
                return Verdict(State.ACKNOWLEDGED)
            if not aim.endpoint.is_of(_front(agent)):
                if not again:
                    await self._desk.untyped(item)
                return Postponed(AGAIN_S)
            self._last = Last(ulid, aim.conversation.id)
            body = opencode.prompt_body(ulid, item.typed, aim.conversation)
            path = opencode.prompt_path(aim.conversation.id)
            answer = await aim.endpoint.ask("POST", path, body, within_s=POST_S)
            if answer.status in TAKEN and await self._is_there(item, aim.endpoint, aim.conversation.id):
                return Verdict(State.ACKNOWLEDGED)
            log.warning("api.not_taken", extra={"message_id": ulid, "status": answer.status})
            item.refusals += 1
            if answer.status not in TAKEN and not await self._is_there(
                item, aim.endpoint, aim.conversation.id
            ):
                await self._desk.untyped(item)  # it was answered: nothing of it comes later
            elif item.refusals >= LOST_TRIES:
                return Verdict(
                    State.UNCONFIRMED, "its agent says that it took the message and does not have it"
                )
        except ApiFailed as error:
            log.warning("api.failed", extra={"message_id": ulid, "problem": str(error)})
        return Postponed(AGAIN_S)

    async def _is_there(self, item: Item, endpoint: Endpoint, conversation: str) -> bool:
        """Ask for the message. Raises ApiFailed when neither yes nor no was answered."""
        path = opencode.message_path(conversation, opencode.message_id(item.message.id))
        answer = await endpoint.ask("GET", path)
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise ApiFailed(f"asked for a message, it answers {answer.status}")
        try:
            there = opencode.holds(answer.body, item.message.id, item.typed)
        except opencode.Unreadable as error:
            raise ApiFailed(str(error)) from None
        if not there:
            raise ApiFailed("it holds another text under the message's id")
        return True

    async def recover(self, item: Item) -> Outcome:
        """Find out what became of a message that may have been sent, and go on from there."""
        agent, now = self.agent, self.agent.clock()
        item.typed = item.typed or plain(item.message)
        process, _, conversation = item.pane.removeprefix(ROAD).partition("/")
        endpoint = agent.api
        if endpoint is None or not endpoint.is_of(_front(agent)):
            return await self._no_one_to_ask(item, now)
        stopped = endpoint.name != process and lives(process)  # by C-z, say: it may take the message yet
        if not stopped:
            self._doubtful = None
        try:
            if await self._is_there(item, endpoint, conversation):
                return Verdict(State.ACKNOWLEDGED)
            known = await endpoint.ask("GET", opencode.conversation_path(conversation))
            found = opencode.conversation(known.body) if known.status == 200 else None
        except (ApiFailed, opencode.Unreadable) as error:
            log.warning("api.failed", extra={"message_id": item.message.id, "problem": str(error)})
            return Postponed(AGAIN_S)
        if stopped:
            return await self._no_one_to_ask(item, now)
        if endpoint.name == process and found is not None:
            # the request may still be on its way, and no other road may be taken before it is over: the very
            # same one once more leaves one message, whichever comes first
            return await self._hand_over(item, Aim(endpoint=endpoint, conversation=found), again=True)
        # what another process had been sent has come to its end
        await self._desk.untyped(item)
        return Postponed(0.0)

    async def _no_one_to_ask(self, item: Item, now: float) -> Outcome:
        agent = self.agent
        if self._doubtful is None or self._doubtful[0] is not item or (agent.facts and not agent.present):
            self._doubtful = (item, now)  # an agent that is away may come back, and then tells
        waited_s = now - self._doubtful[1]
        await self._desk.tell(item, State.TYPED, "no_agent")
        if waited_s >= (FORGOTTEN_S if agent.facts else GONE_S):
            return Verdict(
                State.UNCONFIRMED, "its agent cannot be asked any more whether it took the message"
            )
        return Postponed(AGAIN_S)

    async def rests(self) -> None:
        """Have the last message taken up that was queued behind a turn which was broken off, or never ended.

        opencode does not read on by itself then; the same request once more changes nothing but that. Each process
        is asked once, too, for what was handed over before this daemon began.
        """
        agent, last = self.agent, self._last
        if agent.api is None or agent.working or agent.asking_since is not None:
            return
        if last is None and self._looked_into == agent.api.name:
            return
        try:
            aim = await self._aim(agent.facts.title if agent.facts is not None else "")
            if aim is None or (last is not None and aim.conversation.id != last.conversation):
                return  # it is not what the pane shows, or not yet: nothing begins out of sight
            newest = await aim.endpoint.get(opencode.newest_path(aim.conversation.id))
            found = opencode.waiting(newest)
            if found is not None and self._begins(found[0]):
                body = opencode.prompt_body(*found, aim.conversation)
                path = opencode.prompt_path(aim.conversation.id)
                await aim.endpoint.ask("POST", path, body, within_s=POST_S)
                log.info("api.taken_up", extra={"message_id": found[0]})
            self._looked_into = aim.endpoint.name
            if self._last is last:  # one that was not answered is sent again with the next heartbeat
                self._last = None
        except (ApiFailed, opencode.Unreadable) as error:
            log.warning("api.failed", extra={"agent": agent.id, "problem": str(error)})

    def _begins(self, waiting: MessageId) -> bool:
        """Tell whether a message that waits in a conversation is to be begun now."""
        if self._last is not None:
            return self._last.message == waiting
        return self.agent.clock_ms() - stamp_ms(waiting) < STALE_MS


def _front(agent: Agent) -> Front | None:
    return read_front(agent.facts.pid) if agent.facts is not None and agent.present else None
