"""Foreign streams and channels on a real server: once in, once out, and one bad key is no broken connection."""

from __future__ import annotations

import asyncio

import pytest

from nova_torch.errors import ForeignRefused
from tests.support.aio import run
from tests.support.broker import Site


def test_what_tells_of_an_event_is_added_once_when_it_may_have_been(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            stream = f"{site.prefix}-foreign"
            fields = {"a": "1", "b": "2"}
            assert await broker.append_foreign(stream, fields, event="e", since_ms=None)
            assert not await broker.append_foreign(stream, fields, event="e", since_ms=0)
            assert await broker.append_foreign(stream, {"a": "1"}, event="f", since_ms=0)
            both = await asyncio.gather(
                *(broker.append_foreign(stream, fields, event="g", since_ms=0) for _ in range(8))
            )
            assert sum(both) == 1
            assert await broker.join_streams([stream], backlog_s=60) == {}
            entries = await broker.read_streams("n", [stream], count=10, block_s=1)
            assert [dict(entry.fields)[b"nova_event"] for entry in entries] == [b"e", b"f", b"g"]
            assert entries[0].fields[:2] == ((b"a", b"1"), (b"b", b"2"))

    run(scenario())


def test_a_key_of_another_type_is_refused_and_the_others_are_read(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            good, bad = f"{site.prefix}-good", f"{site.prefix}-bad"
            site.ask("SET", bad, "x")
            assert list(await broker.join_streams([good, bad], backlog_s=0)) == [bad]
            with pytest.raises(ForeignRefused):
                await broker.read_streams("n", [good, bad], count=1, block_s=0.01)
            with pytest.raises(ForeignRefused):
                await broker.append_foreign(bad, {"a": "1"}, event="e", since_ms=None)
            assert await broker.read_streams("n", [good], count=1, block_s=0.01) == []
            site.ask("DEL", good)
            with pytest.raises(ForeignRefused):
                await broker.read_streams("n", [good], count=1, block_s=0.01)

    run(scenario())


def test_a_subscriber_hears_by_channel_and_by_pattern_and_its_own_beat_is_no_message(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            name = f"{site.prefix}-ch"
            channels = await broker.channels("n", [name], [f"{name}.*"])
            try:
                await broker.publish(name, b"one")
                await broker.publish(f"{name}.x", b"\xff")
                first = await channels.next(wait_s=5)
                second = await channels.next(wait_s=5)
                assert first is not None
                assert second is not None
                assert (first.subscription, first.channel, first.data) == (name, name, b"one")
                assert (second.subscription, second.channel, second.data) == (
                    f"{name}.*",
                    f"{name}.x",
                    b"\xff",
                )
                assert await channels.next(wait_s=0.05) is None
            finally:
                await channels.close()

    run(scenario())
