"""What a migration takes for the original's scripts, and what it takes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.errors import StoreFailed
from novactl.drop_ins import NAMES, source
from novactl.migration.agents import BEFORE, GONE, decide_unregister
from novactl.migration.journal import Journal, opened
from novactl.migration.original import FOREIGN, NOVA, ORIGINAL, kind_of
from novactl.migration.scripts import decide_back
from tests.support.original import SCRIPTS

AGENT = {
    "agent_id": "a", "pane": "%1", "driver": "claude", "role": "dev", "skills": [], "known": False, "queued": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_original_is_known_by_what_it_does_and_ours_by_what_it_says(name: str) -> None:
    assert kind_of(name, SCRIPTS[name].encode()) == ORIGINAL
    assert kind_of(name, Path(source(name)).read_bytes()) == NOVA
    assert kind_of(name, b"#!/bin/sh\necho mine\n") == FOREIGN
    assert kind_of(name, b"") == FOREIGN


@pytest.mark.parametrize("name", ["send-claude-message.sh", "schedule_with_note.sh"])
def test_a_script_that_does_more_than_the_original_is_not_taken_for_it(name: str) -> None:
    own = 'words="$(printf %s "$words" | tr -cd "[:print:]")"\n'
    assert kind_of(name, (SCRIPTS[name] + "\n# a remark\n" * 30 + own).encode()) == ORIGINAL
    assert kind_of(name, (SCRIPTS[name] + own * 40).encode()) == FOREIGN


def test_only_an_agent_that_is_still_the_one_that_was_made_is_unregistered() -> None:
    def why(step: dict[str, object], record: dict[str, object] | None, *, force: bool = False) -> str:
        return decide_unregister(
            {**AGENT, **step}, None if record is None else {**AGENT, **record}, force=force
        )

    assert why({}, {}) == ""
    assert why({}, {"pane": ""}) == ""
    assert why({}, None) == GONE
    assert why({"known": True}, {}) == BEFORE
    assert why({}, {"pane": "%2"}) == "it was registered again since, in pane %2"
    assert why({}, {"role": "qa"}) == "it was registered again since, otherwise"
    assert why({}, {"queued": 3}) == "messages in hand for it: 3; --force gives up those that wait"
    assert why({}, {"queued": 3}, force=True) == ""


def test_only_a_script_that_is_still_ours_is_put_back() -> None:
    one, other = {"sha256": "1"}, {"sha256": "2"}
    assert decide_back(ours=True, same=False, backup=one, before=one) == ""
    assert decide_back(ours=False, same=True, backup={}, before=one) == "there already"
    assert "changed since" in decide_back(ours=False, same=False, backup=one, before=one)
    assert "is gone" in decide_back(ours=True, same=False, backup={}, before=one)
    assert "was changed since" in decide_back(ours=True, same=False, backup=other, before=one)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema": 9, "steps": []}', '{"schema": 1, "steps": [{"kind": "agent"}]}', "\xff"],
)
def test_a_journal_that_cannot_be_read_is_a_sentence_and_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "migration.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreFailed, match=r"migration\.json"), opened(str(tmp_path)):
        pass
    assert (tmp_path / "migration.json").read_bytes() == text.encode("latin-1")


def test_a_journal_goes_when_nothing_is_left_in_it(tmp_path: Path) -> None:
    step = {"kind": "script", "path": "/p", "backup": "/b", "before": {}, "link": "/l"}
    journal = Journal(str(tmp_path))
    journal.begin(step)
    assert Journal(str(tmp_path)).steps == [{**step, "state": "begun"}]
    journal.done(step)
    assert Journal(str(tmp_path)).steps == [{**step, "state": "done"}]
    journal.forget(step)
    assert list(tmp_path.iterdir()) == []
