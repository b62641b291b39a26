"""The Lua scripts. Each has its keys declared and of one hash tag, and runs on DragonflyDB, Valkey and Redis.

What holds for every text here (BROKER, section 1, and the probe of Dragonfly 1.40.1):
- Dragonfly runs Lua 5.4, the others Lua 5.1: no `unpack`, no integer division, and a number is formatted with
  `%.0f` before it becomes an argument or a reply, since a float of 5.4 prints as `1.7e+12`.
- Only KEYS are touched. No BLOCK, no cmsgpack, no cjson.
- A reply is a string or a list of strings. The first word of a refusal is one that `script.py` names.
- Each may run twice: a caller whose reply was lost runs it again.
"""

from __future__ import annotations

from nova_torch.broker.scripts.letters import BURY, UNBURY
from nova_torch.broker.scripts.mailboxes import ACK, CLAIM, CLAIM_FOR, ENQUEUE, HOLD, READ, RELEASE
from nova_torch.broker.scripts.nodes import (
    BEAT,
    CLAIM_EPOCH,
    FENCE_MAIL,
    FORGET_NODE,
    LEAVE,
    MAIL_DONE,
    ORDER_DRAIN,
    POST,
)
from nova_torch.broker.scripts.scaling import SCALE_LEAD, SCALE_NOTE
from nova_torch.broker.scripts.schedules import FORGET_SCHEDULES, PUT_SCHEDULES, READ_MARKS
from nova_torch.broker.scripts.script import LOST, NOT_OWNER, OK, Script
from nova_torch.broker.scripts.streams import append_once
from nova_torch.broker.scripts.tasks import FORGET_TASKS, PUT_TASK

__all__ = [
    "ACK",
    "ALL",
    "BEAT",
    "BURY",
    "CLAIM",
    "CLAIM_EPOCH",
    "CLAIM_FOR",
    "ENQUEUE",
    "FENCE_MAIL",
    "FORGET_NODE",
    "FORGET_SCHEDULES",
    "FORGET_TASKS",
    "HOLD",
    "LEAVE",
    "LOST",
    "MAIL_DONE",
    "NOT_OWNER",
    "OK",
    "ORDER_DRAIN",
    "POST",
    "PUT_SCHEDULES",
    "PUT_TASK",
    "READ",
    "READ_MARKS",
    "RELEASE",
    "SCALE_LEAD",
    "SCALE_NOTE",
    "UNBURY",
    "Script",
    "append_once",
]

ALL = (
    CLAIM,
    CLAIM_FOR,
    RELEASE,
    ENQUEUE,
    READ,
    HOLD,
    ACK,
    BURY,
    UNBURY,
    CLAIM_EPOCH,
    FENCE_MAIL,
    BEAT,
    LEAVE,
    ORDER_DRAIN,
    FORGET_NODE,
    POST,
    MAIL_DONE,
    PUT_SCHEDULES,
    READ_MARKS,
    FORGET_SCHEDULES,
    PUT_TASK,
    FORGET_TASKS,
    SCALE_LEAD,
    SCALE_NOTE,
    append_once(2),
)
