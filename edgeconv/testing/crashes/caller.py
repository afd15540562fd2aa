"""Has jobs done by servers that come and go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.client.aio import AsyncClient
from edgeconv.testing.crashes.cases import Case
from edgeconv.testing.crashes.reach import Reach
from edgeconv.v1 import benchmarks_pb2, conversions_pb2, models_pb2

LONG_S = 365 * 86_400.0
_LOOK_S = 0.1
_ENDED = (
    benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED,
    benchmarks_pb2.BENCHMARK_STATE_FAILED,
    benchmarks_pb2.BENCHMARK_STATE_CANCELLED,
)


@dataclass
class Caller:
    """A user who does not give up.

    Attributes:
        folder: Where files and the journal lie.
        ended: The conversions that have ended, by job.
        told: The sequence numbers of their events, as they came.
    """

    reach: Reach
    folder: Path
    ended: dict[str, str] = field(default_factory=dict)
    told: dict[str, list[int]] = field(default_factory=dict)

    async def do(self, case: Case) -> str:
        """Has a job done to its end and gives its conversion's name."""
        conversion = await self.start(case)
        events = await self.reach.watch(conversion)
        self.told[case.name] = [event.sequence for event in events]
        self.ended[case.name] = conversion
        return conversion

    async def start(self, case: Case) -> str:
        """Sends what a job needs and starts it."""
        model = await self._model(case)
        datasets = {"evaluation": await self._dataset(case, model)} if case.dataset else {}

        async def create(client: AsyncClient) -> conversions_pb2.Conversion:
            return await client.create_conversion(
                model, recipe=case.recipe, datasets=datasets, device_selector=case.selector,
                request_id=case.request("conversion"),
            )  # fmt: skip

        return (await self.reach.call(create)).name

    async def cancel(self, conversion: str) -> None:
        """Cancels a job."""
        await self.reach.call(lambda client: client.cancel_conversion(conversion))

    async def measure(self, case: Case) -> int:
        """Has a job that has ended measured once more; gives the state of that benchmark."""
        variant = f"{self.ended[case.name]}/variants/fp32.onnx"
        benchmark = await self.reach.call(
            lambda client: client.create_benchmark(
                variant, "any", request_id=case.request("benchmark")
            )
        )
        name = benchmark.name
        while benchmark.state not in _ENDED:
            await asyncio.sleep(_LOOK_S)
            benchmark = await self.reach.call(lambda client: client.get_benchmark(name))
        return benchmark.state

    async def collect(self) -> None:
        """Has removed what nobody has used for long."""
        await self.reach.call(lambda client: client.collect_garbage(older_than_s=LONG_S))

    async def _model(self, case: Case) -> str:
        path = case.write_model(self.folder)

        async def create(client: AsyncClient) -> models_pb2.ModelVersion:
            name = f"models/{case.name}"
            return await client.create_model_version(name, [path], request_id=case.request("model"))

        model = (await self.reach.call(create)).name
        await self.reach.call(lambda client: client.wait_model_version(model))
        return model

    async def _dataset(self, case: Case, model: str) -> str:
        name, path = f"datasets/{case.name}", case.write_dataset(self.folder)

        async def create(client: AsyncClient) -> None:
            await client.create_dataset(name, path, model, request_id=case.request("dataset"))

        await self.reach.call(create)
        await self.reach.call(lambda client: client.wait_dataset(name))
        return name
