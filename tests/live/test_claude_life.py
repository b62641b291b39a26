"""The dialogs of a real Claude Code's start: answered where they are allowed, named and left where not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from nova_torch.errors import NovaError
from noval_d.canary.kinds.claude import KEY
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.spawned import Stage, stage
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(270), needs(ClaudeLab)]


@pytest.fixture
def claude() -> Iterator[Stage]:
    """A stage for a Claude Code that knows nothing: it asks for the key and for the folder."""
    with stage(ClaudeLab) as made:
        (made.home / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True}))
        yield made


def test_the_dialogs_of_its_start_are_answered_where_they_are_allowed(claude: Stage) -> None:
    steps = claude.steps(**claude.args(allow=["trust", "api-key"], prompt="[[asked]] good morning"))
    assert steps.count("answered") == 2
    assert steps[-1] == "ready"
    claude.wait_received("[[asked]]")
    saved = json.loads((claude.home / ".claude.json").read_text())
    assert saved["customApiKeyResponses"]["approved"] == [KEY[-20:]]


@pytest.mark.long
def test_a_dialog_of_its_start_that_is_not_allowed_is_named_and_not_answered(claude: Stage) -> None:
    with pytest.raises(NovaError, match="waits at its dialog") as caught:
        claude.steps(**claude.args(allow=["api-key"]))
    assert "--allow trust" in caught.value.hint
    saved = json.loads((claude.home / ".claude.json").read_text())
    folder = saved.get("projects", {}).get(str(claude.directory), {})
    assert not folder.get("hasTrustDialogAccepted")
    claude.node.tmux.press(claude.record()["pane"], "Enter")  # a person says yes
    until(lambda: claude.record()["state"] == "idle", 30, "idle")
