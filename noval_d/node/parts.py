"""What a node runs, in the order of its start; a further part is one more line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from noval_d.node.part import Part
from noval_d.node.purge import purge

if TYPE_CHECKING:
    from noval_d.node.node import Node, Serve

CONTROL = "control"


def parts(node: Node, serve: Serve) -> tuple[Part, ...]:
    """Return everything that runs as long as `node` does; `serve` is its control socket."""
    return (
        Part("tmux", node.tmux.run),
        Part("panes", node.following.run),
        Part("states", node.watcher.run),
        Part("kept-hooks", node.hooks.run),
        Part("broker", node.broker.run),
        Part("bells", node.inbox.run_bells),
        Part("sweep", node.inbox.run_sweep),
        Part("reader", node.inbox.run_reader),
        Part("letting-go", node.inbox.run_letting_go),
        Part("dispatch", node.dispatch.run),
        Part("receipts-out", node.receipts.run_post),
        Part("receipts-in", node.receipts.run_mail),
        Part("receipts-own", node.receipts.run_own),
        Part("pigeonhole", node.pigeonhole.run),
        Part("schedules", node.schedules.run),
        Part("tasks", node.tasks.run),
        Part("task-log", node.tasks.run_log),
        Part("lag", node.lag.run),
        Part("load", node.meter.run),
        Part("draining", node.draining.run),
        Part("asks", node.asks.run),
        Part("watchers", node.watchers.run),
        Part("scaling", node.scaler.run),
        *node.bridges.parts(),
        Part("purge", partial(purge, node.store, node.keep_from_ms)),
        Part(CONTROL, partial(serve, node)),
        *(() if node.watchdog is None else (Part("watchdog", node.watchdog.run),)),
    )
