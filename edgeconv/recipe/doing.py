"""What a step does, in words for messages: "lowering to TFLite"."""

from __future__ import annotations

from edgeconv.recipe.specs import StepKind

_TITLES = {"onnx": "ONNX", "tflite": "TFLite"}
_WORDS = {
    StepKind.INSPECT: "inspecting the model",
    StepKind.INSPECT_DATASET: "inspecting the dataset",
    StepKind.INTAKE: "taking in the model",
    StepKind.REFERENCE: "running the source",
    StepKind.PASS: "the pass {name}",
    StepKind.LOWERING: "lowering to {name}",
    StepKind.DIRECT: "taking the ONNX graph as it is",
    StepKind.FINISH: "the finish {name}",
    StepKind.VERIFY: "verifying the file",
}


def doing(kind: StepKind, name: str) -> str:
    """What the step of that kind and name does.

    Args:
        name: As recipes name it.
    """
    return _WORDS[kind].format(name=_TITLES.get(name, name))
