"""A client whose server has lost its database: how long it tries, and what a deletion comes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience, rest
from edgeconv.client.server_news import ServerNews
from edgeconv.results.status import to_status
from edgeconv.v1 import datasets_pb2, datasets_pb2_grpc

NAME = "datasets/d"


def lost(retry_s: float = 0.02) -> EdgeconvError:
    return EdgeconvError(
        Reason.DATABASE_UNAVAILABLE, "The server's database does not answer.", fix="Try again.",
        retry_s=retry_s,
    )  # fmt: skip


def gone() -> EdgeconvError:
    return EdgeconvError(Reason.NOT_FOUND, f"There is no {NAME!r}.", name=NAME)


def full() -> EdgeconvError:
    return EdgeconvError(Reason.LIMIT_REACHED, "There is no room.", retry_s=0.02, limit="calls")


class Datasets(datasets_pb2_grpc.DatasetServiceServicer):
    """Answers each call with the next error, and in the end as asked."""

    def __init__(self, *errors: EdgeconvError, slow_s: float = 0.0) -> None:
        self.errors = list(errors)
        self.slow_s = slow_s
        self.calls = 0

    async def _answer(self, context: Any) -> None:
        self.calls += 1
        if self.errors:
            status = to_status(self.errors.pop(0))
            await asyncio.sleep(self.slow_s)
            await context.abort(
                next(code for code in grpc.StatusCode if code.value[0] == status.code), "",
                trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
            )  # fmt: skip

    async def GetDataset(
        self, request: datasets_pb2.GetDatasetRequest, context: Any
    ) -> datasets_pb2.GetDatasetResponse:
        await self._answer(context)
        return datasets_pb2.GetDatasetResponse(dataset=datasets_pb2.Dataset(name=request.name))

    async def DeleteDataset(
        self, request: datasets_pb2.DeleteDatasetRequest, context: Any
    ) -> datasets_pb2.DeleteDatasetResponse:
        await self._answer(context)
        return datasets_pb2.DeleteDatasetResponse()


@asynccontextmanager
async def client_of(datasets: Any, patience: Patience) -> AsyncIterator[AsyncClient]:
    server = grpc.aio.server()
    datasets_pb2_grpc.add_DatasetServiceServicer_to_server(datasets, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with await AsyncClient.connect(f"127.0.0.1:{port}", patience=patience) as client:
            yield client
    finally:
        await server.stop(None)


def datasets_that(*errors: EdgeconvError, slow_s: float = 0.0) -> Any:
    return Datasets(*errors, slow_s=slow_s)  # type: ignore[abstract]


def delete(*errors: EdgeconvError) -> None:
    async def main() -> None:
        async with client_of(datasets_that(*errors), Patience(limit_s=5.0)) as client:
            await client.delete_dataset(NAME)

    asyncio.run(main())


def test_a_deletion_that_finds_nothing_after_a_try_in_doubt_was_done_then() -> None:
    delete(lost(), lost(), gone())


@pytest.mark.parametrize("errors", [(gone(),), (full(), gone())], ids=["first", "after refusal"])
def test_a_deletion_of_nothing_is_refused_where_no_try_is_in_doubt(
    errors: tuple[EdgeconvError, ...],
) -> None:
    with pytest.raises(EdgeconvError) as caught:
        delete(*errors)
    assert caught.value.reason is Reason.NOT_FOUND


def test_a_call_goes_on_when_the_database_is_back_and_both_is_told_once() -> None:
    told: list[EdgeconvError | None] = []

    async def main() -> None:
        patience = Patience(limit_s=5.0, busy_limit_s=0.0, news=ServerNews(told.append))
        async with client_of(datasets_that(lost(), lost(), lost()), patience) as client:
            assert (await client.get_dataset(NAME)).name == NAME

    asyncio.run(main())
    assert [error and error.reason for error in told] == [Reason.DATABASE_UNAVAILABLE, None]


def test_the_time_of_the_tries_counts_and_is_told() -> None:
    datasets = datasets_that(*(lost() for _ in range(1000)), slow_s=0.3)

    async def main() -> None:
        async with client_of(datasets, Patience(limit_s=1.0)) as client:
            await client.get_dataset(NAME)

    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(main())
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert caught.value.fix == "It was tried again for 1 s. Try again."
    # The first try, and what fits a second.
    assert 2 <= datasets.calls <= 5


def test_a_minute_is_the_limit_where_none_is_given() -> None:
    async def main() -> None:
        now_s = asyncio.get_running_loop().time()
        await rest(lost(0.001), Patience(outage_since_s=now_s - 59.0))
        with pytest.raises(EdgeconvError):
            await rest(lost(0.001), Patience(outage_since_s=now_s - 60.1))

    asyncio.run(main())


def test_a_caller_with_a_deadline_is_let_go_in_time() -> None:
    async def main() -> None:
        async with client_of(datasets_that(lost(60.0)), Patience(limit_s=500.0)) as client:
            async with asyncio.timeout(0.3):
                await client.get_dataset(NAME)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
