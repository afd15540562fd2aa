"""A blocking call that is interrupted at any moment leaves nothing running behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Iterator

import pytest

from edgeconv.client.loop_thread import LoopThread

_INTERRUPTS = 400
_CALLS = 5000


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.stop()


async def _numbers() -> AsyncGenerator[int, None]:
    for number in range(10**9):
        await asyncio.sleep(0)
        yield number


async def _next(numbers: AsyncGenerator[int, None]) -> int:
    return await anext(numbers)


async def _end(numbers: AsyncGenerator[int, None]) -> None:
    await numbers.aclose()


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_an_interrupt_at_any_moment_leaves_no_call_running(thread: LoopThread) -> None:
    interrupted = 0
    for number in range(_INTERRUPTS):
        numbers = _numbers()
        interrupted += _is_interrupted(thread, numbers, after_s=1e-6 + number % 40 * 1e-5)
        # Raises where the generator still runs.
        thread.run(_end(numbers))
    # Python drops what is raised while it finalizes an object.
    assert interrupted > _INTERRUPTS * 0.9


def _is_interrupted(
    thread: LoopThread, numbers: AsyncGenerator[int, None], *, after_s: float
) -> bool:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, after_s)
        for _ in range(_CALLS):
            thread.run(_next(numbers))
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def test_what_a_call_raises_comes_to_its_caller(thread: LoopThread) -> None:
    async def fails() -> None:
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        thread.run(fails())


def test_a_call_after_the_end_is_refused() -> None:
    thread = LoopThread()
    thread.stop()
    with pytest.raises(RuntimeError, match="closed"):
        thread.run(_end(_numbers()))
