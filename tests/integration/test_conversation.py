"""Agents and people ask and answer through the real novactl, on one node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_torch import NovaOrchestrator
from nova_torch.errors import Conflict, InvalidRequest, MessageNotFound, NotAllowed, TimedOut
from nova_torch.ulid import new_ulid
from tests.support.agents import Tui, raw
from tests.support.node import TestNode, node, until
from tests.support.talkers import asking, ran, talker

DONE, FAILED, USAGE, NOT_ALLOWED, NOT_FOUND, TIMED_OUT, UNDELIVERED = 0, 1, 2, 4, 5, 6, 7


@dataclass(frozen=True)
class Site:
    node: TestNode
    alice: Tui
    bob: Tui
    carol: Tui


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node with alice and bob, who answer what they are asked, and carol, who answers nobody."""
    folder = tmp_path_factory.mktemp("talkers")
    with node() as made:
        yield Site(
            made,
            talker(made, folder, "alice", answer="alice says yes"),
            talker(made, folder, "bob", answer="bob says\nno \x1b[31m"),
            talker(made, folder, "carol"),
        )


def ask(site: Site, *words: str, code: int = DONE) -> str:
    done = site.node.novactl("ask", *words)
    assert done.returncode == code, done
    return done.stdout if code == DONE else done.stdout + done.stderr


def tell(site: Site, agent: Tui, body: str) -> str:
    """Have an agent do something; return the id of the order."""
    message = str(site.node.send(agent.name, body)["id"])
    site.node.wait_state(message, "submitted", "acknowledged")
    return message


def test_a_person_asks_an_agent_and_sees_its_answer(site: Site) -> None:
    question = new_ulid()
    assert ask(site, "alice", "is it safe?", "--id", question) == "alice says yes\n"
    prompt = next(p for p in site.alice.prompts() if question in p)
    head, _, body = prompt.partition("\n")
    assert head.startswith(f"[nova {question} from user:")
    assert head.endswith(f'] Answer with: novactl reply {question} "..."')
    assert body == "is it safe?"
    receipt = site.node.receipt(question)
    assert (receipt["state"], receipt["final"]) == ("replied", True)
    assert "replied" in receipt["timings_ms"]
    answer = receipt["reason"]
    traced = json.loads(site.node.novactl("trace", question, "--json").stdout)
    assert (traced["reply"]["id"], traced["reply"]["body"]) == (answer, "alice says yes")
    assert "alice says yes" in site.node.novactl("trace", question).stdout
    kept = json.loads(site.node.novactl("inbox", "--replies", "--json").stdout)
    assert [row["reply_to"] for row in kept if row["id"] == answer] == [question]
    settled = site.node.wait_state(answer, "acknowledged")
    assert (settled["agent"], settled["final"]) == ("@test-node", True)
    assert site.node.call("status")["outbox"] == 0


def test_asking_again_with_the_same_id_prints_the_answer_and_asks_nobody(site: Site) -> None:
    question = new_ulid()
    first = ask(site, "alice", "once?", "--id", question)
    before = len(site.alice.prompts())
    assert ask(site, "alice", "once?", "--id", question) == first
    said = json.loads(ask(site, "alice", "once?", "--id", question, "--json"))
    assert (said["state"], said["reply"]["body"], said["reply"]["sender"]) == (
        "replied",
        "alice says yes",
        "alice",
    )
    assert len(site.alice.prompts()) == before


def test_what_an_answer_holds_is_no_order_for_the_terminal(site: Site) -> None:
    assert ask(site, "bob", "colours?") == "bob says\nno [31m\n"


def test_send_with_wait_replied_waits_for_the_answer_too(site: Site) -> None:
    done = site.node.novactl("send", "alice", "well?", "--wait=replied")
    assert done.returncode == DONE, done
    first, _, answer = done.stdout.partition("\n")
    assert first.split("\t")[1] == "replied"
    assert answer == "alice says yes\n"


def test_an_agent_that_asks_reads_the_answer_once_from_its_own_ask(site: Site) -> None:
    tell(site, site.carol, "NOVACTL<<ask alice 'carol wants to know'>>")
    said = ran(site.carol)[-1]
    assert (said["code"], said["out"]) == (DONE, "alice says yes\n")
    asked = next(p for p in site.alice.prompts() if "carol wants to know" in p)
    assert asked.startswith("[nova ")
    assert " from carol] Answer with: novactl reply " in asked
    answer = site.node.call("inbox", {"agent": "carol"})[-1]
    settled = site.node.wait_state(answer["id"], "acknowledged")
    assert "read by the program" in settled["reason"]
    assert not [p for p in site.carol.prompts() if "alice says yes" in p]


def test_an_answer_that_no_ask_waits_for_is_typed_into_the_asking_agent(site: Site) -> None:
    before = len(ran(site.carol, 0))
    tell(site, site.carol, "NOVACTL<<rpc send '{\"target\": \"alice\", \"body\": \"tell me later\","
         " \"answer\": \"wanted\", \"sender\": \"carol\"}'>>")  # fmt: skip
    question = json.loads(ran(site.carol, before + 1)[-1]["out"])["id"]
    until(lambda: [p for p in site.carol.prompts() if question in p], 45, "the answer in carol's pane")
    (prompt,) = [p for p in site.carol.prompts() if question in p]
    answer = site.node.receipt(question)["reason"]
    assert prompt == f"[nova {answer} from alice, answers {question}]\nalice says yes"


def test_an_answer_that_is_waited_for_and_not_taken_is_typed_all_the_same(site: Site) -> None:
    last = site.node.send_wait("alice", "who takes it?", wait="replied", sender="carol")
    assert last["state"] == "replied"
    until(lambda: [p for p in site.carol.prompts() if last["reason"] in p], 45, "the answer in carol's pane")
    settled = site.node.wait_state(last["reason"], "submitted", "acknowledged")
    assert settled["reason"] == ""


def test_a_question_that_is_not_answered_ends_with_6_and_its_answer_is_kept(site: Site) -> None:
    question = new_ulid()
    said = ask(site, "carol", "are you there?", "--id", question, "--timeout", "2s", code=TIMED_OUT)
    assert question in said
    assert "kept" in said
    unanswered = json.loads(site.node.novactl("inbox", "carol", "--unanswered", "--json").stdout)
    assert [row["body"] for row in unanswered if row["id"] == question] == ["are you there?"]
    with pytest.raises(MessageNotFound, match="no answer"):
        site.node.call("answer", {"id": question})
    before = len(ran(site.carol, 0))
    tell(site, site.carol, f"NOVACTL<<inbox --unanswered>> NOVACTL<<reply {question} 'here I am'>>")
    runs = ran(site.carol, before + 2)[-2:]
    assert {run["code"] for run in runs} == {DONE}
    site.node.wait_state(question, "replied")
    left = json.loads(site.node.novactl("inbox", "carol", "--unanswered", "--json").stdout)
    assert question not in {row["id"] for row in left}
    assert ask(site, "carol", "are you there?", "--id", question) == "here I am\n"


def test_a_persons_answer_goes_into_the_agents_pane(site: Site) -> None:
    question = new_ulid()
    ask(site, "alice", "what next?", "--id", question)
    answer = site.node.receipt(question)["reason"]
    done = site.node.novactl("reply", answer, "do it then")
    assert done.returncode == DONE, done
    site.node.wait_state(done.stdout.strip(), "submitted")
    until(lambda: site.alice.prompts()[-1] == "do it then", 45, "the person's words")
    assert site.node.receipt(answer)["state"] == "replied"


def test_what_cannot_be_answered_is_said_in_a_sentence(site: Site) -> None:
    question = new_ulid()
    ask(site, "alice", "once more?", "--id", question)

    def refused(code: int, *words: str) -> str:
        done = site.node.novactl("reply", *words)
        assert (done.returncode, done.stdout) == (code, ""), done
        assert done.stderr.count("\n") == 1
        return done.stderr

    unknown = new_ulid()
    assert f"no message {unknown} was received" in refused(NOT_FOUND, unknown, "hello")
    assert "was sent to alice, not to user:" in refused(NOT_ALLOWED, question, "I say so")
    assert "is not a ULID" in refused(USAGE, "nonsense", "hello")
    assert "empty" in refused(USAGE, question, " ")
    with pytest.raises(Conflict, match="answered already"):
        site.node.call("reply", {"question": question, "body": "twice", "sender": "alice"})
    command = str(site.node.send("alice", "/compact", form="command")["id"])
    site.node.wait_state(command, "submitted")
    with pytest.raises(InvalidRequest, match="is a command: nobody reads an answer"):
        site.node.call("reply", {"question": command, "body": "done", "sender": "alice"})
    event = str(site.node.send("alice", "it rains", kind="event")["id"])
    site.node.wait_state(event, "submitted")
    with pytest.raises(InvalidRequest, match="of the kind event"):
        site.node.call("reply", {"question": event, "body": "so what", "sender": "alice"})
    mute = str(site.node.send("alice", "for your information", answer="none")["id"])
    site.node.wait_state(mute, "submitted")
    with pytest.raises(InvalidRequest, match="wants no answer"):
        site.node.call("reply", {"question": mute, "body": "thanks", "sender": "alice"})


def test_the_same_id_of_an_answer_is_the_same_answer(site: Site) -> None:
    question, answer = new_ulid(), new_ulid()
    ask(site, "carol", "slowly", "--id", question, "--timeout", "1s", code=TIMED_OUT)
    words = {"question": question, "id": answer, "body": "only once", "sender": "carol"}
    assert {site.node.call("reply", words)["id"] for _ in range(3)} == {answer}
    with pytest.raises(Conflict, match="belongs to another"):
        site.node.call("reply", {**words, "body": "something else"})
    with pytest.raises(Conflict, match=f"answered already, with {answer}"):
        site.node.call("reply", {**words, "id": new_ulid()})
    site.node.wait_state(question, "replied")
    assert [
        row["body"] for row in site.node.call("inbox", {"replies": True}) if row["reply_to"] == question
    ] == ["only once"]


def test_the_library_asks_and_answers(site: Site) -> None:
    nova = NovaOrchestrator(socket=site.node.socket)
    found = nova.ask("alice", "from a program", timeout_s=20)
    assert (found.body, found.sender) == ("alice says yes", "alice")
    assert nova.answer(found.question) == found
    named = nova.ask("alice", "in a name that is no agent's", timeout_s=20, sender="ci-bot")
    assert named.body == "alice says yes"
    assert any(" from ci-bot] Answer with: " in prompt for prompt in site.alice.prompts())
    question = new_ulid()
    with pytest.raises(TimedOut, match=question):
        nova.ask("carol", "from a program", timeout_s=1, message_id=question)
    with pytest.raises(NotAllowed):
        nova.reply(question, "not mine")
    assert nova.reply(question, "said carol", sender="carol").state == "accepted"
    assert nova.ask("carol", "from a program", timeout_s=10, message_id=question).body == "said carol"


def test_a_line_program_gets_no_first_line_and_can_be_answered_for(site: Site, tmp_path: Path) -> None:
    lines = raw(site.node, tmp_path, "lines")
    with asking(site.node, "lines", "plain?", "--timeout", "20s") as waiting:
        until(lambda: lines.bytes() == b"plain?\r", what="the question, as it is")
        (row,) = site.node.call("inbox", {"agent": "lines", "unanswered": True})
        site.node.call("reply", {"question": row["id"], "body": "plain", "sender": "lines"})
        out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err) == (DONE, "plain\n", "")
    site.node.call("unregister", {"agent_id": "lines"})
    again = site.node.novactl("ask", "lines", "plain?", "--id", row["id"])
    assert (again.returncode, again.stdout) == (DONE, "plain\n")
