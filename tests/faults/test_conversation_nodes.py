"""Questions and answers across two nodes on one broker, while daemons are killed and the broker is away."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nova_torch.errors import MessageNotFound
from nova_torch.ulid import new_ulid
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import raw
from tests.support.node import TestNode, node, until
from tests.support.talkers import asking, ran, talker


@contextmanager
def pair() -> Iterator[tuple[TestNode, TestNode]]:
    """Two nodes, each with its own tmux; the first one's broker serves both."""
    with node() as first, neighbour(first) as second:
        yield first, second


def known(to: TestNode, *agents: str) -> None:
    until(lambda: set(agents) <= {r["agent_id"] for r in to.call("agents")}, what=f"{agents} in the registry")


def again(running: TestNode) -> None:
    running.start()
    running.wait_up()


def test_agents_and_people_ask_across_nodes(tmp_path: Path) -> None:
    with pair() as (first, second):
        alice = talker(first, tmp_path, "alice", answer="alice's word")
        bob = talker(second, tmp_path, "bob", answer="bob's word")
        known(first, "alice", "bob")
        known(second, "alice", "bob")
        # a person here, an agent there, and the other way round
        for here, target in ((first, "bob"), (second, "alice")):
            done = here.novactl("ask", target, "across?", "--timeout", "30s")
            assert (done.returncode, done.stdout) == (0, f"{target}'s word\n"), done
        # an agent asks another: its ask prints the answer, and nothing is typed
        first.send("alice", "NOVACTL<<ask bob 'between us?'>>")
        assert ran(alice, 2)[-1]["out"] == "bob's word\n"
        asked = next(p for p in bob.prompts() if "between us?" in p)
        assert " from alice] Answer with: novactl reply " in asked
        # without an ask that waits, the answer is typed into the asker's pane on its node
        question = str(first.send("bob", "and later?", sender="alice", answer="wanted")["id"])
        until(lambda: [p for p in alice.prompts() if question in p], 45, "the answer in alice's pane")
        answer = first.wait_state(question, "replied")["reason"]
        assert [p for p in alice.prompts() if answer in p] == [
            f"[nova {answer} from bob, answers {question}]\nbob's word"
        ]
        second.wait_state(answer, "submitted", "acknowledged")
        assert [p for p in alice.prompts() if "bob's word" in p and answer not in p] == []
        # a program that speaks in the name of an agent of another node: the answer goes there, the news here
        question = str(second.send("bob", "in her name?", sender="alice", answer="wanted")["id"])
        answer = second.wait_state(question, "replied")["reason"]
        until(lambda: [p for p in alice.prompts() if answer in p], 45, "the answer in alice's pane")
        with pytest.raises(MessageNotFound, match="is not kept here"):
            second.call("answer", {"id": question})
        assert second.call("trace", {"id": question})["reply"] == {"id": answer}


def test_an_answer_on_its_way_survives_a_kill_of_the_askers_daemon(tmp_path: Path) -> None:
    with pair() as (first, second):
        raw(first, tmp_path, "carol")
        known(second, "carol")
        question = new_ulid()
        words = ("carol", "well?", "--id", question, "--timeout", "60s")
        with asking(second, *words) as waiting:
            until(lambda: _asked(first, question), what="carol asked")
            with asking(second, *words):  # this one is killed as well
                second.kill()
            reply = {"question": question, "body": "I think so", "sender": "carol"}
            answer = str(first.call("reply", reply)["id"])
            assert first.wait_state(answer, "queued")["agent"] == "@other"
            again(second)
            out, err = waiting.communicate(timeout=30)
            assert (waiting.returncode, out) == (0, "I think so\n"), err
        asked_again = second.novactl("ask", "carol", "well?", "--id", question)
        assert (asked_again.returncode, asked_again.stdout) == (0, "I think so\n")
        assert first.wait_state(answer, "acknowledged")["final"]
        second.kill()
        again(second)
        assert second.novactl("ask", "carol", "well?", "--id", question).stdout == "I think so\n"
        kept = second.call("inbox", {"replies": True})
        assert [(row["id"], row["reply_to"]) for row in kept] == [(answer, question)]


def _asked(at: TestNode, question: str) -> bool:
    return question in {row["id"] for row in at.call("inbox", {"agent": "carol", "unanswered": True})}


def _accepted(at: TestNode, question: str) -> bool:
    try:
        return bool(at.receipt(question))
    except MessageNotFound:
        return False


def test_an_answer_survives_a_kill_of_the_answering_daemon(tmp_path: Path) -> None:
    with pair() as (first, second):
        raw(second, tmp_path, "carol")
        known(first, "carol")
        question = str(first.send("carol", "well?", answer="wanted")["id"])
        until(lambda: _asked(second, question), what="carol asked")
        second.call("reply", {"question": question, "body": "I was killed", "sender": "carol"})
        second.kill()
        again(second)
        first.wait_state(question, "replied")
        assert first.call("answer", {"id": question})["body"] == "I was killed"
        assert second.call("inbox", {"agent": "carol", "unanswered": True}) == []


def test_an_ask_outlives_an_orderly_restart(tmp_path: Path) -> None:
    with node() as running:
        raw(running, tmp_path, "carol")
        question = new_ulid()
        with asking(running, "carol", "well?", "--id", question, "--timeout", "60s") as waiting:
            until(lambda: _asked(running, question), what="carol asked")
            assert running.stop() == 0
            running.start()
            running.wait_up()
            running.call("reply", {"question": question, "body": "after all", "sender": "carol"})
            out, err = waiting.communicate(timeout=30)
        assert (waiting.returncode, out) == (0, "after all\n"), err


@pytest.mark.timeout(180)
def test_kills_of_the_askers_daemon_lose_no_answer_and_ask_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(11)
    with pair() as (first, second):
        bob = talker(first, tmp_path, "bob", answer="bob's word")
        known(second, "bob")
        with contextlib.ExitStack() as running:
            ids = [new_ulid() for _ in range(6)]
            asked = [
                running.enter_context(asking(second, "bob", f"question {n}?", "--id", ids[n]))
                for n in range(6)
            ]
            for question in ids:
                until(functools.partial(_accepted, second, question), what="the question")
            for _ in range(4):
                time.sleep(rng.uniform(0.2, 1.5))
                second.kill()
                again(second)
            for one in asked:
                out, err = one.communicate(timeout=90)
                assert (one.returncode, out) == (0, "bob's word\n"), err
        for number in range(6):
            assert sum(f"question {number}?" in prompt for prompt in bob.prompts()) == 1


def test_without_a_broker_people_of_the_node_get_their_answers(tmp_path: Path) -> None:
    with node(start=False, env={"NOVA_BROKER_URL": "redis://127.0.0.1:9"}) as alone:
        alone.start()
        until(lambda: alone.call("status")["tmux"][0]["state"] == "up", what="tmux")
        assert alone.call("status")["mode"] == "fallback"
        talker(alone, tmp_path, "bob", answer="bob's word")
        done = alone.novactl("ask", "bob", "no broker?", "--timeout", "30s")
        assert (done.returncode, done.stdout) == (0, "bob's word\n"), done
