"""From a job as the engine knows it to what is done."""

from __future__ import annotations

from collections.abc import Iterable

from edgeconv.server.engine.engine import Job, JobKind
from edgeconv.server.jobs.conversion_job import run_conversion
from edgeconv.server.jobs.inspection_job import inspect_dataset, inspect_model
from edgeconv.server.jobs.taken_for_dead import ending_with_its_executor
from edgeconv.server.jobs.tools import Tools


async def run_job(tools: Tools, job: Job) -> list[Job]:
    """Does a job; its end stands in the store.

    Returns:
        Jobs that waited for this one and can begin now.

    Raises:
        CancelledError: this executor was taken for dead; another one does the job.
    """
    with ending_with_its_executor():
        return await _run(tools, job)


async def _run(tools: Tools, job: Job) -> list[Job]:
    collection, _, rest = job.resource.partition("/")
    if collection == "models":
        await inspect_model(tools, job.resource)
        waiting = await tools.store.datasets.inspecting(model_version=job.resource)
        return [inspection_of(dataset) for dataset in waiting]
    if collection == "datasets":
        await inspect_dataset(tools, job.resource)
    else:
        await run_conversion(tools, rest)
    return []


def inspection_of(resource: str) -> Job:
    """The job that inspects a model version or dataset."""
    return Job(JobKind.INSPECTION, resource)


async def ended_jobs(tools: Tools, jobs: Iterable[Job]) -> list[Job]:
    """Those of some conversion jobs whose conversion has ended without them."""
    by_id = {
        job.resource.removeprefix("conversions/"): job
        for job in jobs
        if job.kind is JobKind.CONVERSION
    }
    return [by_id[ended] for ended in await tools.store.conversions.ended(by_id)]


def conversion_of(conversion: str) -> Job:
    """The job that does a conversion, given by its id."""
    return Job(JobKind.CONVERSION, f"conversions/{conversion}")


async def unfinished_jobs(tools: Tools) -> list[Job]:
    """What a server that was killed left undone, in the order to be taken up."""
    return [
        *map(inspection_of, await tools.store.models.inspecting()),
        *map(inspection_of, await tools.store.datasets.inspecting()),
        *map(conversion_of, await tools.store.conversions.unfinished()),
    ]
