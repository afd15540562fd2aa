"""The folder of blobs goes under a running server, as where its mount is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import from_status
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
OTHER = "version: 1\ntargets: [tflite]\nvariants: {fp32: {}}"
Lose = Callable[[Path], None]


def _nothing(blobs: Path) -> None:
    """Not even a folder is left."""


def _below(blobs: Path) -> None:
    blobs.mkdir()


def _another(blobs: Path) -> None:
    blobs.mkdir()
    (blobs / "identity").write_text("of another one\n")


@pytest.mark.parametrize("what_shows", [_nothing, _below, _another])
def test_what_lies_below_a_lost_mount_is_not_taken_for_the_blobs(
    what_shows: Lose, tmp_path: Path
) -> None:
    blobs, away = tmp_path / "state" / "blobs", tmp_path / "away"

    async def scenario(service: QuickService) -> None:
        model = await service.model()
        made, _ = await service.convert(model, ONE)
        steps = service.journal
        blobs.rename(away)
        what_shows(blobs)
        shown = sorted(blobs.rglob("*"))
        for asked in _calls(service, made):
            with pytest.raises(EdgeconvError) as caught:
                await asked()
            assert caught.value.reason is Reason.DISK_FAILED
            assert str(blobs) in caught.value.message
        for recipe in (ONE, OTHER):
            failed, _ = await service.convert(model, recipe)
            assert from_status(failed.variants[0].error).reason is Reason.DISK_FAILED
        assert sorted(blobs.rglob("*")) == shown
        # It is mounted again.
        shutil.rmtree(blobs, ignore_errors=True)
        away.rename(blobs)
        again, _ = await service.convert(model, ONE)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
        assert all(step.reused for step in again.steps)
        assert service.journal[: len(steps)] == steps
        assert service.journal.count("reference") == 1
        other, _ = await service.convert(model, OTHER)
        assert other.state == pb.CONVERSION_STATE_SUCCEEDED, other
        assert not (await service.client.check_blobs()).damaged

    async def whole() -> None:
        # No child is kept, so that every step reads the blobs.
        async with quick_service(tmp_path, child_idle_s=0.0, sweep_s=0.05) as service:
            await scenario(service)

    asyncio.run(whole())


def _calls(service: QuickService, made: pb.Conversion) -> list[Callable[[], Awaitable[Any]]]:
    path = service.folder / "other.json"
    path.write_text("{}")
    variant = made.variants[0]
    resource = f"{made.name}/variants/{variant.name}"
    return [
        lambda: service.client.upload([path]),
        lambda: service.client.download(resource, variant.files[0], service.folder / "got"),
        lambda: service.client.check_blobs(),
        lambda: service.client.collect_garbage(older_than_s=0.0),
    ]
