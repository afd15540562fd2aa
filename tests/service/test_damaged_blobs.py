"""Blobs that somebody damaged by hand: found when they are read, made or sent again."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import from_status
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]
Damage = Callable[[Path], None]


def _flip(blob: Path) -> None:
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)


def _cut(blob: Path) -> None:
    os.truncate(blob, blob.stat().st_size // 2)


def _empty(blob: Path) -> None:
    os.truncate(blob, 0)


def _replace_by_folder(blob: Path) -> None:
    blob.unlink()
    blob.mkdir()


def _replace_by_link(blob: Path) -> None:
    target = blob.parents[4] / "elsewhere"
    shutil.copy(blob, target)
    _flip(target)
    blob.unlink()
    blob.symlink_to(target)


DAMAGES: list[Damage] = [_flip, _cut, _empty, Path.unlink, _replace_by_folder, _replace_by_link]


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def damage(request: pytest.FixtureRequest) -> Damage:
    made: Damage = request.param
    return made


def _play(folder: Path, scenario: Scenario) -> None:
    async def whole() -> None:
        # No child is kept, so that every step reads the blobs.
        async with quick_service(folder, child_idle_s=0.0, sweep_s=0.05) as service:
            await scenario(service)

    asyncio.run(whole())


def _blob(folder: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return folder / "state" / "blobs" / "sha256" / name[:2] / name


async def _no_child_is_kept(folder: Path) -> None:
    async with asyncio.timeout(20):
        while list((folder / "state" / "scratch").iterdir()):
            await asyncio.sleep(0.01)


def test_a_damaged_artifact_is_told_at_the_download_and_made_again(
    damage: Damage, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        made, _ = await service.convert(model, ONE)
        variant, file = made.variants[0], made.variants[0].files[0]
        damage(_blob(tmp_path, file.digest))
        resource = f"{made.name}/variants/{variant.name}"
        with pytest.raises(EdgeconvError) as caught:
            await service.client.download(resource, file, tmp_path / "got")
        assert caught.value.reason is Reason.BLOB_DAMAGED
        assert "convert again" in caught.value.fix
        again, _ = await service.convert(model, ONE)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED
        got = await service.client.download(resource, again.variants[0].files[0], tmp_path / "got")
        assert got.stat().st_size == file.size_bytes
        assert not (await service.client.check_blobs()).damaged

    _play(tmp_path, scenario)


def test_a_damaged_upload_is_told_and_repaired_by_the_same_upload(
    damage: Damage, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        await _no_child_is_kept(tmp_path)
        path = service.folder / "model.json"
        version = await service.client.get_model_version(model)
        damage(_blob(tmp_path, version.files[0].digest))
        made, _ = await service.convert(model, ONE)
        assert made.state == pb.CONVERSION_STATE_FAILED
        error = from_status(made.variants[0].error)
        assert error.reason is Reason.BLOB_DAMAGED
        assert "Upload the file again" in error.fix
        # The same bytes sent again mend the version that is there, and all that need it.
        await service.client.upload([path])
        again, _ = await service.convert(model, ONE)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
        assert not (await service.client.check_blobs()).damaged

    _play(tmp_path, scenario)
