"""Take out of the state file what is older than the node keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_torch.errors import StoreFailed
from noval_d.bridges.records import Bridged
from noval_d.life.asked import Asked
from noval_d.mailroom.ledger import Ledger
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from noval_d.node.pulse import rest
from noval_d.talk.records import Records
from noval_d.tasks.copies import Copies

log = logging.getLogger("nova.node")

PURGE_S = 3600.0


async def purge(store: Store, keep_from_ms: Callable[[], int]) -> None:
    """Purge now and every hour, until cancelled."""
    while True:
        before = keep_from_ms()
        try:
            await store.write(
                Ledger.purge(before),
                *Outbox.purge(before),
                *Records.purge(before),
                Bridged.purge(before),
                Copies.purge(before),
                Asked.purge(before),
            )
        except StoreFailed as error:
            log.warning("node.purge_failed", extra={"problem": error.message})
        await rest(PURGE_S)
