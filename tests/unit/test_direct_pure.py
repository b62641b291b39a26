"""Without a daemon: where news comes back to, what hops add up to, who is in a group, who is present."""

from __future__ import annotations

import pytest

from nova_torch import arguments
from nova_torch.blobs import read_blob, write_blob
from nova_torch.communication.direct import Endpoint, applied, own_hop, ulid_ms, was_asked
from nova_torch.communication.group import Group, member_id, members
from nova_torch.errors import AgentNotFound, InvalidRequest, InvalidText, NotFound
from nova_torch.events import Event, Filter
from nova_torch.fleet import NodeView, presence
from nova_torch.keys import Keys
from nova_torch.recent import Recent
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import (
    NOVA_STATUS,
    AgentId,
    AgentRecord,
    AgentState,
    Hop,
    Kind,
    Message,
    MessageId,
    NodeId,
    Receipt,
    State,
)
from noval_d.talk.answering import answer_life_s

ID = MessageId(new_ulid(1_700_000_000_000))


def hop(state: State, *, final: bool = False, at_ms: int = 1_700_000_000_050, reason: str = "") -> Hop:
    return Hop(message=ID, at_ms=at_ms, node=NodeId("n"), state=state, reason=reason, final=final)


def agent(
    name: str, *, role: str = "", skills: tuple[str, ...] = (), node: str = "n", seen: int = 5
) -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role=role, skills=skills, node=NodeId(node), driver="line", pane="%1",
        session="s", window="w", state=AgentState.IDLE, state_since_ms=1, queued=0, last_seen_ms=seen,
    )  # fmt: skip


def test_the_place_follows_from_the_id_and_is_a_name_that_keys_take() -> None:
    place = Endpoint.of(ID)
    assert place == Endpoint.of(ID)
    assert place.node.startswith("lib-")
    Keys().node(place.node)
    Keys().mailbox(place.box)
    with pytest.raises(InvalidRequest):
        Endpoint.of("no ulid")


def test_members_of_a_broadcast_share_the_place_and_have_an_id_each_that_stays() -> None:
    group = new_ulid()
    one, other = member_id(group, "a"), member_id(group, "b")
    assert is_ulid(one)
    assert one != other
    assert one == member_id(group, "a")
    assert Endpoint.of(one).node == Endpoint.of(other).node == Endpoint.of(group).node
    assert member_id(new_ulid(), "a") != one


def test_hops_add_up_as_an_outbox_would_have_it() -> None:
    receipt: Receipt | None = None
    for state, final in ((State.HELD, False), (State.TYPED, False), (State.SUBMITTED, True)):
        receipt = applied(receipt, hop(state, final=final))
    assert receipt is not None
    assert (receipt.state, receipt.final) == (State.SUBMITTED, True)
    assert receipt.timings_ms == {"typed": 50, "submitted": 50}
    assert applied(receipt, hop(State.TYPED)).state is State.SUBMITTED
    assert applied(receipt, hop(State.QUEUED)).state is State.SUBMITTED
    assert applied(receipt, hop(State.REPLIED, final=True)).state is State.REPLIED
    dead = applied(None, hop(State.DEAD, final=True))
    assert applied(dead, hop(State.QUEUED)).final is False  # ordered again
    assert ulid_ms(ID) == 1_700_000_000_000


def test_only_who_was_asked_answers() -> None:
    def answer(sender: str = "bob", question: str = ID, kind: Kind = Kind.REPLY) -> Message:
        return Message(
            id=MessageId(new_ulid()),
            sender=sender,
            target="x",
            body="b",
            created_ms=1,
            kind=kind,
            reply_to=question,
        )

    assert was_asked(answer(), ID, "bob")
    assert was_asked(answer(), ID, None)
    assert not was_asked(answer("mallory"), ID, "bob")
    assert not was_asked(answer(question=new_ulid()), ID, "bob")
    assert not was_asked(answer(kind=Kind.MESSAGE), ID, "bob")


@pytest.mark.parametrize(
    ("told", "life"), [("86400", 86400.0), ("", None), ("-1", None), ("9e9", None), ("0", None)]
)
def test_an_answer_lives_as_long_as_its_question_says(told: str, life: float | None) -> None:
    headers = {"answers_s": told} if told else {}
    question = Message(id=ID, sender="user:a", target="b", body="c", created_ms=1, headers=headers)
    assert answer_life_s(question) == life


def test_who_is_in_a_group() -> None:
    fleet = [
        agent("a", role="dev", skills=("py", "sql")),
        agent("b", role="dev", skills=("py",)),
        agent("c", node="m"),
    ]

    def names(group: Group, sender: str = "") -> list[str]:
        return [record.agent_id for record in members(group, fleet, sender=sender)]

    assert names(Group()) == ["a", "b", "c"]
    assert names(Group(), sender="b") == ["a", "c"]
    assert names(Group(role="dev", skills=("sql", "py"))) == ["a"]
    assert names(Group(node="m")) == ["c"]
    with pytest.raises(AgentNotFound, match=r"no agent matches role:deev: nobody has .* Did you mean dev"):
        names(Group(role="deev"))
    with pytest.raises(AgentNotFound, match="skill:sqll"):
        names(Group(skills=("sqll",)))


def test_a_node_tells_of_itself_and_nonsense_is_nothing() -> None:
    blob = write_blob("n", [agent("a")], now_ms=7)
    view = read_blob("n", blob, alive=True)
    assert view == NodeView(node="n", alive=True, last_seen_ms=7, agents=(agent("a"),))
    assert read_blob("n", b"", alive=False) == NodeView(node="n", alive=False)
    for nonsense in (b"\xc1", b"\x01", b"\x80", b"\x81\xa6agents\x01"):
        assert read_blob("n", nonsense, alive=True) is None


def test_presence_is_that_of_the_node_whose_lease_holds() -> None:
    old = NodeView(
        node="old", alive=False, last_seen_ms=9, agents=(agent("a", node="old", seen=9), agent("b"))
    )
    new = NodeView(node="new", alive=True, last_seen_ms=8, agents=(agent("a", node="new", seen=8),))
    found = presence("a", [old, new])
    assert (found.node, found.alive, found.state) == ("new", True, "idle")
    lost = presence("b", [old, new])
    assert (lost.alive, lost.state) == (False, "lost")
    assert presence("node:old", [old, new]).state == "lost"
    with pytest.raises(NotFound, match="Did you mean new"):
        presence("node:neww", [old, new])
    with pytest.raises(AgentNotFound, match="novactl agents"):
        presence("zebra", [old, new])


def test_a_record_has_the_older_names_too() -> None:
    record = agent("a", seen=2500)
    assert (record.status, record.last_heartbeat, record.session_id, record.available) == (
        "idle",
        2.5,
        "s",
        True,
    )
    assert set(NOVA_STATUS) == set(AgentState)


def test_what_is_kept_of_messages_is_bounded() -> None:
    kept: Recent[int] = Recent(3)
    for n in range(10):
        kept[str(n)] = n
    assert list(kept) == ["7", "8", "9"]


def test_a_filter_wants_what_has_every_value() -> None:
    event = {"agent": "a", "sender": "user:x", "state": "held", "priority": "high"}
    assert Filter().wants(event)
    assert Filter(agent="a", state="held").wants(event)
    assert not Filter(agent="a", state="typed").wants(event)
    assert not Filter(priority="low").wants({"agent": "a"})
    assert Event.from_json({"event": "agent.state", "agent": "a"}).at_ms == 0


@pytest.mark.parametrize("value", [3, b"x", None, ["a"]])
def test_a_wrong_type_is_named(value: object) -> None:
    with pytest.raises(InvalidRequest, match="role must be a text"):
        arguments.text("role", value)


def test_lists_and_durations_are_checked() -> None:
    assert arguments.texts("skills", "python") == ("python",)
    assert arguments.texts("skills", ["a", "b"]) == ("a", "b")
    for wrong in ([1], [""], 7, {"a": 1}):
        with pytest.raises(InvalidRequest):
            arguments.texts("skills", wrong)
    assert arguments.seconds("timeout_s", 2) == 2.0
    for bad in (True, "5", float("inf"), float("nan"), -1):
        with pytest.raises(InvalidRequest):
            arguments.seconds("timeout_s", bad)
    with pytest.raises(InvalidText):
        arguments.text("name", "\ud800")


def test_the_senders_own_word_counts_until_a_node_has_told_anything() -> None:
    own = own_hop(ID, Endpoint.of(ID).node, 5)
    first = applied(None, own)
    assert (first.state, first.node, first.final) == (State.QUEUED, None, False)
    for state, final in ((State.HELD, False), (State.SUBMITTED, True), (State.UNCONFIRMED, True)):
        told = applied(first, hop(state, final=final))
        assert applied(told, own) == told
