"""Who decides about scaling, and what was done, in the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nova_torch.broker import scripts
from nova_torch.broker.part import Part, check
from nova_torch.broker.wires import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who leads, since which epoch, and by which configuration."""

    node: str
    epoch: int
    digest: str


class Scaling(Part):
    """The lease of the one node that scales the fleet. All of it may be said twice."""

    async def lead_scaling(self, node: str, epoch: int, digest: str, *, ttl_s: float) -> Lead:
        """Take or renew the lead for `ttl_s`, if it is free or this node's; return who leads now."""
        words = await self._link.script(
            scripts.SCALE_LEAD,
            (self._keys.scale_lead, self._keys.scale_epoch),
            node, epoch, digest, round(ttl_s * 1000),
        )  # fmt: skip
        if words[0] == scripts.OK:
            return Lead(node=node, epoch=int(words[1]), digest=digest)
        return _lead(words[1])

    async def scaling_lead(self) -> Lead | None:
        """Return who leads; None: nobody."""
        held = await self._link.command("GET", self._keys.scale_lead)
        return _lead(held) if held else None

    async def scale_actions(self) -> dict[str, bytes]:
        """Return what was done, by id."""
        flat = await self._link.command("HGETALL", self._keys.scale_acts)
        return {name.decode(errors="replace"): raw for name, raw in zip(flat[::2], flat[1::2], strict=True)}

    async def note_actions(self, lead: Lead, noted: Mapping[str, bytes], gone: Sequence[str] = ()) -> None:
        """Write down what is done, and forget what counts no more. Raises NotOwner when another node leads."""
        words: list[Word] = [word for name, raw in noted.items() for word in (name, raw)]
        reply = await self._link.script(
            scripts.SCALE_NOTE,
            (self._keys.scale_lead, self._keys.scale_acts),
            lead.node, lead.epoch, len(noted), *words, *gone,
        )  # fmt: skip
        check(reply, "scaling")


def _lead(held: bytes) -> Lead:
    node, _, rest = held.decode(errors="replace").partition("|")
    epoch, _, digest = rest.partition("|")
    return Lead(node=node, epoch=int(epoch) if epoch.isdigit() else 0, digest=digest)
