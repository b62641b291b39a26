"""What is typed into an agent is never taken for a command, and a line program gets the body alone."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nova_torch.clean import clean
from nova_torch.values import Form, Kind, Message, MessageId
from noval_d.agents.driver_file import load_drivers
from noval_d.delivery.template import dress, plain

DRIVERS = load_drivers(None)
CLAUDE, LINE = DRIVERS["claude"], DRIVERS["line"]
bodies = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda body: clean(body).strip()
)


def message(
    body: str, *, sender: str = "user:x", form: Form = Form.AUTO, kind: Kind = Kind.MESSAGE
) -> Message:
    return Message(
        id=MessageId("01J"), sender=sender, target="a", body=body, created_ms=0, kind=kind,
        headers={"form": form.value},
    )  # fmt: skip


@given(bodies, st.sampled_from(Form), st.sampled_from(["user:x", "claude-2", ""]))
def test_a_line_program_gets_the_cleaned_body_and_nothing_else(body: str, form: Form, sender: str) -> None:
    assert dress(LINE, message(body, form=form, sender=sender)) == clean(body)


@given(bodies, st.sampled_from([Form.AUTO, Form.RAW]), st.sampled_from(["user:x", "claude-2", ""]))
def test_no_body_begins_like_a_command_or_ends_like_a_picker(body: str, form: Form, sender: str) -> None:
    typed = dress(CLAUDE, message(body, form=form, sender=sender))
    assert typed[0] not in "/!#@$&❯\\ \t\n"
    assert typed.endswith(" ")
    assert clean(body) in typed


def test_between_agents_the_first_line_names_sender_and_id() -> None:
    typed = dress(CLAUDE, message("do it", sender="claude-2", kind=Kind.TASK))
    first, rest = typed.split("\n", 1)
    assert first == '[nova 01J from claude-2] Answer with: novactl reply 01J "..."'
    assert rest == "do it "


def test_a_person_who_asks_is_named_with_the_command_that_answers() -> None:
    asked = replace(message("is it?"), headers={"form": "auto", "answer": "wanted"})
    assert dress(CLAUDE, asked) == '[nova 01J from user:x] Answer with: novactl reply 01J "..."\nis it? '
    assert dress(LINE, asked) == "is it?"


def test_an_answer_names_what_it_answers_and_asks_for_nothing() -> None:
    question = "01JD3ZK8Q5W9X2Y4V6B8N0M1P3"
    answer = replace(message("yes", sender="claude-2", kind=Kind.REPLY), reply_to=question)
    assert dress(CLAUDE, answer) == f"[nova 01J from claude-2, answers {question}]\nyes "
    assert dress(CLAUDE, replace(answer, reply_to="x] $(reboot)")) == "[nova 01J from claude-2]\nyes "


@given(st.text(max_size=300))
def test_the_first_line_is_safe_whatever_the_sender_is_called(sender: str) -> None:
    asked = replace(message("?", sender=sender), headers={"form": "auto", "answer": "wanted"})
    first, _, rest = dress(CLAUDE, asked).partition("\n")
    assert rest == "? "
    named = re.fullmatch(r'\[nova 01J from ([\w.:@?-]+)\] Answer with: novactl reply 01J "..."', first)
    assert named is not None
    assert len(named[1]) <= 80


def test_a_command_goes_in_as_it_is() -> None:
    assert dress(CLAUDE, message("/compact", form=Form.COMMAND)).rstrip() == "/compact"


def test_verbatim_is_a_command_only_where_the_driver_knows_commands() -> None:
    generic = DRIVERS["generic"]
    assert CLAUDE.accepts_commands
    assert not generic.accepts_commands
    assert dress(CLAUDE, message("/compact", form=Form.VERBATIM)) == "/compact "
    assert dress(generic, message("/compact", form=Form.VERBATIM)) == "[nova] /compact "
    assert dress(LINE, message("/bin/ls", form=Form.VERBATIM)) == "/bin/ls"


@given(bodies)
def test_what_needs_no_typing_is_the_body_alone(body: str) -> None:
    assert plain(message(body)) == clean(body)


def test_what_needs_no_typing_still_says_which_agent_sent_it() -> None:
    assert plain(message("/do", sender="claude-2")) == "[nova 01J from claude-2]\n/do"
    assert plain(message("/do", sender="claude-2", form=Form.RAW)) == "/do"
