"""Does a conversion: the steps of its plan one after another, each once.

A step that fails ends the variants that need it; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.plan import Plan, PlannedStep, PlannedVariant
from edgeconv.recipe.specs import spec_of
from edgeconv.results.effect import Note
from edgeconv.sandbox.walls import Walls
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.graph import needs
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.jobs.keys import KeyInput, step_key
from edgeconv.server.jobs.memo import StepCome, once
from edgeconv.server.jobs.taken_for_dead import ending_with_its_executor
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.measured import OUTPUTS_FILE as OUTPUTS_FILE
from edgeconv.server.records import (
    ConversionRecord,
    FileRecord,
    StepOutput,
    StepReportRecord,
    files_digest,
)
from edgeconv.server.store.conversions import VerifiedVariant

_LOG = logging.getLogger(__name__)

SAMPLES_FILE = "device_samples.npz"
_MOST_REPAIRS = 3


async def run_conversion(tools: Tools, conversion: str) -> None:
    """Does a conversion from where the store says it stands, to the end of its steps.

    Raises:
        CancelledError: its child is dead then; also where this executor was taken for dead.
    """
    attempt = await tools.store.conversions.begin(conversion, tools.executor)
    if attempt is None:
        return
    reached(CrashPoint.ATTEMPT_BEGUN)
    record = await tools.store.conversions.get(conversion)
    assert record is not None
    try:
        job = _Job(tools, record, attempt, _plan_of(record))
        try:
            with ending_with_its_executor():
                await job.run()
        finally:
            # First, for the other waits. The child's files go before the end is written: they
            # may be what fills the disk.
            tools.progress.forget(record.name)
            await job.close()
    except _Superseded:
        # Cancelled, or another attempt has begun: what this one does counts no more.
        pass
    except Exception as fault:
        # A fault of ours must still end the conversion, for whoever waits for it.
        await tools.store.conversions.fail(conversion, attempt, _as_error(record.name, fault))
        reached(CrashPoint.CONVERSION_FAILED)


def _plan_of(record: ConversionRecord) -> Plan:
    """The plan that was made with the conversion, maybe by an earlier version of edgeconv."""
    try:
        return Plan.model_validate(record.plan)
    except ValueError as error:
        raise EdgeconvError(
            Reason.INTERNAL,
            f"The plan of {record.name!r} was made by another version of edgeconv, and this one"
            " can't read it.",
            fix="Start the conversion again.",
        ) from error


def _as_error(name: str, fault: Exception) -> EdgeconvError:
    if isinstance(fault, EdgeconvError):
        return fault
    _LOG.error("%s broke off", name, exc_info=fault)
    return disk_error(fault, None) or EdgeconvError(
        Reason.INTERNAL, "The server failed; its log says where."
    )


class _Superseded(Exception):
    """The attempt is not the live one any more."""


class _Job:
    def __init__(self, tools: Tools, record: ConversionRecord, attempt: int, plan: Plan) -> None:
        self._tools = tools
        self._record = record
        self._attempt = attempt
        self._plan = plan
        self._needs = needs(plan)
        self._model = record.inputs["source"].digest
        self._done: dict[str, StepCome] = {}
        self._keys: dict[str, str] = {}
        self._pending: set[str] = set()
        self._to_measure = False
        self._child: JobChild | None = None

    async def run(self) -> None:
        view = await self._tools.store.conversions.view(self._record.id)
        assert view is not None
        self._pending = {v.name for v in view.variants if v.state == "pending"}
        self._to_measure = any(v.state == "verified" for v in view.variants)
        repairs = 0
        while (lost := await self._go_through()) is not None:
            repairs += 1
            if repairs == _MOST_REPAIRS:
                raise lost

    async def _go_through(self) -> EdgeconvError | None:
        """From the first step that is not done to the end; results that were lost on the way
        end it early, and it is to be called again."""
        try:
            damaged = await self._run_steps()
            if damaged is None:
                await self._finish_steps()
        except EdgeconvError as error:
            if error.reason is not Reason.PART_MISSING:
                raise
            # What retention has removed is found when each result is looked up anew.
            self._done.clear()
            return error
        return damaged

    async def _finish_steps(self) -> None:
        files = self._reference_files()
        await self._tools.store.conversions.finish_steps(
            self._record.id, self._attempt,
            samples=files.get(SAMPLES_FILE), outputs=files.get(OUTPUTS_FILE),
        )  # fmt: skip
        reached(CrashPoint.STEPS_FINISHED)

    async def close(self) -> None:
        """Ends the child, or keeps it for the next job on the model when all went well."""
        child, self._child = self._child, None
        if child is not None:
            await self._tools.children.end(child)

    async def _run_steps(self) -> EdgeconvError | None:
        """Does all steps that a pending variant needs; a damaged result ends it early.

        Devices need the reference's samples, also where an earlier attempt made all variants.
        """
        for step in self._plan.steps:
            waiting = {name for name in self._pending if step.id in self._needs[name]}
            for_devices = self._to_measure and step.id == self._plan.reference
            if step.id in self._done or not (waiting or for_devices):
                continue
            try:
                self._done[step.id] = await self._do(step)
            except EdgeconvError as error:
                if error.reason is Reason.PART_MISSING:
                    raise
                if error.reason is Reason.BLOB_DAMAGED and await self._forget_damaged(error):
                    return error
                await self._step_failed(step, waiting, error)
            else:
                await self._step_done(step, self._done[step.id])
        if self._child is not None:
            child, self._child = self._child, None
            await self._tools.children.give_back(child, self._model)
        return None

    async def _do(self, step: PlannedStep) -> StepCome:
        inputs = {role: self._bundle(given) for role, given in step.inputs.items()}
        key = step_key(
            spec_of(step.kind, step.name),
            step.options,
            {role: KeyInput(given.digest, given.facts) for role, given in inputs.items()},
            model=self._model,
            seed=step.seed,
            toolchain=self._tools.toolchain,
            cpu_class=self._tools.cpu_class,
        )
        self._keys[step.id] = key
        come = await once(self._tools, key, step.id, lambda: self._make(step, inputs))
        if come.reused and not await self._is_stored(come.output):
            await self._tools.store.steps.forget(key, come.owner, come.token)
            come = await once(self._tools, key, step.id, lambda: self._make(step, inputs))
        return come

    async def _is_stored(self, output: StepOutput) -> bool:
        """Whether the bytes of a remembered result are there; somebody may have removed them."""
        parts = {part.digest: part.size_bytes for file in output.files for part in file.parts}
        # First, so that what is found stays until the conversion refers to it.
        await self._tools.store.retention.touch(parts)
        return await asyncio.to_thread(lambda: all(map(self._tools.blobs.holds, parts)))

    async def _make(self, step: PlannedStep, inputs: dict[str, Bundle]) -> StepOutput:
        self._check(await self._tell(step.id, "started"))
        reached(CrashPoint.STEP_TOLD)

        def tell(fraction: float, message: str) -> None:
            self._tools.progress.say(self._record.name, step.id, fraction, message)

        order = StepOrder(step.kind, step.name, step.options, step.seed, inputs)
        child = await self._living_child()
        try:
            files, said = await child.run(order, tell)
        except EdgeconvError as error:
            if error.reason is not Reason.CHILD_DIED or child.heard:
                raise
            # One that was kept may have died before this step, and nobody had noticed.
            _LOG.warning("step %s is given a new child: %s", step.id, error.message)
            child = await self._living_child()
            files, said = await child.run(order, tell)
        self._tools.progress.forget(self._record.name, step.id)
        child.keep(files_digest(files), said.pop("folder"))
        return StepOutput.model_validate({**said, "files": files})

    async def _living_child(self) -> JobChild:
        if self._child is None or not self._child.alive:
            await self.close()
            self._child = await self._tools.children.take(self._model)
            await self._note_walls(await self._child.walls())
        return self._child

    async def _note_walls(self, walls: Walls) -> None:
        """Whoever reads the result learns that the model was read with less around it."""
        if walls.warning:
            note = Note(kind="flagged", subject="walls", message=walls.warning)
            said = note.model_dump(mode="json")
            store = self._tools.store.conversions
            self._check(await store.note(self._record.id, self._attempt, said))

    def _bundle(self, given: str) -> Bundle:
        if given in self._record.inputs:
            brought = self._record.inputs[given]
            return Bundle(brought.files, brought.digest, brought.facts)
        output = self._done[given].output
        return Bundle(output.files, files_digest(output.files), output.facts)

    async def _step_done(self, step: PlannedStep, come: StepCome) -> None:
        output = come.output
        effect = output.effect.summary if output.effect else ""
        report = StepReportRecord(
            id=step.id,
            key=self._keys[step.id],
            wall_ns=output.wall_ns,
            peak_memory_bytes=output.peak_memory_bytes,
            reused=come.reused,
        )
        body = _step_event(step.id, "reused" if come.reused else "done", effect, output.wall_ns)
        store = self._tools.store.conversions
        self._check(await store.step_ended(self._record.id, self._attempt, report, body))
        reached(CrashPoint.STEP_REPORTED)
        for variant in self._plan.variants:
            if variant.verify == step.id and variant.name in self._pending:
                await self._variant_made(variant, output)

    async def _variant_made(self, variant: PlannedVariant, verified: StepOutput) -> None:
        artifact = self._done[variant.artifact].output
        effects = [self._done[step].output.effect for step in variant.steps]
        agreement = verified.agreement
        error = _lost_agreement(variant.name, verified)
        made = VerifiedVariant(
            name=variant.name,
            files=artifact.files,
            digest=files_digest(artifact.files),
            effects=[effect.model_dump(mode="json") for effect in effects if effect],
            agreement=agreement.model_dump(mode="json") if agreement else None,
            error=error.to_json() if error else None,
        )
        store = self._tools.store.conversions
        self._check(await store.variant_made(self._record.id, self._attempt, made))
        reached(CrashPoint.VARIANT_MADE)
        self._pending.discard(variant.name)
        self._to_measure = self._to_measure or error is None

    async def _step_failed(
        self, step: PlannedStep, waiting: set[str], error: EdgeconvError
    ) -> None:
        self._tools.progress.forget(self._record.name, step.id)
        self._check(await self._tell(step.id, "failed", error.message))
        errors = {name: error.to_json() for name in sorted(waiting)}
        store = self._tools.store.conversions
        self._check(await store.fail_variants(self._record.id, self._attempt, errors))
        reached(CrashPoint.VARIANTS_FAILED)
        self._pending -= waiting

    async def _forget_damaged(self, error: EdgeconvError) -> bool:
        """Drops remembered results that hold a damaged blob, so that they are made again."""
        digest = error.metadata.get("digest", "")
        damaged = [
            step
            for step, come in self._done.items()
            if any(part.digest == digest for file in come.output.files for part in file.parts)
        ]
        for step in damaged:
            come = self._done.pop(step)
            await self._tools.store.steps.forget(self._keys[step], come.owner, come.token)
            reached(CrashPoint.RESULT_FORGOTTEN)
        return bool(damaged)

    def _reference_files(self) -> dict[str, FileRecord]:
        come = self._done.get(self._plan.reference)
        return {file.name: file for file in come.output.files} if come else {}

    async def _tell(self, step: str, change: str, message: str = "") -> bool:
        body = _step_event(step, change, message, 0)
        store = self._tools.store.conversions
        return await store.step_changed(self._record.id, self._attempt, body)

    @staticmethod
    def _check(live: bool) -> None:
        if not live:
            raise _Superseded


def _step_event(step: str, change: str, message: str, wall_ns: int) -> dict[str, Any]:
    return {"step": step, "change": change, "message": message, "wall_ns": wall_ns}


def _lost_agreement(variant: str, verified: StepOutput) -> EdgeconvError | None:
    agreement = verified.agreement
    if agreement is not None and agreement.passed:
        return None
    outputs = agreement.outputs if agreement else ()
    failed = [output for output in outputs if not output.passed]
    listed = "; ".join(output.miss() for output in failed)
    notes = agreement.notes if agreement else ()
    flagged = " ".join(note.message for note in notes if note.kind == "flagged")
    words = listed or flagged.rstrip(".") or "a bound was missed"
    return EdgeconvError(
        Reason.AGREEMENT_LOST,
        f"Variant {variant!r} does not compute what the source does: {words}.",
        fix="Its files are written into the folder `failed` beside the report, for a look; another"
        " precision or method may agree better.",
        variant=variant,
    )
