"""Measures a file on this machine: one fresh child process a block.

Runs in the caller's event loop and loads no runtime and no numpy.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.analysis.comparison import abba
from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench import record
from edgeconv.bench.failure import ENDED_BY_KEY, PHASE_KEY
from edgeconv.bench.record import Block, FileRecord, Record
from edgeconv.bench.request import MeasureRequest
from edgeconv.sandbox.child import Child

Report = Callable[[float, str], None]

ENTRY = "edgeconv.bench.child:main"
SILENCE_LIMIT_S = 600.0
"""A child that says nothing for so long is ended, unless it waits for the lock."""

_WAITING = "waiting"


@dataclass(frozen=True)
class Subject:
    """A file to measure.

    Attributes:
        folder: Holds the file and everything it refers to, and nothing else.
        file: Name of the file that the runtime is given.
        samples: npz with an array [samples, *input shape] per input, or None for seeded
            synthetic inputs.
    """

    folder: Path
    file: str
    request: MeasureRequest
    samples: Path | None = None


@dataclass(frozen=True)
class Measurement:
    """What came of it.

    Attributes:
        record: The raw record, see `bench.record`.
        outputs: npz with output name → [samples, *output shape] as this device computed
            them, in the scratch folder; None without samples.
    """

    record: Record
    outputs: Path | None


async def measure(
    folder: Path,
    file: str,
    request: MeasureRequest,
    *,
    samples: Path | None,
    scratch: Path,
    report: Report,
    lock_folder: Path | None = None,
) -> Measurement:
    """Measures a file.

    Args:
        folder: Holds the file and everything it refers to, and nothing else.
        file: Name of the file that the runtime is given.
        samples: npz with an array [samples, *input shape] per input; its first samples
            are timed, and all of them are run once for `outputs`.
        scratch: A folder for the children; exists.
        report: Told (fraction, words); the fraction is -1 while waiting.
        lock_folder: Another place for the lock than the machine's own; for tests.

    Raises:
        EdgeconvError: RUNTIME_REFUSED, CHILD_DIED, LIMIT_EXCEEDED, DATASET_MISMATCH, …
            with the phase in its metadata; `bench.failure.owner_of` tells whose it is.
        asyncio.CancelledError: the children are gone when it is raised.
    """
    subject = Subject(folder, file, request, samples)
    measured = await _measure_in_turn(
        [subject], "A" * request.plan.processes, scratch, report, lock_folder
    )
    return measured[0]


async def measure_alternating(
    baseline: Subject,
    candidate: Subject,
    *,
    pairs: int,
    scratch: Path,
    report: Report,
    lock_folder: Path | None = None,
) -> tuple[Measurement, Measurement]:
    """Measures two files in turn, in the order A B B A …, for a comparison.

    Args:
        pairs: Blocks of each; at least 3 carry an answer.

    Raises:
        EdgeconvError: as `measure`.
    """
    first, second = await _measure_in_turn(
        [baseline, candidate], abba(pairs), scratch, report, lock_folder
    )
    return first, second


async def _measure_in_turn(
    subjects: Sequence[Subject],
    order: str,
    scratch: Path,
    report: Report,
    lock_folder: Path | None,
) -> list[Measurement]:
    began_at_ns = time.time_ns()
    blocks: list[list[Block]] = [[] for _ in subjects]
    counts = [0 for _ in subjects]
    outputs = [_outputs_path(scratch, place, each) for place, each in enumerate(subjects)]
    for place, letter in enumerate(order):
        which = ord(letter) - ord("A")
        last = letter not in order[place + 1 :]
        run = _BlockRun(subjects[which], scratch / f"block-{place}", lock_folder)
        told = _share(report, place, len(order))
        block, count = await run.measure(outputs[which] if last else None, told)
        blocks[which].append(block)
        counts[which] = max(counts[which], count)
    return [
        # In a thread: it reads the whole file for its digest.
        Measurement(await asyncio.to_thread(_record, subject, made, count, began_at_ns), path)
        for subject, made, count, path in zip(subjects, blocks, counts, outputs, strict=True)
    ]


class _BlockRun:
    """One child and its folder."""

    def __init__(self, subject: Subject, folder: Path, lock_folder: Path | None) -> None:
        self._subject = subject
        self._folder = folder
        self._lock_folder = lock_folder
        self._phase = "start"

    async def measure(self, outputs: Path | None, report: Report) -> tuple[Block, int]:
        """Runs the child to its end.

        Returns:
            The block, and how many samples' outputs were written.
        """
        self._folder.mkdir(parents=True)
        result = self._folder / "block.json"
        try:
            done = await self._converse(self._message(result, outputs), report)
            block = await asyncio.to_thread(lambda: record.decode_block(result.read_bytes()))
            return block, int(done["output_samples"])
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _message(self, result: Path, outputs: Path | None) -> dict[str, Any]:
        subject = self._subject
        return {
            "request": subject.request.to_json(),
            "folder": str(subject.folder.resolve()),
            "file": subject.file,
            "samples": subject.samples and str(subject.samples.resolve()),
            "lock_folder": self._lock_folder and str(self._lock_folder.resolve()),
            "result": str(result.resolve()),
            "outputs": outputs and str(outputs.resolve()),
        }

    async def _converse(self, message: dict[str, Any], report: Report) -> dict[str, Any]:
        async with await Child.start(ENTRY, folder=self._folder) as child:
            try:
                await child.send(message)
                while True:
                    answer = await self._hear(child)
                    if "done" in answer:
                        done: dict[str, Any] = answer["done"]
                        return done
                    if "failed" in answer:
                        raise EdgeconvError.from_json(answer["failed"])
                    self._phase = str(answer["phase"])
                    report(float(answer["fraction"]), str(answer["message"]))
            except EdgeconvError as error:
                raise self._explained(error) from None

    async def _hear(self, child: Child) -> dict[str, Any]:
        limit = None if self._phase == _WAITING else SILENCE_LIMIT_S
        try:
            async with asyncio.timeout(limit):
                return await child.receive()
        except TimeoutError:
            raise EdgeconvError(
                Reason.LIMIT_EXCEEDED,
                f"{self._subject.file!r} gave no sign of life for {SILENCE_LIMIT_S:.0f} s.",
            ) from None

    def _explained(self, error: EdgeconvError) -> EdgeconvError:
        """The same error with the phase in it."""
        message = error.message
        if error.reason is Reason.CHILD_DIED:
            how = error.metadata.get(ENDED_BY_KEY, "no answer")
            phase = self._phase.replace("_", " ")
            message = (
                f"The process that measured {self._subject.file!r} ended with {how}"
                f" in phase {phase!r}."
            )
        metadata: dict[str, Any] = {**error.metadata, PHASE_KEY: self._phase}
        return EdgeconvError(
            error.reason, message, fix=error.fix, violations=error.violations, **metadata
        )


def _outputs_path(scratch: Path, place: int, subject: Subject) -> Path | None:
    return scratch / f"outputs-{place}.npz" if subject.samples is not None else None


def _share(report: Report, place: int, count: int) -> Report:
    """The part of the whole that one block is."""

    def told(fraction: float, words: str) -> None:
        if words.startswith("preparing"):
            report(-1.0, words)
        else:
            report((place + max(fraction, 0.0)) / count, f"{words} ({place + 1} of {count})")

    return told


def _record(subject: Subject, blocks: list[Block], outputs: int, began_at_ns: int) -> Record:
    files = [
        FileRecord(name=path.name, digest=digest_file(path), size_bytes=path.stat().st_size)
        for path in sorted(subject.folder.iterdir())
        if path.is_file()
    ]
    return Record(
        schema=record.SCHEMA,
        kind=record.KIND,
        began_at_ns=began_at_ns,
        request=subject.request.to_json(),
        file=subject.file,
        files=files,
        blocks=blocks,
        output_samples=outputs,
        notes=sorted({note for block in blocks for note in block["notes"]}),
    )
