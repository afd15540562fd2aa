"""The jobs of a trial: many, over few models, so that they share steps."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.testing.quick_steps import write_quick_model
from edgeconv.testing.tiny_files import write_dense_onnx

MOST_PAUSE_S = 0.1
"""Most of the time a step is under way, so that a kill at a random time meets one."""
JOBS_A_MODEL = 3

_HEAD = "version: 1\ntargets: [onnx, tflite]\nvariants: "
RECIPES = (
    _HEAD + "{fp32: {}}",
    _HEAD + "{fp32: {}, fp16: {precision: fp16}}",
    _HEAD + "{fp16: {precision: fp16}, weights: {precision: int8-weights}}",
    _HEAD + "{fp32: {min_snr_db: 20}, weights: {precision: int8-weights}}",
)


@dataclass(frozen=True)
class Case:
    """A job.

    Attributes:
        name: Of the job, its model and its dataset.
        content: What the model is; models of one content have the same bytes.
        steps: What steps do with the model other than to succeed, as `quick_steps` says.
        selector: Of the device that measures.
        dataset: Whether a dataset comes with it.
        late: Whether it is measured once more when it has ended.
        gates: Files that steps wait for, by the step's name.
        real: Whether the model is a real one, for real steps; then `content` is a number.
    """

    name: str
    content: str
    recipe: str
    steps: Mapping[str, str] = field(default_factory=dict)
    selector: str = "none"
    dataset: bool = False
    late: bool = False
    gates: Mapping[str, str] = field(default_factory=dict)
    real: bool = False

    def request(self, what: str) -> str:
        """The id of a call, the same whenever it is made again."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name} {what}"))

    def write_model(self, folder: Path) -> Path:
        """The model's file; it names `folder` for its journal."""
        own = folder / "files" / self.name
        own.mkdir(parents=True, exist_ok=True)
        if self.real:
            return write_dense_onnx(own / "dense.onnx", seed=int(self.content))
        return write_quick_model(
            own / "model.json", journal=str(folder / "journal"), salt=self.content,
            pause_s=MOST_PAUSE_S, steps=dict(self.steps), gates=dict(self.gates),
        )  # fmt: skip

    def write_dataset(self, folder: Path) -> Path:
        """The dataset's file."""
        path = folder / "files" / self.name / "data.npz"
        arrays = [{"name": "x", "dtype": "float32", "shape": [8, 4]}]
        path.write_text(json.dumps({"arrays": arrays, "samples": 8, "salt": self.name}))
        return path


def case(number: int) -> Case:
    """Number `number` of a list without an end."""
    model = number // JOBS_A_MODEL
    return Case(
        f"job-{number}",
        f"model {model}",
        RECIPES[(number + model) % len(RECIPES)],
        steps={"fp16": "fail"} if model % 4 == 3 else {},
        selector="any" if number % 4 == 1 else "none",
        dataset=number % 5 == 2,
    )


def probe(number: int, *, dataset: bool) -> Case:
    """A job that leads a server to nearly all crash points; to all with a dataset."""
    return Case(
        f"probe-{number}", f"probe {number}", RECIPES[1],
        steps={"fp16": "fail"}, selector="any", dataset=dataset,
    )  # fmt: skip


def all_made(number: int) -> Case:
    """A measured job of two variants that both succeed."""
    return Case(f"made-{number}", f"made {number}", RECIPES[0], selector="any")


def endless(number: int) -> Case:
    """A job that never ends by itself."""
    return Case(f"endless-{number}", f"endless {number}", RECIPES[0], steps={"reference": "hang"})


def damaged(number: int) -> Case:
    """A job whose result is damaged when it has ended."""
    return Case(f"damaged-{number}", f"damaged {number}", RECIPES[0])


def repairing(number: int) -> Case:
    """A job that needs the damaged result."""
    return Case(f"repairing-{number}", f"damaged {number}", RECIPES[3])


def aged(number: int) -> Case:
    """A job that nobody has used for long when it has ended."""
    return Case(f"aged-{number}", f"aged {number}", RECIPES[0])


def measured_late(number: int) -> Case:
    """A job that is measured when it has ended."""
    return Case(f"late-{number}", f"late {number}", RECIPES[0], late=True)


def real(number: int) -> Case:
    """A job of real steps; two share a model."""
    return Case(f"real-{number}", str(number // 2), RECIPES[(0, 3)[number % 2]], real=True)


def gated(gate: Path, step: str) -> Case:
    """A job with a step that waits for a file."""
    return Case("gated", "gated", RECIPES[0], gates={step: str(gate)})
