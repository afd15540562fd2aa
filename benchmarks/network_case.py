"""One network through intake, both lowerings and verification, in this process.

    python -m benchmarks.network_case '{"name": …, "model": …, "shapes": …, "data": …, "folder": …}'

Prints one line of JSON: `CaseResult` of each target.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError
from edgeconv.bench.memory import read_peak
from edgeconv.conversion.calls import StepCall, StepInput, StepOutcome
from edgeconv.conversion.steps import StepRunner
from edgeconv.recipe.specs import StepKind


class Case:
    """The steps of one network, each timed."""

    def __init__(self, folder: Path, model: Path, data: Path | None) -> None:
        self._runner = StepRunner()
        self._folder = folder
        source = folder / "source"
        source.mkdir(parents=True)
        (source / model.name).symlink_to(model)
        for beside in model.parent.glob(f"{model.name}.*"):
            (source / beside.name).symlink_to(beside)
        self.source = StepInput(source, digest_file(model))
        self.evaluation = {} if data is None else {"evaluation": StepInput(data)}
        self.seconds: dict[str, float] = {}

    def run(
        self, kind: StepKind, name: str, options: Mapping[str, Any], **inputs: StepInput
    ) -> tuple[StepInput, StepOutcome]:
        """Runs a step; what it wrote as an input for the next one."""
        made = self._folder / f"{len(self.seconds)}-{name}"
        scratch = self._folder / f"{len(self.seconds)}-{name}-scratch"
        made.mkdir()
        scratch.mkdir()
        call = StepCall(kind, name, options, inputs, made, scratch, seed=0)
        began = time.monotonic()
        outcome = self._runner.run(call, lambda fraction, words: None)
        self.seconds[f"{len(self.seconds)} {name}"] = time.monotonic() - began
        return StepInput(made, "", outcome.facts), outcome


def run_case(given: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one network; a failure stands in its target's `error`.

    Returns:
        `weights_bytes`; `seconds` of intake and `operators` of the Program; `targets`:
        target → seconds, size_bytes, file, outputs (name, snr_db, max_abs_error,
        passed), passed, or error; `peak_memory_bytes`.
    """
    data = Path(given["data"]) if given["data"] else None
    case = Case(Path(given["folder"]), Path(given["model"]), data)
    options = {"shapes": given["shapes"]}
    _, inspected = case.run(StepKind.INSPECT, "inspect", {}, source=case.source)
    began = time.monotonic()
    program, intake = case.run(StepKind.INTAKE, "intake", options, source=case.source)
    seconds = time.monotonic() - began
    reference, _ = case.run(
        StepKind.REFERENCE, "reference", options, source=case.source, **case.evaluation
    )
    targets = {name: _target(case, name, program, reference) for name in ("onnx", "tflite")}
    assert intake.effect is not None
    return {
        "weights_bytes": inspected.facts["inspection"]["weights_bytes"],
        "intake_seconds": seconds,
        "operators": intake.effect.figures["operators"],
        "targets": targets,
        "peak_memory_bytes": read_peak().peak_bytes,
    }


def _target(case: Case, name: str, program: StepInput, reference: StepInput) -> dict[str, Any]:
    began = time.monotonic()
    try:
        artifact, lowered = case.run(StepKind.LOWERING, name, {}, program=program)
        seconds = time.monotonic() - began
        _, verified = case.run(
            StepKind.VERIFY, "verify", {"precision": "fp32"},
            artifact=artifact, reference=reference, **case.evaluation,
        )  # fmt: skip
    except EdgeconvError as error:
        return {"error": f"{error.reason.name}: {error}", "passed": False}
    assert verified.agreement is not None
    file = artifact.folder / str(artifact.facts["file"])
    return {
        "seconds": seconds,
        "size_bytes": sum(each.stat().st_size for each in artifact.folder.iterdir()),
        "file": str(file),
        "summary": lowered.effect.summary if lowered.effect else "",
        "outputs": [each.model_dump(mode="json") for each in verified.agreement.outputs],
        "samples": verified.agreement.samples,
        "passed": verified.agreement.passed,
    }


def main() -> int:
    """Reads the case from the command line, prints its figures."""
    given = json.loads(sys.argv[1])
    try:
        figures = run_case(given)
    except EdgeconvError as error:
        figures = {"error": f"{error.reason.name}: {error}"}
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
