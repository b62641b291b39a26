"""What a person means by `session:window[.pane]`."""

from __future__ import annotations

import pytest

from nova_torch.errors import PaneNotFound
from nova_torch.values import PaneId
from noval_d.tmux.targets import Place, resolve


def place(pane: str, session: str, window: int, index: int, *, name: str = "sh", window_active: bool = False,
          pane_active: bool = False) -> Place:  # fmt: skip
    return Place(
        pane_id=PaneId(pane), pid=1, pane_index=index, pane_active=pane_active, dead=False, window_index=window,
        window_active=window_active, attached=0, session=session, window_name=name, title="", command="sh",
    )  # fmt: skip


PLACES = (
    place("%1", "work", 0, 0, name="claude", pane_active=True),
    place("%2", "work", 1, 0, name="v1.5", window_active=True),
    place("%3", "work", 1, 1, name="v1.5", window_active=True, pane_active=True),
    place("%4", "workshop", 0, 0, name="7", pane_active=True, window_active=True),
    place("%5", "workshop", 7, 0, name="logs", pane_active=True),
    place("%6", "lab", 0, 0, name="twin", pane_active=True, window_active=True),
    place("%7", "lab", 1, 0, name="twin", pane_active=True),
)


@pytest.mark.parametrize(
    ("target", "pane"),
    [
        ("work:0", "%1"),
        ("work:0.0", "%1"),
        ("work:claude", "%1"),
        ("work:1", "%3"),
        ("work:1.0", "%2"),
        ("work:1.%2", "%2"),
        ("work:v1.5", "%3"),
        ("work:v1.5.0", "%2"),
        ("work:", "%3"),
        ("works:7", "%5"),
        ("workshop:logs", "%5"),
        ("%6", "%6"),
    ],
)
def test_a_target_means_one_pane(target: str, pane: str) -> None:
    assert resolve(PLACES, target) == pane


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("wor:0", "work, workshop"),
        ("wrok:0", "Did you mean work?"),
        ("work:cluade", "Did you mean claude?"),
        ("work:0.3", "work:0.0"),
        ("lab:twin", "lab:0, lab:1"),
        ("work:9", "work"),
        ("%99", "list-panes"),
        (":0", "List them"),
        ("", "List them"),
    ],
)
def test_a_target_that_means_nothing_or_too_much_is_refused_with_a_cure(target: str, told: str) -> None:
    with pytest.raises(PaneNotFound) as caught:
        resolve(PLACES, target)
    assert told in str(caught.value)
