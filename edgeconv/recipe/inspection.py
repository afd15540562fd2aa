"""What reading a model's files or a dataset tells, as data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from edgeconv.recipe.signature import DeclaredTensor, SizeRange


class Inspection(BaseModel):
    """A model as its files declare it. The fields are those of the wire's message.

    Attributes:
        format: "onnx" or "pt2".
        parameters: Elements of the weights; statistics of batch norms, shapes and indices are
            no parameters.
        weights_bytes: Bytes of all that the file keeps as tensors.
        operators: Operator → count.
        opset: ONNX operator set of the default domain; 0 for other formats.
        ranges: Name of an open axis → the sizes it was exported for, where the file tells.
        notes: What a user should know before converting, sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    inputs: tuple[DeclaredTensor, ...]
    outputs: tuple[DeclaredTensor, ...]
    parameters: int
    weights_bytes: int
    operators: dict[str, int]
    opset: int = Field(default=0, ge=0, lt=2**31)
    ranges: dict[str, SizeRange] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class DatasetInspection(BaseModel):
    """The arrays of a dataset; the first axis of every one is samples.

    Attributes:
        arrays: "label" among them when there are labels.
        samples: Number of samples.
        notes: What a user should know of its reading, sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arrays: tuple[DeclaredTensor, ...]
    samples: int
    notes: tuple[str, ...] = ()
