"""Inspects an uploaded model or dataset in a job child: READY, or REJECTED with the reason."""

from __future__ import annotations

import logging

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.recipe.dataset_fit import check_fit
from edgeconv.recipe.inspection import DatasetInspection, Inspection
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.sandbox.child import OUT_OF_MEMORY
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.jobs.keys import KeyInput, step_key
from edgeconv.server.jobs.memo import once
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.records import DatasetRecord, ModelVersionRecord, StepOutput

_LOG = logging.getLogger(__name__)

_OUR_FAULTS = (Reason.BLOB_DAMAGED, Reason.INTERNAL, Reason.DISK_FULL, Reason.DISK_FAILED)


async def inspect_model(tools: Tools, name: str) -> None:
    """Ends the inspection of a model version.

    The child that read the model is kept: a conversion is likely to follow.
    """
    model, version = parse_name(name, "models/*/versions/*")
    record = await tools.store.models.get(model, int(version))
    if record is None or record.state != "inspecting":
        return
    bundle = Bundle(record.files, record.digest, {})
    try:
        output, notes = await _inspect(
            tools, name, StepKind.INSPECT, bundle, record.digest, from_ahead=True
        )
        inspection = Inspection.model_validate(output.facts["inspection"])
        inspection = inspection.model_copy(update={"notes": inspection.notes + notes})
        reached(CrashPoint.MODEL_INSPECTED)
    except Exception as fault:
        # A fault of ours must still end the inspection, for whoever waits for it.
        error = _as_error(name, fault).to_json()
        await tools.store.models.settle(name, tools.executor, error=error)
    else:
        await tools.store.models.settle(name, tools.executor, inspection=inspection)
    reached(CrashPoint.MODEL_SETTLED)


async def inspect_dataset(tools: Tools, name: str) -> None:
    """Ends the inspection of a dataset, checked against its model version if it names one.

    While that one is INSPECTING itself nothing is done: waiting here would keep the only
    place that the model's own inspection can have. It is to be called again then.
    """
    (dataset,) = parse_name(name, "datasets/*")
    record = await tools.store.datasets.get(dataset)
    if record is None or record.state != "inspecting":
        return
    try:
        model = await _model_of(tools, record)
        if model is not None and model.state == "inspecting":
            return
        bundle = Bundle(record.files, record.digest, {})
        # What is read is kept for all who send these bytes, so no model may have a say in it.
        output, notes = await _inspect(
            tools, name, StepKind.INSPECT_DATASET, bundle, "", from_ahead=False
        )
        inspection = DatasetInspection.model_validate(output.facts["inspection"])
        inspection = inspection.model_copy(update={"notes": inspection.notes + notes})
        if model is not None and model.inspection is not None:
            check_fit(inspection, model.inspection.inputs)
        reached(CrashPoint.DATASET_INSPECTED)
    except Exception as fault:
        # As above.
        error = _as_error(name, fault).to_json()
        await tools.store.datasets.settle(
            name, tools.executor, create_ns=record.create_ns, error=error
        )
    else:
        await tools.store.datasets.settle(
            name, tools.executor, create_ns=record.create_ns, inspection=inspection
        )
    reached(CrashPoint.DATASET_SETTLED)


def _as_error(name: str, fault: Exception) -> EdgeconvError:
    """What ends an inspection: a fault of the server's own is not laid at the file's door."""
    if not isinstance(fault, EdgeconvError):
        known = disk_error(fault, None) or EdgeconvError(Reason.INTERNAL, "its log says where.")
    elif fault.reason in _OUR_FAULTS:
        known = fault
    else:
        return fault
    _LOG.error("inspecting %s broke off", name, exc_info=fault)
    error = EdgeconvError(
        known.reason,
        f"The server failed, which says nothing about {name!r}: {known.message}",
        fix=known.fix
        or "Send the same files again as a new version or dataset; they are read anew.",
    )
    error.metadata = dict(known.metadata)
    return error


async def _model_of(tools: Tools, record: DatasetRecord) -> ModelVersionRecord | None:
    """The model version that a dataset is checked against: READY, or INSPECTING still."""
    if not record.model_version:
        return None
    model, version = parse_name(record.model_version, "models/*/versions/*")
    found = await tools.store.models.get(model, int(version))
    if found is None or found.state == "rejected":
        raise EdgeconvError(
            Reason.NOT_READY,
            f"The dataset can't be checked: {record.model_version!r} is not READY.",
            fix="Send a model that can be read first, or name no model version.",
            model_version=record.model_version,
        )
    return found


async def _inspect(
    tools: Tools, name: str, kind: StepKind, bundle: Bundle, model: str, *, from_ahead: bool
) -> tuple[StepOutput, tuple[str, ...]]:
    """What a child read, and what is to be said of the walls around it.

    That is no part of what is remembered of the files: another machine has other walls.
    """
    walls: list[str] = []
    key = step_key(
        spec_of(kind, kind.value), {}, {"source": KeyInput(bundle.digest, {})},
        model=model, seed=0, toolchain=tools.toolchain, cpu_class=tools.cpu_class,
    )  # fmt: skip

    def tell(fraction: float, message: str) -> None:
        tools.progress.say(name, kind.value, fraction, message)

    async def make() -> StepOutput:
        child: JobChild | None = await tools.children.take(model, from_ahead=from_ahead)
        assert child is not None
        try:
            walls[:] = [warning] if (warning := (await child.walls()).warning) else []
            order = StepOrder(kind, kind.value, {}, 0, {"source": bundle})
            files, said = await child.run(order, tell)
            said.pop("folder")
            if model:
                kept, child = child, None
                await tools.children.give_back(kept, model)
            return StepOutput.model_validate({**said, "files": files})
        finally:
            tools.progress.forget(name)
            if child is not None:
                await tools.children.end(child)

    try:
        return (await once(tools, key, kind.value, make)).output, tuple(walls)
    except EdgeconvError as error:
        died = error.reason is Reason.CHILD_DIED or error.metadata.get("ended_by") == OUT_OF_MEMORY
        if not died:
            raise
        # A child also dies of what is no fault of the file, such as a machine that is short
        # of memory for a moment. Only a file that ends two children is blamed.
        _LOG.warning("%s is done once more, in a new child: %s", kind.value, error.message)
    return (await once(tools, key, kind.value, make)).output, tuple(walls)
