"""What a job child tells of a model or a dataset that took it over: never in the way of others."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError
from edgeconv.testing.quick_steps import QUICK_INSPECTION
from edgeconv.testing.running_server import quick_service
from edgeconv.v1 import models_pb2

Spoil = Callable[[dict[str, Any]], object]


def _tensor(inspection: dict[str, Any], **changed: Any) -> None:
    inspection["inputs"][0].update(changed)


LIES: dict[str, Spoil] = {
    "more parameters than numbers": lambda said: said.update(parameters=10**30),
    "fewer than none": lambda said: said.update(weights_bytes=-(10**30)),
    "just beyond the wire": lambda said: said.update(parameters=2**63),
    "an opset beyond the wire": lambda said: said.update(opset=2**31),
    "a range beyond the wire": lambda said: said.update(ranges={"batch": {"least": 2**63}}),
    "operators without number": lambda said: said.update(operators={"Conv": 10**30}),
    "half a character": lambda said: _tensor(said, name="\ud800"),
    "half an axis": lambda said: _tensor(said, shape=["\udfff"]),
    "half an operator": lambda said: said.update(operators={"\ud800": 1}),
    "half a note": lambda said: said.update(notes=["\ud800"]),
    "half a format": lambda said: said.update(format="\ud800"),
    "a type there is not": lambda said: _tensor(said, dtype="float7"),
    "no list": lambda said: said.update(inputs=None),
    "more than was asked": lambda said: said.update(extra=1),
    "nothing": lambda said: said.clear(),
}


def _lie(spoil: Spoil) -> dict[str, Any]:
    said = copy.deepcopy(QUICK_INSPECTION)
    spoil(said)
    return said


def test_a_lie_about_a_model_rejects_it_and_hides_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            honest = await service.model()
            for name, spoil in LIES.items():
                sent = await service.send_model(inspection=_lie(spoil))
                with pytest.raises(EdgeconvError):
                    await service.client.wait_model_version(sent)
                found = {each.name: each for each in await service.client.list_model_versions()}
                assert found[sent].state == models_pb2.INSPECTION_STATE_REJECTED, name
                assert found[sent].error.message, name
                assert found[honest].state == models_pb2.INSPECTION_STATE_READY

    asyncio.run(main())


def test_a_lie_about_a_dataset_rejects_it_and_hides_no_other(tmp_path: Path) -> None:
    lies = {
        "samples": (10**30, {"x": ("float32", [8, 4])}),
        "shape": (8, {"x": ("float32", [2**63, 4])}),
        "dtype": (8, {"x": ("float7", [8, 4])}),
        "name": (8, {"\ud800": ("float32", [8, 4])}),
    }

    async def main() -> None:
        async with quick_service(tmp_path) as service:
            honest = await service.dataset("honest", x=("float32", [8, 4]))
            await service.client.wait_dataset(honest)
            for name, (samples, arrays) in lies.items():
                described = [
                    {"name": array, "dtype": dtype, "shape": shape}
                    for array, (dtype, shape) in arrays.items()
                ]
                path = tmp_path / "data.npz"
                path.write_text(json.dumps({"arrays": described, "samples": samples}))
                sent = (await service.client.create_dataset(f"datasets/{name}", path)).name
                with pytest.raises(EdgeconvError):
                    await service.client.wait_dataset(sent)
                found = {each.name: each for each in await service.client.list_datasets()}
                assert found[sent].state == models_pb2.INSPECTION_STATE_REJECTED, name
                assert found[honest].state == models_pb2.INSPECTION_STATE_READY

    asyncio.run(main())
