"""The whole table: every area's commands, in the order of the help."""

from __future__ import annotations

from novactl.table.agents import AGENTS
from novactl.table.driver import DRIVER
from novactl.table.hooks import HOOKS
from novactl.table.hot import HOT
from novactl.table.legacy import LEGACY
from novactl.table.messages import MESSAGES
from novactl.table.node import NODE
from novactl.table.operate import OPERATE
from novactl.table.panes import PANES
from novactl.table.schedule import SCHEDULES

GROUPS = {
    "driver": "What agents look like: list, show, test, record.",
    "schedule": "Messages that are sent later: add, list, show, cancel.",
    "dead": "Messages that were given up: list, retry, drop.",
    "legacy": "The scripts of the original Tmux Orchestrator: install, status, remove.",
    "hooks": "The agents' hooks, which prove deliveries: install, status, remove.",
    "config": "The configuration: show, validate.",
}

COMMANDS = (
    *HOT,
    *NODE,
    *AGENTS,
    *MESSAGES,
    *PANES,
    *SCHEDULES,
    *DRIVER,
    *HOOKS,
    *LEGACY,
    *OPERATE,
)
