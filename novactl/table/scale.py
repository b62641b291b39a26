"""Commands about scaling."""

from __future__ import annotations

from novactl.options import Command, Param

SCALE = (
    Command(
        "scale status",
        "novactl.commands.scale:status",
        "Show who scales the fleet, how many agents each role has, and what was done last.",
        examples=("novactl scale status", "novactl scale status --json"),
    ),
    Command(
        "scale explain",
        "novactl.commands.scale:explain",
        "Say what would be decided now about each role, or about one, and why.",
        (Param("role", metavar="ROLE", help="The role (default: every one)."),),
        examples=("novactl scale explain", "novactl scale explain reviewer"),
    ),
)
