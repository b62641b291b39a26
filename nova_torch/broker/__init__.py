"""The broker: DragonflyDB, Valkey or Redis. The only package that imports redis. Exports lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nova_torch.broker.channels import Channels as Channels
    from nova_torch.broker.channels import Heard as Heard
    from nova_torch.broker.deadletters import DeadEntry as DeadEntry
    from nova_torch.broker.embedded import EmbeddedBroker as EmbeddedBroker
    from nova_torch.broker.facade import Broker as Broker
    from nova_torch.broker.foreign import ForeignEntry as ForeignEntry
    from nova_torch.broker.mailbox import Enqueue as Enqueue
    from nova_torch.broker.mailbox import Enqueued as Enqueued
    from nova_torch.broker.mailbox import Entry as Entry
    from nova_torch.broker.mailbox import Lane as Lane
    from nova_torch.broker.mailbox import Owner as Owner
    from nova_torch.broker.node import BeatReply as BeatReply
    from nova_torch.broker.node import Mail as Mail
    from nova_torch.broker.node import NodeLease as NodeLease
    from nova_torch.broker.schedules import Kept as Kept
    from nova_torch.broker.server_info import BrokerInfo as BrokerInfo
    from nova_torch.broker.tasks import TaskMove as TaskMove
    from nova_torch.broker.tasks import TaskStep as TaskStep

__all__ = [
    "BeatReply",
    "Broker",
    "BrokerInfo",
    "Channels",
    "DeadEntry",
    "EmbeddedBroker",
    "Enqueue",
    "Enqueued",
    "Entry",
    "ForeignEntry",
    "Heard",
    "Kept",
    "Lane",
    "Mail",
    "NodeLease",
    "Owner",
    "TaskMove",
    "TaskStep",
]

_HOMES = {
    "Broker": "facade",
    "BrokerInfo": "server_info",
    "Channels": "channels",
    "DeadEntry": "deadletters",
    "EmbeddedBroker": "embedded",
    "Enqueue": "mailbox",
    "Enqueued": "mailbox",
    "Entry": "mailbox",
    "ForeignEntry": "foreign",
    "Heard": "channels",
    "Kept": "schedules",
    "Lane": "mailbox",
    "Mail": "node",
    "NodeLease": "node",
    "Owner": "mailbox",
    "BeatReply": "node",
    "TaskMove": "tasks",
    "TaskStep": "tasks",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
