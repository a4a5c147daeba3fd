"""Places: as many as there are, in the order of those who wait, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import run_at_once
from vision_event_block.server.middleware.places import Places
from vision_event_block.server.store.errors import Busy


def places(total=4, for_one=3, wait_s=0.05, **options):
    return Places("things", total, for_one=for_one, wait_s=wait_s, **options)


async def fails(waiting):
    with pytest.raises(Busy, match="too many things at once; try again"):
        await waiting


def test_there_are_so_many_and_no_more():
    async def scene():
        some = places()
        for client in "abcd":
            await some.take(client)
        await fails(some.take("e"))
        some.give_back("a")
        await some.take("e")
        await fails(some.take("f"))

    run_at_once(scene())


def test_one_client_never_has_them_all():
    async def scene():
        some = places()
        for _ in range(3):
            await some.take("a")
        await fails(some.take("a"))
        await some.take("b")

    run_at_once(scene())


def test_who_wants_more_than_there_are_gets_all_of_them_and_gives_them_back():
    async def scene():
        some = places()
        await some.take("a", 100)
        await fails(some.take("b"))
        with some.giving_back("a", 100):
            pass
        for client in "abcd":
            await some.take(client)

    run_at_once(scene())


def test_those_who_wait_come_in_their_order_but_for_one_who_has_enough():
    async def scene():
        some, came = places(wait_s=10), []

        async def come(client, name, amount=1):
            await some.take(client, amount)
            came.append(name)

        await some.take("a", 3)
        await some.take("b")
        late = [
            asyncio.create_task(come(*each))
            for each in (("a", "a again"), ("c", "two for c", 2), ("d", "one for d"))
        ]
        await asyncio.sleep(0)
        some.give_back("b")
        await asyncio.sleep(0.01)
        # One is free: not enough for c, who is not overtaken.
        assert came == []
        some.give_back("a", 3)
        await asyncio.gather(*late)
        assert came == ["a again", "two for c", "one for d"]

    run_at_once(scene())


def test_who_leaves_the_line_keeps_no_place():
    async def scene():
        some = places(total=1, for_one=1, wait_s=10)
        await some.take("a")
        waiting = [asyncio.create_task(some.take(client)) for client in "bc"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        some.give_back("a")
        await waiting[1]
        # Cancelled in the moment in which it got one, which not every Python tells it.
        last = asyncio.create_task(some.take("d"))
        await asyncio.sleep(0)
        some.give_back("c")
        last.cancel()
        await asyncio.wait([last])
        if not last.cancelled():
            some.give_back("d")
        await some.take("e")

    run_at_once(scene())


def test_the_line_is_bounded():
    async def scene():
        some = places(total=1, for_one=1, wait_s=60, max_waiting=2)
        await some.take("a")
        waiting = [asyncio.create_task(some.take(client)) for client in "bc"]
        await asyncio.sleep(0)
        await fails(some.take("d"))
        for each in waiting:
            each.cancel()

    run_at_once(scene())
