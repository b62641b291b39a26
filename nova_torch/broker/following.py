"""Decide where a command is sent again whose slot has moved, or is on its way, to another shard. No I/O.

A shard that answers so has done nothing: nothing is done twice. `MOVED`: the slot is at another one for good.
`ASK`: it is on its way, and the other one has what was asked for already, or is where it would be new. `TRYAGAIN`:
of the keys of a command not all are at one place; that ends when the slot has arrived.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis import exceptions as redis_errors

from nova_torch.broker.scripts import ALL
from nova_torch.broker.wires import Command

ASK, MOVED, TRYAGAIN = redis_errors.AskError, redis_errors.MovedError, redis_errors.TryAgainError
ELSEWHERE = (ASK, TRYAGAIN)
"""What is no answer; MOVED is a kind of ASK to redis-py."""
PAUSES_S = (0.0, *[0.05] * 60)
"""How long is waited before each new try: most slots are on their way for milliseconds."""
_TEXTS: dict[object, str] = {script.sha: script.text for script in ALL}


def for_good(reply: object) -> bool:
    """Tell whether the slot has arrived at the shard that is named."""
    return isinstance(reply, MOVED)


def again(command: Command, reply: object) -> Sequence[Command]:
    """Return what is sent to the shard that is to be asked now: it may not know the script yet."""
    if command[0] == "EVALSHA" and command[1] in _TEXTS:
        command = ("EVAL", _TEXTS[command[1]], *command[2:])
    on_its_way = isinstance(reply, ASK) and not for_good(reply)
    return [("ASKING",), command] if on_its_way else [command]
