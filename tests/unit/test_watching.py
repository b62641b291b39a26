"""What `novactl agents --watch` shows of a change."""

from __future__ import annotations

import pytest

from novactl.commands.watching import _line

CHANGED = {"event": "changed", "agent_id": "a", "state": "idle", "node": "n", "role": "dev"}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({**CHANGED, "before": {"state": "busy", "node": "n"}}, "changed\ta\tbusy -> idle\tn\tdev"),
        ({**CHANGED, "queued": 2}, "changed\ta\tidle\tn\tdev\tqueued 2"),
        ({**CHANGED, "current_task": "01J"}, "changed\ta\tidle\tn\tdev\t\ttask 01J"),
        ({**CHANGED, "attention": "ended on an error"}, "changed\ta\tidle\tn\tdev\t\t\tended on an error"),
        (
            {**CHANGED, "event": "moved", "before": {"state": "lost", "node": "m"}},
            "moved\ta\tlost -> idle\tm -> n\tdev",
        ),
    ],
)
def test_a_line_says_what_has_changed(item: dict[str, object], told: str) -> None:
    assert _line(item).partition("\t")[2] == told
