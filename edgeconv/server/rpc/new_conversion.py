"""From the call that asks for a conversion to what it begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.bench.request import MeasureRequest
from edgeconv.recipe.dataset_fit import LABEL, check_fit, unread_arrays
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.named import recipe_from_flags
from edgeconv.recipe.plan import CALIBRATION, EVALUATION, SOURCE, Plan, plan
from edgeconv.recipe.schema import Recipe, parse_recipe
from edgeconv.recipe.signature import resolve_shapes
from edgeconv.results.effect import Note
from edgeconv.runtimes.catalogue import runtime_by_format
from edgeconv.server.records import BundleInput, DatasetRecord, VariantRecord
from edgeconv.server.rpc.datasets import not_ready, read_dataset
from edgeconv.server.rpc.fields import refuse
from edgeconv.server.rpc.models import read_model_version
from edgeconv.server.scheduler import parse_selector
from edgeconv.server.store.conversions import NewConversion
from edgeconv.server.store.store import Store
from edgeconv.v1 import benchmarks_pb2, conversions_pb2

_ROLES = ("calibration", "evaluation")


@dataclass(frozen=True)
class MeasureOptions:
    """How variants are measured; fields as in the wire's message, defaults filled in."""

    effort: str
    threads: int
    spinning: bool
    priority: int

    @classmethod
    def of(cls, request: benchmarks_pb2.BenchmarkRequest, field: str) -> MeasureOptions:
        """Checked.

        Raises:
            EdgeconvError: FIELD_INVALID.
        """
        effort = request.effort or "quick"
        try:
            runtime = runtime_by_format("onnx").name
            MeasureRequest(runtime, effort, request.threads, request.spinning)
        except EdgeconvError as error:
            error.violations = tuple(
                FieldViolation(f"{field}.{violation.field}", violation.message)
                for violation in error.violations
            )
            raise
        return cls(effort, request.threads, request.spinning, request.priority)


async def prepare_conversion(
    store: Store,
    request: conversions_pb2.CreateConversionRequest,
    toolchain: Mapping[str, str],
) -> NewConversion:
    """Checks all of the request and plans the steps.

    Raises:
        EdgeconvError: RECIPE_INVALID, FIELD_INVALID, SHAPE_INVALID, DIMENSION_UNKNOWN,
            NOT_FOUND, NOT_READY, DATASET_MISMATCH.
    """
    model = await read_model_version(store, request.model_version, field="model_version")
    given = parse_recipe(request.recipe) if request.recipe else None
    shapes = {name: _shape(name, text) for name, text in request.shapes.items()}
    selector = request.device_selector.strip() or "none"
    if selector != "none":
        parse_selector(selector)
    benchmark = MeasureOptions.of(request.benchmark, "benchmark")
    if model.state != "ready" or model.inspection is None:
        raise not_ready(model.name, model.state, "model_version")
    data = await _find_data(store, given, dict(request.datasets))
    recipe = given or recipe_from_flags(data="calibration" if "calibration" in data else None)
    resolved = resolve_shapes(model.inspection.inputs, shapes, model.inspection.ranges)
    for dataset in data.values():
        assert dataset.inspection is not None
        check_fit(dataset.inspection, model.inspection.inputs, resolved)
    planned = _plan(recipe, model.inspection, shapes, data)
    inputs = {SOURCE: BundleInput(files=model.files, digest=model.digest)}
    for role, key in (("calibration", CALIBRATION), ("evaluation", EVALUATION)):
        if role in data:
            inputs[key] = BundleInput(files=data[role].files, digest=data[role].digest)
    return NewConversion(
        model_version=model.name,
        recipe=request.recipe or _as_yaml(recipe),
        plan=planned.model_dump(mode="json"),
        inputs={key: each.model_dump(mode="json") for key, each in inputs.items()},
        device_selector=selector,
        benchmark=asdict(benchmark),
        toolchain=dict(toolchain),
        notes=[note.model_dump(mode="json") for note in _notes(planned, data, model.inspection)],
        variants=_variants(recipe, planned),
    )


def _shape(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(",")) if text.strip() else ()
    except ValueError:
        raise refuse(f"shapes.{name}", f"{text!r} is not a list of numbers") from None


async def _find_data(
    store: Store, recipe: Recipe | None, given: dict[str, str]
) -> dict[str, DatasetRecord]:
    """The READY dataset of each role that has one.

    The recipe names data; the call says which dataset each name stands for. A role that
    the recipe leaves open is taken from the call under the role's own name. A name that
    the call does not know is that of a dataset.
    """
    found: dict[str, DatasetRecord] = {}
    used: set[str] = set()
    for role in _ROLES:
        named = getattr(recipe.data, role) if recipe else None
        key = named if named in given else role
        used.add(key)
        resource = given.get(key) or (f"datasets/{named}" if named else "")
        if not resource:
            continue
        try:
            record = await read_dataset(store, resource, field=f"datasets.{key}")
        except EdgeconvError as error:
            if key in given or error.reason not in (Reason.NOT_FOUND, Reason.FIELD_INVALID):
                raise
            raise refuse(
                f"datasets.{named}",
                f"the recipe's data.{role} names {named!r}, which is no dataset",
                fix="Send the dataset and name it in the call's `datasets`.",
            ) from error
        if record.state != "ready":
            raise not_ready(record.name, record.state, f"datasets.{key}")
        found[role] = record
    unused = sorted(set(given) - used)
    if unused:
        raise refuse(f"datasets.{unused[0]}", "the recipe names no such data")
    return found


def _plan(
    recipe: Recipe,
    inspection: Inspection,
    shapes: Mapping[str, tuple[int, ...]],
    data: Mapping[str, DatasetRecord],
) -> Plan:
    digests = {dataset.digest for dataset in data.values()}
    evaluation = data.get("evaluation")
    return plan(
        recipe,
        inspection,
        shapes=shapes,
        has_calibration="calibration" in data,
        has_evaluation="evaluation" in data,
        same_data=len(data) == 2 and len(digests) == 1,
        samples=evaluation.inspection.samples if evaluation and evaluation.inspection else None,
    )


def _notes(
    planned: Plan, data: Mapping[str, DatasetRecord], inspection: Inspection
) -> Iterator[Note]:
    for message in planned.notes:
        yield Note(kind="info", message=message)
    inspected = [each.inspection for each in data.values() if each.inspection]
    unread = [name for each in inspected for name in unread_arrays(each, inspection.inputs)]
    for name in dict.fromkeys(unread):
        message = (
            f"Array {name!r} of the data is not read: no input of the model has that name, and"
            f" labels stand in {LABEL!r}."
        )
        yield Note(kind="dropped", subject=name, message=message)


def _variants(recipe: Recipe, planned: Plan) -> list[VariantRecord]:
    """Made and refused ones in the recipe's order."""
    order = {
        f"{name}.{target}": (place, target)
        for place, (name, spec) in enumerate(recipe.variants.items())
        for target in spec.targets or recipe.targets
    }
    variants = [
        VariantRecord(
            name=each.name, recipe_variant=each.recipe_variant, target=each.target,
            precision=each.precision, plan=each, state="pending",
        )
        for each in planned.variants
    ]  # fmt: skip
    variants += [
        VariantRecord(
            name=each.name, recipe_variant=each.recipe_variant, target=each.target,
            precision=each.precision, state="refused", error=each.error,
        )
        for each in planned.refused
    ]  # fmt: skip
    return sorted(variants, key=lambda each: order[each.name])


def _as_yaml(recipe: Recipe) -> str:
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump({"version": 1, **data}, sort_keys=False)
