"""Jobs behind walls: conversions work there, and what is missing is told to whoever reads
the result, or keeps the server from listening to other machines."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.results.wire import enum_word
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.walls import Gap, Room
from edgeconv.server.app import ServerSettings
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.records import files_digest
from edgeconv.testing.conversions import net
from edgeconv.testing.running_server import quick_service, running_server
from edgeconv.testing.tiny_files import write_dense_onnx

INT8 = "version: 1\ntargets: [onnx, tflite]\nvariants: {int8: {precision: int8}}"
CHECKOUT = Path(__file__).parents[2]


def _children_behind_a_filter() -> list[int]:
    """Ids of this process's children that have a filter and can't gain privileges."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            said = dict(
                line.split(":\t") for line in status.read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue
        if said["PPid"] == str(os.getpid()) and (said["Seccomp"], said["NoNewPrivs"]) == ("2", "1"):
            found.append(int(said["Pid"]))
    return found


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_a_model_becomes_int8_for_both_runtimes_behind_all_walls(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"model.{kind}"
    if kind == "pt2":
        torch.export.save(net("cnn").exported, path)
    else:
        write_dense_onnx(path)

    async def scenario() -> None:
        async with (
            running_server(ServerSettings(tmp_path / "state")) as endpoint,
            await AsyncClient.connect(endpoint.address, endpoint.token) as client,
        ):
            made = await client.create_model_version("models/m", [path])
            ready = await client.wait_model_version(made.name)
            assert _children_behind_a_filter()
            (given,) = ready.inspection.inputs
            shape = [int(size) if size.isdigit() else 1 for size in given.shape]
            rng = np.random.default_rng(0)
            samples = rng.standard_normal((64, *shape)).astype(np.float32)
            np.savez(tmp_path / "data.npz", **{given.name: samples})
            data = await client.create_dataset("datasets/d", tmp_path / "data.npz", made.name)
            await client.wait_dataset(data.name)
            roles = {"calibration": data.name, "evaluation": data.name}
            started = await client.create_conversion(made.name, recipe=INT8, datasets=roles)
            async for _ in client.watch_conversion(started.name):
                pass
            conversion = await client.get_conversion(started.name)
            states = {each.name: enum_word(each, "state") for each in conversion.variants}
            assert states == {"int8.onnx": "verified", "int8.tflite": "verified"}
            assert [note.subject for note in conversion.notes if note.subject == "walls"] == []

    asyncio.run(scenario())


def test_a_missing_wall_is_noted_once_in_the_result(tmp_path: Path) -> None:
    async def notes(room: Room) -> list[str]:
        folder = tmp_path / f"landlock-{room.landlock}"
        folder.mkdir()
        room = Room(writes=(folder,), landlock=room.landlock)
        async with quick_service(folder, child_room=room) as service:
            conversion, _ = await service.convert(await service.model(), "")
            assert len(service.journal) > 2
            return [note.message for note in conversion.notes if note.subject == "walls"]

    (message,) = asyncio.run(notes(Room(landlock=0)))
    assert message.startswith("Without Landlock (switched off) a model's file could: ")
    assert Gap.FILES.words in message
    assert Gap.SOCKETS.words not in message
    assert asyncio.run(notes(Room())) == []


def test_a_missing_wall_is_noted_where_a_model_or_dataset_was_inspected(tmp_path: Path) -> None:
    async def notes(room: Room) -> list[list[str]]:
        folder = tmp_path / f"landlock-{room.landlock}"
        folder.mkdir()
        room = Room(writes=(folder,), landlock=room.landlock)
        async with quick_service(folder, child_room=room) as service:
            await service.model()
            [model] = await service.client.list_model_versions()
            await service.client.wait_dataset(await service.dataset("d", x=("float32", [8, 4])))
            [dataset] = await service.client.list_datasets()
            return [list(model.inspection.notes), list(dataset.notes)]

    for [message] in asyncio.run(notes(Room(landlock=0))):
        assert message.startswith("Without Landlock (switched off) a model's file could: ")
    assert asyncio.run(notes(Room())) == [[], []]


def _settings(state: Path, host: str, *, without_walls: bool = False) -> ServerSettings:
    return ServerSettings(
        state,
        listen=f"{host}:0",
        insecure=True,
        without_walls=without_walls,
        child_room=Room(seccomp=False),
    )


async def _address(settings: ServerSettings) -> str:
    async with running_server(settings) as endpoint:
        return endpoint.address


def test_without_walls_a_server_does_not_listen_to_other_machines(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="seccomp \\(switched off\\)") as caught:
        asyncio.run(_address(_settings(tmp_path / "state", "0.0.0.0")))
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.violations[0].field == "listen"
    assert "--without-walls" in caught.value.fix
    assert not (tmp_path / "state").exists()


def test_who_asks_for_it_by_name_is_warned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        settings = _settings(tmp_path / "state", "0.0.0.0", without_walls=True)
        assert asyncio.run(_address(settings)).startswith("0.0.0.0:")
    assert "Without seccomp (switched off)" in caplog.text


def test_for_this_machine_alone_a_server_needs_no_walls(tmp_path: Path) -> None:
    assert asyncio.run(_address(_settings(tmp_path / "state", "127.0.0.1")))


def test_a_child_can_not_be_in_the_way_of_its_next_step(tmp_path: Path) -> None:
    async def scenario() -> None:
        child = await JobChild.start(
            "tests.service.walled_children:foresee_folders", tmp_path / "child",
            Blobs.local(tmp_path / "blobs"), Limits(), Room(reads=(CHECKOUT,)),
        )  # fmt: skip
        try:
            for _ in range(2):
                order = StepOrder("direct", "onnx", {}, 0, {})
                files, _ = await child.run(order, lambda fraction, words: None)
                assert files == ()
        finally:
            await child.end()

    asyncio.run(scenario())


@pytest.mark.parametrize("standing", [True, False])
def test_a_child_can_not_spoil_or_move_what_it_is_given(tmp_path: Path, standing: bool) -> None:
    async def scenario() -> list[str]:
        blobs = Blobs.local(tmp_path / "blobs")
        (tmp_path / "given.txt").write_text("given")
        with (tmp_path / "given.txt").open("rb") as stream:
            file = blobs.put_file(stream, "given.txt", max_bytes=10**6)
        bundle = Bundle((file,), files_digest((file,)), {})
        walls = {} if standing else {"landlock": 0, "seccomp": False}
        child = await JobChild.start(
            "tests.service.walled_children:spoil_inputs", tmp_path / "child", blobs, Limits(),
            Room(reads=(CHECKOUT,), **walls),
        )  # fmt: skip
        try:
            order = StepOrder("direct", "onnx", {}, 0, {"source": bundle})
            _, said = await child.run(order, lambda fraction, words: None)
        finally:
            await child.end()
        return list(said["facts"]["worked"])

    worked = asyncio.run(scenario())
    assert (worked == []) == standing
