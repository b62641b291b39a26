"""What guards a node: audit log, seals on what travels, policy and limits, made and changed together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from nova_torch.config import Config
from nova_torch.errors import ConfigInvalid, NotAllowed
from nova_torch.policy import Party, Policy, Request, Ruling, read_policy
from nova_torch.secret_files import read_keyring
from nova_torch.values import AgentId, Form, Message, NodeId, State
from noval_d.agents.roster import Roster
from noval_d.control.audit import MIB, Audit
from noval_d.control.origin import agent_behind
from noval_d.delivery.gate import Denied, Hold, Refuse
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.quota import Quota
from noval_d.mailroom.seals import Seals

log = logging.getLogger("nova.guard")

COMMANDS = (Form.COMMAND, Form.VERBATIM)


class Guard:
    """Who may do what here, and who did."""

    def __init__(
        self,
        node: NodeId,
        config: Config,
        *,
        roster: Callable[[], Roster],
        outbox: Outbox,
        clock: Callable[[], float],
        clock_ms: Callable[[], int],
        publish: Callable[[dict[str, Any]], None],
    ) -> None:
        self._config = config
        self._node = node
        self._roster = roster
        self.audit = Audit(
            config.state.dir,
            agent_of=self.agent_behind,
            clock_ms=clock_ms,
            file_bytes=config.audit.file_mib * MIB,
            files=config.audit.files,
        )
        self.seals = Seals(
            node,
            config.signing,
            read_keyring(config.signing),
            clock_ms=clock_ms,
            publish=publish,
            rejected=self.audit.rejected,
        )
        self.quota = Quota(
            lambda: self._config.limits,
            clock,
            lambda message: outbox.find(message) if outbox.open(message) else None,
        )
        self.policy: Policy = read_policy(config.policy.file, config.delivery.may_answer)
        self.policy_problem = ""
        """Why the policy file as it is now is not the one that holds."""

    def __repr__(self) -> str:
        return f"<Guard {self.seals!r} {len(self.policy.rules)} rules>"

    def reload(self, config: Config) -> None:
        """Go on with other keys and rules: with all of them, or, when ConfigInvalid is raised, with none."""
        keyring = read_keyring(config.signing)
        try:
            policy = read_policy(config.policy.file, config.delivery.may_answer)
        except ConfigInvalid as error:
            self.policy_problem = error.message
            raise
        self.seals.configure(config.signing, keyring)
        self.policy, self.policy_problem = policy, ""
        self._config = config

    # -- who --

    def agent_behind(self, pid: int) -> str:
        """Return the agent in whose pane a process runs, as the kernel tells; '' for none."""
        agent = agent_behind(pid, self._roster().agents.values())
        return agent.id if agent is not None else ""

    def role_of(self, name: str) -> str:
        """Return the role of an agent of this node; '' for everybody else."""
        agent = self._roster().agents.get(AgentId(name))
        return agent.spec.role if agent is not None else ""

    def party(self, name: str) -> Party:
        """Return somebody of this node."""
        return Party(name=name, role=self.role_of(name), node=self._node)

    # -- what they may --

    def on_message(self, message: Message, agent: AgentId) -> Ruling:
        """Say whether a message may be typed into an agent of this node. Its sender is what the message says."""
        role = message.headers.get("role", "")
        if not role and message.origin == self._node:
            role = self.role_of(message.sender)
        sender = Party(name=message.sender, role=role, node=message.origin)
        return self.policy.decide(
            Request(
                action="send",
                by=sender,
                to=self.party(agent),
                kind=message.kind.value,
                command=message.form in COMMANDS,
            )
        )

    def refused(self, message: Message, agent: AgentId) -> Refuse | None:
        """Return why a message is not typed: the policy of the node that delivers it has the last word."""
        if not self.policy.about("send"):
            return None
        ruling = self.on_message(message, agent)
        if ruling.allow:
            return None
        self.audit.rejected(
            "deliver", target=agent, message=message.id, sender=message.sender, code="policy_denied"
        )
        return Denied(State.FAILED, f"not allowed: {ruling.why}")

    def too_fast(self, message: Message) -> Hold | None:
        """Return why a message that was not counted when it was accepted waits before it is typed."""
        elsewhere = message.origin != self._node or "bridge" in message.headers
        return self.quota.hold(message) if elsewhere else None

    def unfit(self, message: Message, agent: AgentId) -> str:
        """Return why a message from the broker, sealed and new here, is not taken; empty: it is."""
        body_bytes, most = len(message.body.encode()), self._config.delivery.max_body_bytes
        if body_bytes > most:
            return f"its body has {body_bytes} bytes, this node takes {most} (delivery.max_body_bytes)"
        worker = self._roster().workers.get(agent)
        in_hand = [item.message for item in worker.items] if worker is not None else []
        return self.seals.out_of_time(message) or self.quota.crowd(message, agent, in_hand)

    def demand(self, action: str, by: str, to: Party) -> None:
        """Raise NotAllowed when the policy denies `by`, of this node, an action on `to`."""
        ruling = self.policy.decide(Request(action=action, by=self.party(by), to=to))
        if not ruling.allow:
            raise NotAllowed(
                f"{by} may not {'move tasks of' if action == 'task' else action} {to.name}: {ruling.why}.",
                f"See: novactl policy check {by} {to.name} --do {action}",
            )

    def demand_send(self, message: Message, agent: AgentId) -> None:
        """Raise NotAllowed when an agent of this node would not be given a message that is about to be accepted."""
        if agent not in self._roster().agents or not self.policy.about("send"):
            return
        ruling = self.on_message(message, agent)
        if not ruling.allow:
            raise NotAllowed(
                f"{message.sender} may not send this to {agent}: {ruling.why}.",
                f"See: novactl policy check {message.sender} {agent}",
            )
