"""The whole table: every area's commands, in the order of the help."""

from __future__ import annotations

from novactl.table.agents import AGENTS
from novactl.table.driver import DRIVER
from novactl.table.guard import GUARD
from novactl.table.hooks import HOOKS
from novactl.table.hot import HOT
from novactl.table.legacy import LEGACY
from novactl.table.messages import MESSAGES
from novactl.table.node import NODE
from novactl.table.nodes import NODES
from novactl.table.operate import OPERATE
from novactl.table.panes import PANES
from novactl.table.scale import SCALE
from novactl.table.schedule import SCHEDULES
from novactl.table.task import TASKS

GROUPS = {
    "node": "The nodes of the fleet: list, show, drain, resume, remove.",
    "scale": "How many agents of a role there are: status, explain.",
    "driver": "What agents look like: list, show, test, record.",
    "schedule": "Messages that are sent later: add, list, show, cancel.",
    "task": "Work that idle agents are given: add, list, show, claim, done, fail, …",
    "dead": "Messages that were given up: list, retry, drop.",
    "legacy": "The scripts of the original Tmux Orchestrator: install, status, remove.",
    "hooks": "The agents' hooks, which prove deliveries: install, status, remove.",
    "policy": "Who may do what: check.",
    "config": "The configuration: show, validate.",
}

COMMANDS = (
    *HOT,
    *NODE,
    *AGENTS,
    *NODES,
    *SCALE,
    *MESSAGES,
    *PANES,
    *SCHEDULES,
    *TASKS,
    *DRIVER,
    *HOOKS,
    *LEGACY,
    *GUARD,
    *OPERATE,
)
