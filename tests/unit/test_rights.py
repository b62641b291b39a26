"""docs/broker.md gives a node the right to every command that the project sends, and to no other."""

from __future__ import annotations

from tests.support.commands import Checker
from tests.support.node import ROOT
from tests.support.rights import commands_of, users


def test_a_node_has_the_right_to_every_command_that_is_sent_and_to_no_other() -> None:
    sent = {name.split()[0].lower() for name in Checker().rules["commands"]}
    told = commands_of("nova-node")
    of_a_cluster = {"cluster"}
    assert sent - set(told) == of_a_cluster, "add them to the rights of nova-node in docs/broker.md"
    assert "`+cluster|slots +asking`" in (ROOT / "docs" / "broker.md").read_text(encoding="utf-8")
    assert set(told) - sent == set(), "no longer sent: take them out of docs/broker.md"
    assert len(told) == len(set(told))


def test_the_users_of_the_paper_are_a_node_a_monitor_a_writer_and_the_servers_own() -> None:
    assert users() == ["nova-monitor", "nova-node", "nova-replica", "nova-sentinel", "ops-writer"]
    assert not set(
        commands_of("nova-monitor")
    ) & {  # xrange: of the registry's log, the only keys that it has
        "xread",
        "xreadgroup",
        "get",
        "set",
        "xadd",
        "eval",
    }
    assert not {"eval", "evalsha", "set", "del"} & set(commands_of("ops-writer"))
