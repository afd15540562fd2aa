"""ModelService and DatasetService: what is refused at the call, what after a look inside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import StateFolder
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.server.records import Files
from edgeconv.server.rpc.fields import PRINCIPAL, request_of
from edgeconv.server.store.requests import Request
from edgeconv.server.store.store import Store
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import files_pb2, models_pb2, models_pb2_grpc

MIB = 1024 * 1024
Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service:
                await scenario(service)

        asyncio.run(whole())

    return run


def test_a_model_is_inspected_in_a_child_and_ready(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        stub = models_pb2_grpc.ModelServiceStub(service.channel)
        name = await service.send_model()
        assert name == "models/m/versions/1"
        watch = stub.WatchModelVersion(
            models_pb2.WatchModelVersionRequest(name=name), metadata=service.metadata
        )
        states = [answer.model_version.state async for answer in watch]
        assert states[-1] == models_pb2.INSPECTION_STATE_READY
        version = await service.client.get_model_version("models/m/versions/latest")
        assert version.inspection.format == "onnx"
        assert list(version.inspection.inputs[0].shape) == ["batch", "4"]
        assert dict(version.inspection.operators) == {"Gemm": 1}
        assert service.journal == ["inspect"]

    play(scenario)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("fail", Reason.NOT_APPLICABLE), ("crash", Reason.CHILD_DIED)],
)
def test_a_model_that_cannot_be_read_is_rejected_with_the_reason(
    play: Callable[[Scenario], None], behaviour: str, reason: Reason
) -> None:
    async def scenario(service: QuickService) -> None:
        name = await service.send_model(steps={"inspect": behaviour})
        with pytest.raises(EdgeconvError) as caught:
            await service.client.wait_model_version(name)
        assert caught.value.reason is reason
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(name)
        assert caught.value.reason is Reason.NOT_READY
        assert "REJECTED" in caught.value.message
        # The server goes on.
        assert await service.model() == "models/m/versions/2"

    play(scenario)


def test_a_damaged_blob_is_not_laid_at_the_model_s_door(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        await service.send_model(gates={"inspect": str(gate)})
        # It waits for the first one, so that its bytes can rot before they are read.
        name = await service.send_model()
        sent = await service.client.get_model_version(name)
        digest = sent.files[0].digest.removeprefix("sha256:")
        (tmp_path / "state" / "blobs" / "sha256" / digest[:2] / digest).write_bytes(b"rotten")
        gate.touch()
        with pytest.raises(EdgeconvError) as caught:
            await service.client.wait_model_version(name)
        assert caught.value.reason is Reason.BLOB_DAMAGED
        assert "The server failed" in caught.value.message
        again = await service.client.create_model_version(
            "models/m", [service.folder / "model.json"]
        )
        await service.client.wait_model_version(again.name)

    play(scenario)


def test_a_child_that_was_killed_once_is_not_laid_at_the_model_s_door(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        name = await service.send_model(gates={"inspect": str(gate)})
        async with asyncio.timeout(30):
            while not service.journal:
                await asyncio.sleep(0.01)
        os.kill(int((service.folder / "journal").read_text().split()[1]), signal.SIGKILL)
        gate.touch()
        await service.client.wait_model_version(name)
        assert service.journal == ["inspect", "inspect"]

    play(scenario)


def test_a_child_that_the_system_ended_for_want_of_memory_says_so_after_one_more_try(
    play: Callable[[Scenario], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    monkeypatch.setattr("edgeconv.sandbox.child._SYSTEM_COUNTERS", counters)

    async def scenario(service: QuickService) -> None:
        name = await service.send_model(steps={"inspect": "hang"})
        journal = service.folder / "journal"
        for tries in (1, 2):
            async with asyncio.timeout(30):
                while len(service.journal) < tries:
                    await asyncio.sleep(0.01)
            counters.write_text(f"oom_kill {tries}\n")
            os.kill(int(journal.read_text().splitlines()[-1].split()[1]), signal.SIGKILL)
        with pytest.raises(EdgeconvError) as caught:
            await service.client.wait_model_version(name)
        assert caught.value.reason is Reason.LIMIT_EXCEEDED
        assert "memory ran out" in caught.value.message
        assert "more memory" in caught.value.fix
        assert service.journal == ["inspect", "inspect"]

    play(scenario)


def test_a_model_that_is_still_being_read_is_not_ready_for_a_job(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        name = await service.send_model(gates={"inspect": str(gate)})
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(name)
        assert caught.value.reason is Reason.NOT_READY
        gate.touch()
        await service.client.wait_model_version(name)

    play(scenario)


def _part(data: bytes, size_bytes: int) -> files_pb2.Part:
    return files_pb2.Part(digest=digest_bytes(data), size_bytes=size_bytes)


def _file(data: bytes, **changed: Any) -> files_pb2.File:
    digest = digest_bytes(data)
    values = {
        "name": "model.json", "digest": digest, "size_bytes": len(data),
        "parts": [_part(data, len(data))],
    }  # fmt: skip
    return files_pb2.File(**{**values, **changed})


SENT = b'{"salt": "sent before"}'
NOT_SENT = digest_bytes(b"never sent")


@pytest.mark.parametrize(
    ("files", "reason", "field"),
    [
        ([], Reason.FIELD_INVALID, "files"),
        ([_file(SENT, name="")], Reason.FIELD_INVALID, "files[0].name"),
        ([_file(SENT, name="../x")], Reason.FIELD_INVALID, "files[0].name"),
        ([_file(SENT, name=".x")], Reason.FIELD_INVALID, "files[0].name"),
        ([_file(SENT, digest="sha256:12")], Reason.FIELD_INVALID, "files[0].digest"),
        ([_file(SENT, size_bytes=7)], Reason.FIELD_INVALID, "files[0].size_bytes"),
        ([_file(SENT, parts=[])], Reason.FIELD_INVALID, "files[0].parts"),
        ([_file(SENT), _file(SENT)], Reason.FIELD_INVALID, "files"),
        ([_file(SENT, digest=NOT_SENT)], Reason.DIGEST_MISMATCH, "files[0].digest"),
        ([_file(b"never sent")], Reason.PART_MISSING, "files[0].parts[0].digest"),
        (
            [_file(SENT, size_bytes=5, parts=[_part(SENT, 5)])],
            Reason.FIELD_INVALID, "files[0].parts[0].size_bytes",
        ),
        (
            [_file(SENT + SENT, parts=[_part(SENT, len(SENT))] * 2)],
            Reason.FIELD_INVALID, "files[0].parts[0].size_bytes",
        ),
    ],
)  # fmt: skip
def test_what_the_server_can_see_is_refused_at_the_call(
    play: Callable[[Scenario], None], files: list[files_pb2.File], reason: Reason, field: str
) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "sent.json"
        path.write_bytes(SENT)
        await service.client.upload([path])
        stub = models_pb2_grpc.ModelServiceStub(service.channel)
        request = models_pb2.CreateModelVersionRequest(model="models/m", files=files)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateModelVersion(request, metadata=service.metadata)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        error = from_rpc_error(caught.value, "server")
        assert error.reason is reason
        assert error.violations[0].field == field
        assert await service.client.list_model_versions() == []

    play(scenario)


@pytest.mark.parametrize(
    "name", ["models/M", "models/", "m", "models/a/b", "models/.a", "datasets/a"]
)
def test_a_name_that_is_none_is_refused(play: Callable[[Scenario], None], name: str) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "sent.json"
        path.write_bytes(SENT)
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_model_version(name, [path])
        assert caught.value.reason is Reason.FIELD_INVALID

    play(scenario)


def test_the_same_call_gives_the_same_version(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "sent.json"
        path.write_bytes(SENT)
        create = service.client.create_model_version
        first = await create("models/m", [path], request_id="one")
        again = await create("models/m", [path], request_id="one")
        other = await create("models/m", [path], request_id="two")
        assert (first.name, again.name, other.name) == (
            "models/m/versions/1", "models/m/versions/1", "models/m/versions/2",
        )  # fmt: skip
        with pytest.raises(EdgeconvError) as caught:
            await create("models/other", [path], request_id="one")
        assert caught.value.violations[0].field == "request_id"

    play(scenario)


def test_versions_are_listed_in_pages_and_forgotten(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        names = [await service.model() for _ in range(5)]
        stub = models_pb2_grpc.ModelServiceStub(service.channel)
        listed, token = [], ""
        while True:
            request = models_pb2.ListModelVersionsRequest(page_size=2, page_token=token)
            page = await stub.ListModelVersions(request, metadata=service.metadata)
            assert len(page.model_versions) <= 2
            listed += [version.name for version in page.model_versions]
            token = page.next_page_token
            if not token:
                break
        assert listed == names[::-1]
        # Made again after an answer that was lost, it would forget one more.
        with pytest.raises(EdgeconvError) as caught:
            await service.client.delete_model_version("models/m/versions/latest")
        assert caught.value.violations[0].field == "name"
        await service.client.delete_model_version(names[4])
        latest = await service.client.get_model_version("models/m/versions/latest")
        assert latest.name == names[3]
        with pytest.raises(EdgeconvError) as caught:
            await service.client.get_model_version(names[4])
        assert caught.value.reason is Reason.NOT_FOUND
        bad = models_pb2.ListModelVersionsRequest(page_token="made up")
        with pytest.raises(grpc.aio.AioRpcError, match="page_token"):
            await stub.ListModelVersions(bad, metadata=service.metadata)

    play(scenario)


def test_lists_of_what_was_never_there_are_no_empty_lists(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(service: QuickService) -> None:
        client = service.client
        for call, name in (
            (client.list_model_versions("models/nope"), "models/nope"),
            (client.get_model_version("models/nope/versions/latest"), "models/nope"),
            (client.get_model_version("models/nope/versions/1"), "models/nope/versions/1"),
            (client.list_benchmarks("conversions/nope"), "conversions/nope"),
        ):
            with pytest.raises(EdgeconvError) as caught:
                await call
            assert caught.value.reason is Reason.NOT_FOUND
            assert caught.value.message == f"There is no '{name}'."
        # A model whose versions were all forgotten has none, and is known.
        await client.delete_model_version(await service.send_model())
        assert await client.list_model_versions("models/m") == []

    play(scenario)


FITS = {"x": ("float32", [8, 4])}


def test_a_dataset_is_checked_against_its_model(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        good = await service.dataset("good", model=model, **FITS, label=("int64", [8]))
        ready = await service.client.wait_dataset(good)
        assert [(a.name, list(a.shape)) for a in ready.arrays] == [("x", [8, 4]), ("label", [8])]
        assert ready.samples == 8
        for name, arrays, words in (
            ("other", {"z": ("float32", [8, 4])}, "'x': the dataset has no array"),
            ("shape", {"x": ("float32", [8, 5])}, "has shape [8, 5]"),
            ("dtype", {"x": ("int8", [8, 4])}, "is int8, not float32"),
        ):
            with pytest.raises(EdgeconvError, match="does not fit") as caught:
                await service.client.wait_dataset(
                    await service.dataset(name, model=model, **arrays)
                )
            assert caught.value.reason is Reason.DATASET_MISMATCH
            assert words in caught.value.message
            assert caught.value.violations[0].field == "x"
        # Without a model nothing is known that it could misfit, until a job asks for both.
        free = await service.dataset("free", z=("float32", [8, 4]))
        await service.client.wait_dataset(free)
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(model, datasets={"calibration": free})
        assert caught.value.reason is Reason.DATASET_MISMATCH

    play(scenario)


def test_no_child_that_knows_a_model_reads_a_dataset(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        # A child that has read this model would refuse each dataset, and tell the journal.
        model = await service.model(steps={"inspect-dataset": "fail"})
        name = await service.dataset("d", model=model, **FITS)
        assert (await service.client.wait_dataset(name)).samples == 8
        assert service.journal == ["inspect"]

    play(scenario)


def test_a_dataset_waits_for_the_inspection_of_its_model(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        model = await service.send_model(gates={"inspect": str(gate)})
        dataset = await service.dataset("d", model=model, **FITS)
        gate.touch()
        assert (await service.client.wait_dataset(dataset)).samples == 8

    play(scenario)


@asynccontextmanager
async def _store_of(service: QuickService) -> AsyncIterator[Store]:
    """The server's own store, to plant there what a call leaves that is broken off."""
    url = f"sqlite:///{StateFolder(service.folder / 'state').database}"
    store = await Store.open(url, clock=SystemClock(), touch=lambda _topics: None)
    try:
        yield store
    finally:
        await store.close()


async def _sent(service: QuickService, store: Store) -> Files:
    """Files of a model that the server holds already."""
    _, model, _, version = (await service.model()).split("/")
    record = await store.models.get(model, int(version))
    assert record is not None
    return record.files


def test_what_a_broken_call_left_is_begun_and_its_dataset_does_not_stand_in_its_way(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, sweep_s=1.0) as service, _store_of(service) as store:
            files = await _sent(service, store)
            record, _ = await store.models.create("lost", files, Request("local", "", ""))
            # It begins before its model: the sweep has not found that one yet.
            dataset = await service.dataset("early", model=record.name, **FITS)
            async with asyncio.timeout(30):
                assert (await service.client.wait_dataset(dataset)).samples == 8
            found = await service.client.get_model_version(record.name)
            assert found.state == models_pb2.INSPECTION_STATE_READY

    asyncio.run(scenario())


def test_a_call_that_was_broken_off_before_the_start_starts_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        # The sweep, which would find it as well, comes only once.
        async with quick_service(tmp_path, sweep_s=3600.0) as service, _store_of(service) as store:
            files = await _sent(service, store)
            path = service.folder / "model.json"
            call = models_pb2.CreateModelVersionRequest(
                model="models/lost", request_id="one",
                files=[_file(path.read_bytes())],
            )  # fmt: skip
            PRINCIPAL.set("local")
            lost, _ = await store.models.create("lost", files, request_of(call, "one"))
            stub = models_pb2_grpc.ModelServiceStub(service.channel)
            again = await stub.CreateModelVersion(call, metadata=service.metadata)
            assert again.model_version.name == lost.name
            async with asyncio.timeout(30):
                await service.client.wait_model_version(lost.name)

    asyncio.run(scenario())


def test_a_dataset_that_took_the_name_of_a_deleted_one_is_read_itself(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        await service.send_model(gates={"inspect": str(gate)})
        for label in ("first", "second", "third"):
            name = await service.dataset("same", **{label: ("float32", [8, 4])})
            if label != "third":
                await service.client.delete_dataset(name)
        gate.touch()
        async with asyncio.timeout(30):
            ready = await service.client.wait_dataset(name)
        assert [array.name for array in ready.arrays] == ["third"]

    play(scenario)


def test_the_end_of_a_deleted_dataset_s_inspection_is_not_that_of_the_next(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path) as service, _store_of(service) as store:
            await service.client.wait_dataset(await service.dataset("d", **FITS))
            old = await store.datasets.get("d")
            assert old is not None
            await store.datasets.delete("d")
            new, _ = await store.datasets.create("d", old.files, "", Request("local", "", ""))
            await store.executors.enter("late")
            error = {"reason": "INTERNAL", "message": "old"}
            await store.datasets.settle(new.name, "late", create_ns=old.create_ns, error=error)
            async with asyncio.timeout(30):
                assert (await service.client.wait_dataset(new.name)).samples == 8

    asyncio.run(scenario())


def test_a_rejected_dataset_is_none_for_a_job(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        bad = await service.dataset("bad", model=model, z=("float32", [8, 4]))
        with pytest.raises(EdgeconvError):
            await service.client.wait_dataset(bad)
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(model, datasets={"calibration": bad})
        assert caught.value.reason is Reason.NOT_READY
        with pytest.raises(EdgeconvError) as caught:
            await service.dataset("bad", **FITS)
        assert caught.value.reason is Reason.ALREADY_EXISTS
        await service.client.delete_dataset(bad)
        await service.client.wait_dataset(await service.dataset("bad", **FITS))

    play(scenario)


def test_a_dataset_is_one_npz(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "data.json"
        path.write_text(json.dumps({"arrays": [], "samples": 1}))
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_dataset("datasets/d", path)
        assert caught.value.violations[0].field == "files"

    play(scenario)
