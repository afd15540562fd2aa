"""Steps that take more time or memory than they may: ended with the step and the limit named,
and what does not need them goes on."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.results.status import from_status
from edgeconv.results.wire import enum_word
from edgeconv.sandbox.limits import GIB, Limits
from edgeconv.sandbox.walls import Room
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.children import DEFAULT_ENTRY
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.jobs.step_time import StepTimes
from edgeconv.server.records import files_digest
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.testing.tiny_files import write_dense_onnx

THREE = """version: 1
targets: [onnx]
variants: {fp32: {}, fp16: {precision: fp16}, int8: {precision: int8-weights}}"""
SHORT = StepTimes(step_s=3, inspection_s=3)


def _processes(service: QuickService) -> dict[str, Path]:
    """Step → its process, of the last that ran."""
    lines = (service.folder / "journal").read_text().splitlines()
    return {step: Path(f"/proc/{pid}") for step, pid, *_ in map(str.split, lines)}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("hang", "longer than 3 s in the finish fp16"),
        ("memory", "memory than a step may have"),
        ("spread", "more than 1 MiB of disk, in the finish fp16"),
    ],
)
def test_a_step_beyond_its_limit_ends_its_variant_and_no_other(
    tmp_path: Path, way: str, said: str
) -> None:
    async def scenario() -> None:
        limits = Limits(disk_bytes=2**20)
        async with quick_service(tmp_path, step_times=SHORT, child_limits=limits) as service:
            model = await service.model(steps={"fp16": way})
            conversion, _ = await service.convert(model, THREE)
            states = {each.recipe_variant: enum_word(each, "state") for each in conversion.variants}
            assert states == {"fp32": "verified", "fp16": "failed", "int8": "verified"}
            [failed] = (each for each in conversion.variants if each.recipe_variant == "fp16")
            error = from_status(failed.error)
            assert error.reason is Reason.LIMIT_EXCEEDED
            assert said in error.message
            assert error.metadata["step"] == "fp16"
            ran = _processes(service)
            assert not ran["fp16"].exists()
            assert ran["int8-weights"] != ran["fp16"]

    asyncio.run(scenario())


def test_an_inspection_without_end_is_ended_and_the_next_one_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, step_times=SHORT) as service:
            stuck = await service.send_model(steps={"inspect": "hang"})
            with pytest.raises(EdgeconvError, match="longer than 3 s in inspecting") as caught:
                await service.client.wait_model_version(stuck)
            assert caught.value.reason is Reason.LIMIT_EXCEEDED
            assert not _processes(service)["inspect"].exists()
            assert await service.model()

    asyncio.run(scenario())


def test_a_real_step_that_needs_more_memory_than_allowed_says_in_what(tmp_path: Path) -> None:
    async def scenario() -> None:
        blobs = Blobs.local(tmp_path / "blobs")
        with write_dense_onnx(tmp_path / "model.onnx", rows="batch").open("rb") as stream:
            file = blobs.put_file(stream, "model.onnx", max_bytes=10**6)
        source = Bundle((file,), files_digest((file,)), {})
        child = await JobChild.start(
            DEFAULT_ENTRY, tmp_path / "child", blobs, Limits(4 * GIB), Room()
        )
        try:
            [name] = await _inputs(child, source)
            options = {"shapes": {name: [2**20, 64]}, "samples": 64, "split": "all", "seed": 0}
            order = StepOrder("reference", "reference", options, 0, {"source": source})
            with pytest.raises(EdgeconvError) as caught:
                await child.run(order, lambda fraction, words: None)
            assert caught.value.reason is Reason.LIMIT_EXCEEDED, caught.value
            assert "more than 4 GiB in running the source" in caught.value.message
            assert not child.alive
        finally:
            await child.end()

    asyncio.run(scenario())


async def _inputs(child: JobChild, source: Bundle) -> list[str]:
    order = StepOrder("inspect", "inspect", {}, 0, {"source": source})
    _, said = await child.run(order, lambda fraction, words: None)
    return [each["name"] for each in said["facts"]["inspection"]["inputs"]]


def test_the_limits_are_options_of_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgeconv", "serve", "--state", str(tmp_path / "state"),
            "--json", "--inspection-time", "0.006s", stdout=PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert await process.stdout.readline()
            endpoint = read_endpoint(tmp_path / "state")
            assert endpoint is not None
            async with await AsyncClient.connect(endpoint.address, endpoint.token) as client:
                model = write_dense_onnx(tmp_path / "model.onnx")
                sent = await client.create_model_version("models/m", [model])
                with pytest.raises(EdgeconvError, match=r"than 0\.006 s in inspecting"):
                    await client.wait_model_version(sent.name)
        finally:
            process.terminate()
            await process.wait()

    asyncio.run(scenario())
