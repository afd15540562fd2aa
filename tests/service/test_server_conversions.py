"""Conversions over real gRPC with real children, whose steps are quick."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import from_status
from edgeconv.testing.quick_steps import read_journal
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb

Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
BOTH = "version: 1\ntargets: [onnx, tflite]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
DATA = {"x": ("float32", [8, 4])}


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service:
                await scenario(service)

        asyncio.run(whole())

    return run


def _states(conversion: pb.Conversion) -> dict[str, str]:
    prefix = "VARIANT_STATE_"
    return {
        each.name: pb.VariantState.Name(each.state).removeprefix(prefix).lower()
        for each in conversion.variants
    }


def _told(events: list[pb.ConversionEvent]) -> list[str]:
    told = []
    for event in events:
        kind = event.WhichOneof("kind")
        if kind == "state_changed":
            told.append(pb.ConversionState.Name(event.state_changed.state)[17:].lower())
        elif kind == "step_changed":
            told.append(f"{event.step_changed.step} {event.step_changed.change}")
        elif kind == "variant_changed":
            state = pb.VariantState.Name(event.variant_changed.state)[14:].lower()
            told.append(f"{event.variant_changed.variant} {state}")
    return told


def test_a_conversion_goes_the_whole_way(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, events = await service.convert(await service.model(), ONE)
        assert conversion.state == pb.CONVERSION_STATE_SUCCEEDED
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert conversion.sequence == events[-1].sequence
        assert _told(events) == [
            "queued", "converting", "reference started", "reference done", "direct started",
            "direct done", "fp32.onnx/verify started", "fp32.onnx/verify done",
            "fp32.onnx verified", "succeeded",
        ]  # fmt: skip
        (variant,) = conversion.variants
        assert (variant.road, variant.agreement.passed) == ("direct", True)
        assert [effect.step for effect in variant.effects] == ["direct"]
        assert variant.on_pareto_front
        path = await service.client.download(
            f"{conversion.name}/variants/{variant.name}", variant.files[0], tmp_path / "got"
        )
        assert digest_file(path) == variant.files[0].digest
        assert variant.size_bytes == path.stat().st_size
        assert [step.id for step in conversion.steps] == ["reference", "direct", "fp32.onnx/verify"]
        assert all(step.key.startswith("sha256:") and not step.reused for step in conversion.steps)
        assert conversion.end_time.ToNanoseconds() >= conversion.create_time.ToNanoseconds()
        assert "numpy" in conversion.toolchain

    play(scenario)


def test_a_step_that_fails_ends_only_what_needs_it(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model(steps={"fp16": "fail"})
        conversion, _ = await service.convert(model, TWO)
        assert conversion.state == pb.CONVERSION_STATE_PARTLY_SUCCEEDED
        assert _states(conversion) == {"fp32.onnx": "verified", "fp16.onnx": "failed"}
        error = from_status(conversion.variants[1].error)
        assert (error.reason, error.fix) == (Reason.NOT_APPLICABLE, "Leave it out.")
        assert service.journal == ["inspect", "reference", "direct", "verify", "fp16"]

    play(scenario)


def test_a_failed_prefix_ends_all_that_stand_on_it_and_no_step_is_tried_in_vain(
    play: Play,
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model(steps={"intake": "fail"})
        conversion, events = await service.convert(model, BOTH)
        assert _states(conversion) == {
            "fp32.onnx": "verified", "fp32.tflite": "failed", "fp16.onnx": "verified",
            "fp16.tflite": "failed",
        }  # fmt: skip
        assert "tflite" not in service.journal
        assert _told(events).count("intake failed") == 1

    play(scenario)


def test_nothing_that_could_be_made_is_a_failure_with_a_reason(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, _ = await service.convert(await service.model(steps={"reference": "fail"}), TWO)
        assert conversion.state == pb.CONVERSION_STATE_FAILED
        assert from_status(conversion.error).reason is Reason.NO_VARIANT
        assert set(_states(conversion).values()) == {"failed"}

    play(scenario)


def test_a_child_that_dies_takes_only_its_step_with_it(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        recipe = (
            "version: 1\ntargets: [onnx]\n"
            "variants: {fp16: {precision: fp16}, fp32: {}, weights: {precision: int8-weights}}"
        )
        conversion, _ = await service.convert(await service.model(steps={"fp16": "crash"}), recipe)
        assert _states(conversion) == {
            "fp16.onnx": "failed", "fp32.onnx": "verified", "weights.onnx": "verified",
        }  # fmt: skip
        error = from_status(conversion.variants[0].error)
        assert error.reason is Reason.CHILD_DIED
        assert "fp16" in error.message

    play(scenario)


def test_a_file_that_its_runtime_crashes_on_is_refused_by_the_runtime(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, _ = await service.convert(await service.model(steps={"verify": "signal"}), BOTH)
        for variant in conversion.variants:
            error = from_status(variant.error)
            assert error.reason is Reason.RUNTIME_REFUSED
            title = {"onnx": "ONNX Runtime", "tflite": "LiteRT"}[variant.target]
            words = rf"{title} \d+\.\S+ crashes on the file, with signal SIGSEGV"
            assert re.match(words, error.message)
            assert error.fix

    play(scenario)


def test_a_link_that_a_step_wrote_is_not_followed(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, _ = await service.convert(await service.model(steps={"fp16": "link"}), TWO)
        error = from_status(conversion.variants[1].error)
        assert error.reason is Reason.FIELD_INVALID
        assert "link.bin" in error.message

    play(scenario)


def test_an_artifact_that_computes_something_else_fails_and_can_be_looked_at(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, _ = await service.convert(
            await service.model(steps={"verify": "disagree"}), ONE
        )
        (variant,) = conversion.variants
        assert variant.state == pb.VARIANT_STATE_FAILED
        error = from_status(variant.error)
        assert error.reason is Reason.AGREEMENT_LOST
        assert "'y'" in error.message
        assert not variant.agreement.passed
        assert variant.files[0].name == "model.bin"
        assert not variant.on_pareto_front

    play(scenario)


def test_a_variant_that_lacks_data_is_refused_and_the_others_are_made(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        recipe = "version: 1\ntargets: [onnx]\nvariants: {int8: {precision: int8}, fp32: {}}"
        conversion, events = await service.convert(await service.model(), recipe)
        assert conversion.state == pb.CONVERSION_STATE_PARTLY_SUCCEEDED
        assert _states(conversion) == {"int8.onnx": "refused", "fp32.onnx": "verified"}
        assert from_status(conversion.variants[0].error).reason is Reason.DATA_NEEDED
        assert _told(events)[:2] == ["queued", "int8.onnx refused"]

    play(scenario)


def test_data_is_found_by_role_or_by_the_recipes_name(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        data = await service.dataset("digits", model=model, **DATA)
        await service.client.wait_dataset(data)
        int8 = "version: 1\ntargets: [onnx]\nvariants: {int8: {precision: int8}}\n"
        named = int8 + "data: {calibration: train, evaluation: train}"
        for recipe, datasets in (
            (int8, {"calibration": data}),
            (named, {"train": data}),
            (named, {"calibration": data, "evaluation": data}),
            (int8 + "data: {calibration: digits}", {}),
        ):
            conversion, _ = await service.convert(model, recipe, datasets=datasets)
            assert conversion.state == pb.CONVERSION_STATE_SUCCEEDED, recipe
            assert conversion.data_digests["calibration"].startswith("sha256:")
            assert all(each.count(",") for each in conversion.shapes.values())
            assert conversion.shapes
        for recipe, datasets, field in (
            (named, {}, "datasets.train"),
            (int8, {"other": data}, "datasets.other"),
        ):
            with pytest.raises(EdgeconvError) as caught:
                await service.convert(model, recipe, datasets=datasets)
            assert caught.value.violations[0].field == field
        with pytest.raises(EdgeconvError) as caught:
            await service.convert(model, int8, datasets={"calibration": "datasets/none"})
        assert caught.value.reason is Reason.NOT_FOUND

    play(scenario)


def test_the_default_recipe_takes_what_data_there_is(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        conversion, _ = await service.convert(model, "")
        assert {v.recipe_variant for v in conversion.variants} == {"fp32", "fp16", "int8-weights"}
        assert "variants:" in conversion.recipe
        data = await service.dataset("d", model=model, **DATA)
        await service.client.wait_dataset(data)
        conversion, _ = await service.convert(model, "", datasets={"calibration": data})
        assert _states(conversion)["int8.tflite"] == "verified"
        again, _ = await service.convert(model, conversion.recipe, datasets={"calibration": data})
        assert _states(again) == _states(conversion)

    play(scenario)


# Memory of steps.


def test_what_was_made_before_is_not_made_again(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        first, _ = await service.convert(model, TWO)
        ran = len(service.journal)
        again, events = await service.convert(model, TWO)
        assert len(service.journal) == ran
        assert all(step.reused for step in again.steps)
        assert "reference reused" in _told(events)
        assert [v.digest for v in again.variants] == [v.digest for v in first.variants]
        assert [step.key for step in again.steps] == [step.key for step in first.steps]

    play(scenario)


def test_only_what_changed_is_made(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        await service.convert(model, TWO)
        before = len(service.journal)
        recipe = TWO.replace("fp16: {precision: fp16}", "fp16: {precision: fp16, min_snr_db: 30}")
        await service.convert(model, recipe)
        assert service.journal[before:] == ["verify"]
        # Two versions with the same bytes are the same to every step.
        path = service.folder / "model.json"
        same = await service.client.create_model_version("models/copy", [path])
        await service.client.wait_model_version(same.name)
        await service.convert(same.name, TWO)
        assert service.journal[before:] == ["verify"]

    play(scenario)


def test_a_damaged_result_is_made_again(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        first, _ = await service.convert(model, ONE)
        digest = first.variants[0].files[0].digest.removeprefix("sha256:")
        blob = tmp_path / "state" / "blobs" / "sha256" / digest[:2] / digest
        blob.write_bytes(b"rotten" * 20)
        ran = len(service.journal)
        recipe = ONE.replace("fp32: {}", "fp32: {min_snr_db: 20}")
        # A fresh child, so that the artifact is read from the blobs.
        for path in (tmp_path / "state" / "scratch").iterdir():
            await _kill(_child_pid(service, path))
        again, events = await service.convert(model, recipe)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
        assert again.variants[0].digest == first.variants[0].digest
        assert service.journal[ran:] == ["direct", "verify"]
        assert blob.read_bytes() != b"rotten" * 20
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))

    play(scenario)


async def _kill(pid: int) -> None:
    """Kills a child and waits until its parent has noticed."""
    os.kill(pid, 9)
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


def _child_pid(service: QuickService, folder: Path) -> int:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cwd").readlink().is_relative_to(folder):
                    return int(process.name)
            except OSError:
                continue
    raise AssertionError(f"no process works in {folder}")


def test_a_kept_child_that_died_unnoticed_is_replaced(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        # It ends when it hears of the next step: too late for the server to know.
        model = await service.model(steps={"verify": "last"})
        await service.convert(model, ONE)
        recipe = ONE.replace("fp32: {}", "fp32: {min_snr_db: 20}")
        again, _ = await service.convert(model, recipe)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
        first, second = (line.pid for line in read_journal(service.folder / "journal")[-2:])
        assert first != second

    play(scenario)


def test_damaged_model_files_fail_the_conversion_and_say_so(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        version = await service.client.get_model_version(model)
        digest = version.files[0].digest.removeprefix("sha256:")
        (tmp_path / "state" / "blobs" / "sha256" / digest[:2] / digest).write_bytes(b"rotten")
        for path in (tmp_path / "state" / "scratch").iterdir():
            await _kill(_child_pid(service, path))
        conversion, _ = await service.convert(model, ONE)
        assert conversion.state == pb.CONVERSION_STATE_FAILED
        assert from_status(conversion.variants[0].error).reason is Reason.BLOB_DAMAGED

    play(scenario)


def test_conversions_side_by_side_share_a_step_that_both_need(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, jobs_at_once=2) as service:
            gate = tmp_path / "gate"
            model = await service.model(gates={"reference": str(gate)})
            one = asyncio.create_task(service.convert(model, ONE))
            other = asyncio.create_task(service.convert(model, TWO))
            async with asyncio.timeout(20):
                while len(await _converting(service)) < 2:
                    await asyncio.sleep(0.01)
            gate.touch()
            (first, _), (second, _) = await asyncio.gather(one, other)
            assert first.state == second.state == pb.CONVERSION_STATE_SUCCEEDED
            assert service.journal.count("reference") == 1
            assert service.journal.count("direct") == 1

    asyncio.run(scenario())


async def _converting(service: QuickService) -> list[str]:
    listed = await service.client.list_conversions()
    return [each.name for each in listed if each.state == pb.CONVERSION_STATE_CONVERTING]


# Cancel and watch.


async def _until_running(service: QuickService, step: str) -> int:
    """Waits until a step runs and gives its child's process."""
    path = service.folder / "journal"
    async with asyncio.timeout(20):
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            for line in lines:
                name, pid, *_ = line.split()
                if name == step:
                    return int(pid)
            await asyncio.sleep(0.01)


def test_cancel_kills_the_child_and_ends_the_conversion(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        model = await service.model(gates={"fp16": str(gate)})
        made = await service.client.create_conversion(model, recipe=TWO)
        pid = await _until_running(service, "fp16")
        cancelled = await service.client.cancel_conversion(made.name)
        assert not Path(f"/proc/{pid}").exists()
        assert cancelled.state == pb.CONVERSION_STATE_CANCELLED
        assert _states(cancelled) == {"fp32.onnx": "verified", "fp16.onnx": "cancelled"}
        events = [event async for event in service.client.watch_conversion(made.name)]
        assert _told(events)[-2:] == ["fp16.onnx cancelled", "cancelled"]
        again = await service.client.cancel_conversion(made.name)
        assert again.sequence == cancelled.sequence
        # The step that was interrupted can be done by another job.
        gate.touch()
        conversion, _ = await service.convert(model, TWO)
        assert conversion.state == pb.CONVERSION_STATE_SUCCEEDED
        assert service.journal.count("fp16") == 2

    play(scenario)


def test_a_queued_conversion_is_cancelled_before_it_begins(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        first = await service.client.create_conversion(
            await service.model(gates={"reference": str(gate)}), recipe=ONE
        )
        second = await service.client.create_conversion(await service.model(), recipe=ONE)
        await _until_running(service, "reference")
        assert (await service.client.cancel_conversion(second.name)).state == (
            pb.CONVERSION_STATE_CANCELLED
        )
        gate.touch()
        events = [event async for event in service.client.watch_conversion(first.name)]
        assert _told(events)[-1] == "succeeded"
        assert service.journal.count("reference") == 1

    play(scenario)


def test_a_queued_conversion_says_behind_which_it_waits(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        slow = await service.model(gates={"reference": str(gate)})
        model = await service.model()
        create = service.client.create_conversion
        first, second, third = [
            (await create(each, recipe=ONE)).name for each in (slow, model, model)
        ]
        await _until_running(service, "reference")
        for name, words in (
            (second, f"waiting for {first} to end"),
            (third, f"waiting for {first} and 1 more to end"),
        ):
            events = service.client.watch_conversion(name)
            async for event in events:
                if event.WhichOneof("kind") == "progress":
                    assert event.progress.subject == "queue"
                    assert (event.progress.fraction, event.progress.message) == (-1.0, words)
                    break
            await events.aclose()
        gate.touch()
        told = [event async for event in service.client.watch_conversion(third)]
        assert _told(told)[-1] == "succeeded"
        again = [event async for event in service.client.watch_conversion(first)]
        assert [each for each in again if each.progress.subject == "queue"] == []

    play(scenario)


def test_a_watch_is_live_and_goes_on_where_it_is_told(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        gate = tmp_path / "gate"
        model = await service.model(gates={"direct": str(gate)})
        made = await service.client.create_conversion(model, recipe=ONE)
        seen: list[pb.ConversionEvent] = []
        async for event in service.client.watch_conversion(made.name):
            if event.WhichOneof("kind") == "progress" and event.progress.subject == "direct":
                assert (event.progress.fraction, event.progress.message) == (0.5, "at direct")
                assert event.sequence == 0
                gate.touch()
            if event.sequence:
                seen.append(event)
        assert gate.exists(), "progress came while the step ran"
        rest = [e async for e in service.client.watch_conversion(made.name, seen[3].sequence)]
        assert rest == seen[4:]
        assert [
            e async for e in service.client.watch_conversion(made.name, seen[-1].sequence)
        ] == []

    play(scenario)


def test_conversions_are_listed_newest_first_without_their_variants(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        names = [(await service.convert(model, ONE))[0].name for _ in range(3)]
        listed = await service.client.list_conversions()
        assert [each.name for each in listed] == names[::-1]
        assert all(not each.variants and not each.steps for each in listed)

    play(scenario)


# What is refused at the call.


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("version: 1\nvariants: {fp32: {precison: fp32}}", "did you mean 'precision'"),
        ("version: 1\nvarients: {}", "did you mean 'variants'"),
        ("version: 2\nvariants: {fp32: {}}", "version"),
        ("version: 1\nvariants: {}", "variants"),
        ("- a list", "mapping"),
        ("a: [", "YAML"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_whole(play: Play, recipe: str, words: str) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(model, recipe=recipe)
        assert caught.value.reason is Reason.RECIPE_INVALID
        assert words in caught.value.message
        assert caught.value.violations
        assert await service.client.list_conversions() == []

    play(scenario)


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"model_version": "models/none/versions/1"}, Reason.NOT_FOUND, ""),
        ({"model_version": "models/m"}, Reason.FIELD_INVALID, "model_version"),
        ({"model_version": ""}, Reason.FIELD_INVALID, "model_version"),
        ({"shapes": {"x": "1,q"}}, Reason.FIELD_INVALID, "shapes.x"),
        ({"shapes": {"x": "1,5"}}, Reason.SHAPE_INVALID, "shapes.x"),
        ({"shapes": {"nope": "1,4"}}, Reason.SHAPE_INVALID, "shapes.nope"),
        ({"device_selector": "a b"}, Reason.FIELD_INVALID, "device_selector"),
        ({"benchmark": {"effort": "lazy"}}, Reason.FIELD_INVALID, "benchmark.effort"),
        ({"benchmark": {"threads": -1}}, Reason.FIELD_INVALID, "benchmark.threads"),
        ({"request_id": "not an id!"}, Reason.FIELD_INVALID, "request_id"),
    ],
)
def test_fields_that_are_wrong_are_named(
    play: Play, changed: dict[str, Any], reason: Reason, field: str
) -> None:
    async def scenario(service: QuickService) -> None:
        from edgeconv.v1.benchmarks_pb2 import BenchmarkRequest

        given = {"model_version": await service.model(), "recipe": ONE, **changed}
        if "benchmark" in given:
            given["benchmark"] = BenchmarkRequest(**given["benchmark"])
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(given.pop("model_version"), **given)
        assert caught.value.reason is reason
        assert [violation.field for violation in caught.value.violations] == [field] * bool(field)

    play(scenario)


def test_an_open_axis_without_a_size_is_refused_at_the_call(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        inspection = {
            "format": "onnx", "parameters": 1, "weights_bytes": 4, "operators": {}, "opset": 18,
            "inputs": [{"name": "x", "dtype": "float32", "shape": [1, "length"]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, "length"]}],
        }  # fmt: skip
        model = await service.model(inspection=inspection)
        with pytest.raises(EdgeconvError) as caught:
            await service.client.create_conversion(model, recipe=ONE)
        assert caught.value.reason is Reason.DIMENSION_UNKNOWN
        assert "--shape x=" in caught.value.fix
        conversion, _ = await service.convert(model, ONE, shapes={"x": "1,7"})
        assert conversion.state == pb.CONVERSION_STATE_SUCCEEDED

    play(scenario)


def test_a_size_the_model_was_not_exported_for_is_refused_at_the_call(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        inspection = {
            "format": "pt2", "parameters": 1, "weights_bytes": 4, "operators": {},
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["x.0", 3]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": ["x.0", 3]}],
            "ranges": {"x.0": {"least": 1, "most": 64}},
        }  # fmt: skip
        model = await service.model(inspection=inspection)
        with pytest.raises(EdgeconvError, match="axis 0 was exported for 1 to 64, not 100") as told:
            await service.client.create_conversion(model, recipe=ONE, shapes={"x": "100,3"})
        assert told.value.reason is Reason.SHAPE_INVALID
        assert [violation.field for violation in told.value.violations] == ["shapes.x"]
        assert await service.client.list_conversions() == []
        kept = (await service.client.get_model_version(model)).inspection.ranges["x.0"]
        assert (kept.least, kept.most) == (1, 64)

    play(scenario)


def test_the_same_call_starts_one_conversion(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        create = service.client.create_conversion
        made = await create(model, recipe=ONE, request_id="one")
        assert (await create(model, recipe=ONE, request_id="one")).name == made.name
        assert (await create(model, recipe=ONE, request_id="two")).name != made.name

    play(scenario)


@pytest.mark.parametrize("name", ["conversions/none", "conversions/NONE", "none"])
def test_a_conversion_that_is_not_there(play: Play, name: str) -> None:
    async def scenario(service: QuickService) -> None:
        reason = Reason.NOT_FOUND if name == "conversions/none" else Reason.FIELD_INVALID
        for call in (service.client.get_conversion, service.client.cancel_conversion):
            with pytest.raises(EdgeconvError) as caught:
                await call(name)
            assert caught.value.reason is reason
        with pytest.raises(EdgeconvError) as caught:
            async for _ in service.client.watch_conversion(name):
                pass
        assert caught.value.reason is reason

    play(scenario)
