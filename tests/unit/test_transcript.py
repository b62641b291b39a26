"""A transcript tells what an agent was handed within a turn, and nothing that stood there before."""

from __future__ import annotations

import json
from pathlib import Path

from noval_d.agents.driver_file import load_drivers
from noval_d.agents.transcript import Transcript

CLAUDE = load_drivers()["claude"]


def queued(text: object) -> str:
    return json.dumps({"type": "attachment", "attachment": {"type": "queued_command", "prompt": text}}) + "\n"


def prompts(transcript: Transcript) -> list[str]:
    return [text for _, text in transcript.new_texts((CLAUDE.transcript_where, CLAUDE.transcript_prompt))]


def test_what_is_queued_is_told_apart_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text("")
    transcript = Transcript(str(file))
    got = (CLAUDE.transcript_where, CLAUDE.transcript_prompt)
    taken = (CLAUDE.transcript_queued_where, CLAUDE.transcript_queued)
    transcript.new_texts(got, taken)
    enqueued = {"type": "queue-operation", "operation": "enqueue", "content": "first"}
    dequeued = {"type": "queue-operation", "operation": "dequeue"}
    file.write_text(json.dumps(enqueued) + "\n" + queued("second") + json.dumps(dequeued) + "\n")
    assert transcript.new_texts(got, taken) == [(1, "first"), (0, "second")]


def test_only_what_is_added_after_the_first_look_counts(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(queued("old"))
    transcript = Transcript(str(file))
    assert prompts(transcript) == []
    with file.open("a") as out:
        out.write(queued("new") + '{"type": "user"}\n' + queued("newer"))
    assert prompts(transcript) == ["new", "newer"]
    assert prompts(transcript) == []


def test_a_line_that_is_not_finished_is_read_when_it_is(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text("")
    transcript = Transcript(str(file))
    prompts(transcript)
    whole = queued("in two pieces")
    with file.open("a") as out:
        out.write(whole[:20])
        out.flush()
        assert prompts(transcript) == []
        out.write(whole[20:])
    assert prompts(transcript) == ["in two pieces"]


def test_what_is_no_transcript_has_no_prompts(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "t.jsonl")
    for path in (tmp_path, tmp_path / "missing", link, "/dev/zero", "nul\0"):
        assert prompts(Transcript(str(path))) == []


def test_lines_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text("")
    transcript = Transcript(str(file))
    prompts(transcript)
    file.write_text(
        "not json\n[1]\n" + queued(["a", "list"]) + queued("") + json.dumps({"type": "attachment"})
    )
    assert prompts(transcript) == []
