"""Schedules in a real broker: the later mark stays, the owner alone is told, only what is over is forgotten."""

from __future__ import annotations

import pytest

from nova_torch.broker import Kept, Lane, Owner
from nova_torch.errors import MailboxLost, NotOwner
from noval_d.schedule.schedule import Mark
from tests.support.aio import run
from tests.support.broker import Site


def kept(name: str, done_ms: int, ended: str = "", asked: bytes = b"\x00asked\xff") -> Kept:
    return Kept(id=name, asked=asked, mark=Mark(done_ms=done_ms, ended=ended).packed())


def test_of_two_marks_the_later_one_stays_whoever_comes_last(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            later, over = kept("one", 9), kept("one", 5, "cancelled")
            await broker.put_schedules("alice", [kept("one", 7), kept("two", 1)])
            await broker.put_schedules("alice", [later])
            await broker.put_schedules("alice", [kept("one", 8, asked=b"changed")])
            found = {each.id: each for each in await broker.schedules(["alice", "nobody"])}
            assert found == {"one": later, "two": kept("two", 1)}
            await broker.put_schedules("alice", [over])
            await broker.put_schedules("alice", [later])
            assert over in await broker.schedules(["alice"])

    run(scenario())


def test_the_owner_is_rung_for_what_is_new_and_not_again(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.put_schedules("alice", [kept("one", 1)])  # nobody owns alice yet
            await broker.claim("alice", Owner(node="home", epoch=5))
            await broker.put_schedules("alice", [kept("one", 1)])
            assert await broker.bells("home", block_s=0.05) == []
            await broker.put_schedules("alice", [kept("one", 1)], ring=True)  # its first bell may be lost
            assert await broker.bells("home", block_s=1) == [("~alice", Lane.MBX)]
            await broker.put_schedules("alice", [kept("one", 2), kept("two", 1)])
            assert await broker.bells("home", block_s=1) == [("~alice", Lane.MBX)]

    run(scenario())


def test_marks_are_read_by_the_owner_alone(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            owner = Owner(node="home", epoch=5)
            await broker.put_schedules("alice", [kept("one", 3)])
            with pytest.raises(MailboxLost):
                await broker.schedule_marks("alice", owner, ["one"])
            await broker.claim("alice", owner)
            assert await broker.schedule_marks("alice", owner, ["one", "two"]) == {"one": kept("one", 3).mark}
            await broker.claim("alice", Owner(node="away", epoch=6), over=owner)
            with pytest.raises(NotOwner):
                await broker.schedule_marks("alice", owner, ["one"])

    run(scenario())


def test_what_is_not_over_is_never_forgotten(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.put_schedules(
                "alice", [kept(f"s{n}", n, "finished" if n % 2 else "") for n in range(80)]
            )
            await broker.forget_schedules("alice", [f"s{n}" for n in range(90)])
            found = await broker.schedules(["alice"])
            assert sorted(each.id for each in found) == sorted(f"s{n}" for n in range(0, 80, 2))

    run(scenario())


def test_an_agent_that_is_released_keeps_its_schedules(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            owner = Owner(node="home", epoch=5)
            await broker.claim("alice", owner)
            await broker.put_schedules("alice", [kept("one", 3)])
            await broker.release("alice", owner, drop=True)
            assert await broker.schedules(["alice"]) == [kept("one", 3)]

    run(scenario())
