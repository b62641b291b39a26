"""The asynchronous core: compose a message, post it, follow it until it is where the caller wants it.

The daemon sends through this very class, with its own outbox as the postbox; programs take the road to a daemon,
or without one to the broker.
"""

from __future__ import annotations

from typing import Any

from nova_torch.communication.asking import Asking
from nova_torch.communication.watching import Watching
from nova_torch.ulid import new_ulid


class AsyncNovaOrchestrator(Asking, Watching):
    """Sends messages and asks about agents. Use it as `async with AsyncNovaOrchestrator() as nova:`.

    It goes to the daemon of this machine, the one that novactl would use; when none runs, to the broker that the
    configuration or the environment (`NOVA_BROKER_URL`, `DRAGONFLY_HOST`) names. `socket` is the control socket of
    one daemon: that one, or an error. `broker` is the URL of the broker to use when no daemon answers. A daemon
    that goes away while a message is followed is waited for, `gone_s` seconds.

    Every method raises DaemonUnreachable when neither daemon nor broker can be reached. An error about a message
    has its id as `error.message_id`: sending again with it is safe, it is typed once.
    """

    async def schedule(self, target: str, body: str | bytes, **options: Any) -> dict[str, Any]:
        """Have `body` sent to the agent `target` later; return the schedule (as `novactl schedule show --json`).

        Options are those of the call `schedule_add`: one of `in_s` (seconds), `at` (a text such as `17:30`),
        `every_s`, `cron`; `tz`, `missed`, `late_s`, `priority`, `form`, `ttl_s`, `id`, `sender`. Without `tz` the
        local zone is meant. Raises InvalidRequest, AgentNotFound, Busy (too many) and Conflict.
        """
        from nova_torch.zones import local_zone

        args = {
            "id": new_ulid(self._clock_ms()),
            "tz": local_zone(),
            "target": target,
            "body": body,
            **options,
        }
        return dict(await self._road.call("schedule_add", args, what="schedules are kept by daemons"))
