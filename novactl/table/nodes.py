"""Commands about the nodes of the fleet."""

from __future__ import annotations

from novactl.options import FLAG, Command, Param, option

NAME = Param("name", metavar="NAME", help="The node (default: this one).")

NODES = (
    Command(
        "node list",
        "novactl.commands.nodes:list_nodes",
        "List the nodes of the fleet: state, labels, agents, load.",
        examples=("novactl node list", "novactl node list --json"),
    ),
    Command(
        "node show",
        "novactl.commands.nodes:show",
        "Show one node with its agents.",
        (NAME,),
        examples=("novactl node show", "novactl node show eu-1 --json"),
    ),
    Command(
        "node drain",
        "novactl.commands.nodes:drain",
        "Have a node take nothing new. Its spawned agents are stopped as soon as they are done.",
        (
            NAME,
            option("--deadline", metavar="DURATION", help="Stop them then, done or not: 30s, 15m, 2h."),
            option("--force", FLAG, help="Even when it is the last node with agents of a role."),
        ),
        examples=("novactl node drain", "novactl node drain eu-1 --deadline 15m"),
    ),
    Command(
        "node resume",
        "novactl.commands.nodes:resume",
        "Have a node that drains take new agents again.",
        (NAME,),
        examples=("novactl node resume eu-1",),
    ),
    Command(
        "node remove",
        "novactl.commands.nodes:remove",
        "Forget a node that is gone for good, and its agents.",
        (
            Param("name", required=True, metavar="NAME", help="The node."),
            option("--force", FLAG, help="Give up the messages that wait for its agents."),
        ),
        examples=("novactl node remove eu-1",),
    ),
)
