"""Who may answer what, and where the answer goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import Conflict, InvalidRequest, NotAllowed
from nova_torch.keys import Keys
from nova_torch.values import AGENT_ID, AgentId, Form, Kind, Message, MessageId, NodeId, Receipt, Reply, State
from noval_d.calls.table import Answers
from noval_d.control.calls import Access, Peer
from noval_d.node.node import Node
from noval_d.talk.answering import addressee, box_of, is_box, mailbox_for, refusal

ID = "01JD3ZK8Q5W9X2Y4V6B8N0M1P3"


def message(sender: str = "alice", target: str = "bob", kind: Kind = Kind.MESSAGE, **headers: str) -> Message:
    return Message(
        id=MessageId(ID), sender=sender, target=target, body="?", created_ms=0, kind=kind,
        headers={"origin": "far", **headers},
    )  # fmt: skip


def refused(question: Message, **given: Any) -> Exception | None:
    return refusal(question, **{"to": "bob", "sender": "bob", "given": None, **given})


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.TASK, Kind.REPLY])
def test_whoever_was_sent_it_may_answer(kind: Kind) -> None:
    assert refused(message(kind=kind)) is None


@pytest.mark.parametrize("sender", ["alice", "user:bob", "Bob", ""])
def test_nobody_else_may(sender: str) -> None:
    assert isinstance(refused(message(), sender=sender), NotAllowed)


def test_what_nobody_reads_cannot_be_answered() -> None:
    for silent in (
        message(kind=Kind.EVENT),
        message(kind=Kind.CONTROL),
        message(form=Form.COMMAND.value),
        message(answer="none"),
        message(kind=Kind.TASK, answer="none"),
    ):
        error = refused(silent)
        assert type(error) is InvalidRequest
        assert error.hint == 'Write to its sender: novactl send alice "..."'


def test_a_second_answer_is_a_conflict_that_names_the_first() -> None:
    error = refused(message(), given=MessageId("01FIRST"))
    assert isinstance(error, Conflict)
    assert "01FIRST" in error.message


def test_an_answer_goes_where_the_question_says() -> None:
    assert mailbox_for(message(answers="carol")) == "carol"
    assert mailbox_for(message("user:x", answers="@far")) == "@far"
    assert mailbox_for(message("a program", answers="@far")) == "@far"


def test_without_a_word_of_it_an_agent_gets_it_and_else_the_people_of_its_node() -> None:
    assert mailbox_for(message()) == "alice"
    assert mailbox_for(message("user:x")) == "@far"
    assert mailbox_for(message("")) == "@far"


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_whatever_another_node_writes_is_a_usable_mailbox_or_an_error(
    sender: str, named: str, origin: str
) -> None:
    question = message(sender, answers=named, origin=origin)
    try:
        box = mailbox_for(question)
    except InvalidRequest:
        return
    assert AGENT_ID.match(box.removeprefix("@"))
    Keys().mailbox(box)


def test_no_agent_has_the_name_of_a_nodes_people() -> None:
    box = box_of(NodeId("far"))
    assert is_box(box)
    assert AGENT_ID.match(box) is None
    assert addressee(message(target="user:x"), box) == "user:x"
    assert addressee(message(target="main:1"), AgentId("bob")) == "bob"


@pytest.mark.parametrize(("access", "body"), [(Access.READ, None), (Access.WRITE, "a secret")])
def test_readers_of_a_trace_are_told_who_answered_and_not_what(access: Access, body: str | None) -> None:
    reply = Reply(id=MessageId("01R"), question=MessageId(ID), sender="bob", body="a secret", created_ms=1)
    node = SimpleNamespace(talk=SimpleNamespace(answer=lambda _question: reply))
    peer = Peer(uid=1, gid=1, pid=1, groups=frozenset(), access=access)
    receipt = Receipt(id=MessageId(ID), target="bob", state=State.REPLIED, reason="01R")
    told = Answers(cast("Node", node))._reply_of(peer, receipt)
    assert told == {"id": "01R", "question": ID, "sender": "bob", "body": body, "created_ms": 1}
