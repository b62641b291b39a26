"""What other nodes, and programs that have no daemon, may ask of this node through the broker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from noval_d.fleet.asks import Handler
from noval_d.fleet.programs import history_for, reply_for
from noval_d.fleet.spawning import spawn_for
from noval_d.fleet.watchers import Watchers
from noval_d.scale.acting import retire_for

if TYPE_CHECKING:
    from noval_d.node.node import Node


def answers(node: Node, watchers: Watchers) -> Mapping[str, Handler]:
    """Return who does what, by the word that it is asked for with."""
    return {
        "spawn": partial(spawn_for, node),
        "retire": partial(retire_for, node),
        "reply": partial(reply_for, node),
        "history": partial(history_for, node),
        "watch": watchers.watch_for,
    }
