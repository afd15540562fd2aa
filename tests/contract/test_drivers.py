"""What every driver promises: the one suite for this machine, for scripted devices, for all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeconv.agent.drivers.driver import Driver, Job
from edgeconv.agent.drivers.local import LocalDriver
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.bench import record
from edgeconv.bench.failure import FailureOwner, owner_of
from edgeconv.testing.fake_device import FakeDevice
from edgeconv.testing.tiny_files import write_dense_onnx, write_dense_tflite

Make = Callable[[Path], Driver]


def local(lock_folder: Path) -> Driver:
    return LocalDriver("devices/here", lock_folder=lock_folder)


def fake(lock_folder: Path) -> Driver:
    return FakeDevice()


@pytest.fixture(params=[local, fake])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    locks = tmp_path / "locks"
    locks.mkdir()
    make: Make = request.param
    return make(locks)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder, scratch = tmp_path / "artifact", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    write_dense_onnx(folder / "net.onnx")
    return Job(folder=folder, file="net.onnx", format="onnx", samples=None, scratch=scratch)


def silent(_fraction: float, _words: str) -> None:
    """For who does not want to hear."""


def test_it_says_what_it_is(driver: Driver) -> None:
    parse_name(driver.name, "devices/*")
    able = asyncio.run(driver.describe())
    assert able.runtimes
    assert all(version[0].isdigit() for version in able.runtimes.values())
    assert able.architecture
    assert able.cpu
    assert able.os
    assert able.cores >= 1
    assert able.memory_bytes > 1 << 20


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_it_measures_and_leaves_its_results_in_the_scratch_folder(
    driver: Driver, job: Job, format_name: str
) -> None:
    samples = job.folder.parent / "samples.npz"
    np.savez(samples, **{"in/put:0": np.ones((4, 1, 64), np.float32)})
    if format_name == "tflite":
        (job.folder / "net.onnx").unlink()
        write_dense_tflite(job.folder / "net.tflite")
        job = replace(job, file="net.tflite", format="tflite")
    job = replace(job, samples=samples)
    told: list[tuple[float, str]] = []

    async def main() -> None:
        await driver.prepare(job)
        await driver.prepare(job)
        files = await driver.measure(job, lambda fraction, words: told.append((fraction, words)))
        await driver.release(job)
        await driver.release(job)
        assert record.decode(files.record.read_bytes())["kind"] == record.KIND
        assert files.outputs is not None
        assert files.outputs.stat().st_size > 0
        assert files.record.is_relative_to(job.scratch)
        assert files.outputs.is_relative_to(job.scratch)

    asyncio.run(main())
    assert told
    assert all(fraction <= 1 and words for fraction, words in told)
    assert [path.name for path in job.folder.iterdir()] == [job.file]


def test_without_samples_there_are_no_outputs(driver: Driver, job: Job) -> None:
    async def main() -> None:
        await driver.prepare(job)
        files = await driver.measure(job, silent)
        assert files.outputs is None

    asyncio.run(main())


def test_a_file_that_can_not_run_is_the_models_fault(driver: Driver, job: Job) -> None:
    (job.folder / job.file).write_bytes(b"")

    async def main() -> None:
        await driver.prepare(job)
        with pytest.raises(EdgeconvError) as caught:
            await driver.measure(job, silent)
        assert caught.value.reason is Reason.MODEL_UNREADABLE
        assert job.file in caught.value.message
        assert owner_of(caught.value) is FailureOwner.MODEL
        await driver.release(job)

    asyncio.run(main())


def test_an_unknown_format_is_refused_by_name(driver: Driver, job: Job) -> None:
    with pytest.raises(EdgeconvError, match="coreml") as caught:
        asyncio.run(driver.prepare(replace(job, format="coreml")))
    assert caught.value.reason is Reason.FIELD_INVALID


def test_releasing_what_was_never_prepared_is_nothing(driver: Driver, job: Job) -> None:
    asyncio.run(driver.release(job))


@pytest.mark.parametrize("make", [local])
def test_nothing_runs_after_a_cancel(make: Make, job: Job, tmp_path: Path) -> None:
    job = replace(job, effort="thorough")
    driver = make(tmp_path)

    async def main() -> None:
        began = asyncio.Event()
        measuring = asyncio.create_task(driver.measure(job, lambda *_: began.set()))
        await began.wait()
        assert children()
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring
        assert not children()

    asyncio.run(main())


def children() -> list[int]:
    """Processes that this one started and that have not ended."""
    own = os.getpid()
    found = []
    for task in Path(f"/proc/{own}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found
