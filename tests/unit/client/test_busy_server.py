"""A client whose call was refused for want of room: it waits as told, and says so."""

from __future__ import annotations

import asyncio

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.patience import Patience, rest
from edgeconv.client.server_news import ServerNews


def full(retry_s: float) -> EdgeconvError:
    return EdgeconvError(
        Reason.LIMIT_REACHED, "There is no room.", retry_s=retry_s, limit="uploads"
    )


def test_it_waits_as_long_as_told_and_a_little_longer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience = await rest(full(0.05), Patience())
        assert loop.time() - began >= 0.05
        assert 0.05 <= patience.busy_s <= 0.0625
        assert (patience.tries, patience.waited_s) == (0, 0.0)
        assert patience.renewed().busy_s == 0

    asyncio.run(main())


def test_it_gives_up_in_the_end_and_says_for_how_long_it_tried() -> None:
    async def main() -> None:
        patience = Patience(busy_limit_s=0.1)

        async def try_on() -> None:
            nonlocal patience
            while True:
                patience = await rest(full(0.04), patience)

        with pytest.raises(EdgeconvError) as caught:
            await try_on()
        assert patience.busy_s > 0.05
        assert caught.value.reason is Reason.LIMIT_REACHED
        assert caught.value.message == "There is no room."
        assert caught.value.fix.startswith("It was tried again for 0 s. Call again later")

    asyncio.run(main())


def test_one_without_patience_is_told_at_once() -> None:
    with pytest.raises(EdgeconvError, match="no room"):
        asyncio.run(rest(full(9.0), Patience(busy_limit_s=0.0)))


def test_a_refusal_that_names_no_time_is_final() -> None:
    with pytest.raises(EdgeconvError, match="no room"):
        asyncio.run(rest(full(0.0), Patience()))


def test_news_of_a_busy_server_come_twice_a_minute_at_most() -> None:
    told: list[EdgeconvError | None] = []
    now = [100.0]
    news = ServerNews(told.append, lambda: now[0])
    for second in (0.0, 1.0, 29.0, 31.0, 59.0, 62.0):
        now[0] = 100.0 + second
        news.busy(full(1.0))
        news.back()
    assert len(told) == 3
