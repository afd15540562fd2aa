"""The contracts of the conversion library: Program, Artifact, Pass, Lowering, Finish."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from edgeconv.conversion.samples import Samples
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import Options, StepSpec
from edgeconv.results.effect import Effect, Note
from edgeconv.results.lineage import Lineage, LineageStep

if TYPE_CHECKING:
    # Loaded on use: it takes seconds, and not every child meets a Program.
    from torch.export import ExportedProgram

Format = Literal["onnx", "tflite"]
OptionsT = TypeVar("OptionsT", bound=Options, contravariant=True)

PROGRAM_FILE = "program.pt2"
PROGRAM_FACTS = "program.json"
ARTIFACT_FACTS = "artifact.json"


@dataclass(frozen=True)
class Program:
    """A graph that can be run, trained and rewritten.

    Attributes:
        exported: Takes its inputs positionally in the signature's order and returns a
            tuple in the signature's order, whatever the names. Parameters, buffers and
            constants are contiguous and share no memory; it is in inference mode.
        signature: The user's names, order, dtypes and static shapes.
        lineage: Where it comes from.
        origins: Name of a graph node → the user's own name for the node it came from.
    """

    exported: ExportedProgram
    signature: Signature
    lineage: Lineage
    origins: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes the program as a bundle: no sample inputs, no source stack traces."""
        import torch

        for node in self.exported.graph.nodes:
            node.meta.pop("stack_trace", None)
        # Sample inputs are a slice of somebody's data as often as not.
        self.exported.example_inputs = None
        torch.export.save(self.exported, folder / PROGRAM_FILE)
        facts = {
            "signature": self.signature.model_dump(mode="json"),
            "lineage": self.lineage.model_dump(mode="json"),
            "origins": self.origins,
        }
        (folder / PROGRAM_FACTS).write_text(json.dumps(facts, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Program:
        """The inverse of `save`; only for bundles that a job child wrote."""
        import torch

        facts = json.loads((folder / PROGRAM_FACTS).read_text())
        return cls(
            exported=torch.export.load(folder / PROGRAM_FILE),
            signature=Signature.model_validate(facts["signature"]),
            lineage=Lineage.model_validate(facts["lineage"]),
            origins=facts["origins"],
        )

    def then(self, exported: ExportedProgram, step: LineageStep) -> Program:
        """The program that a step made of this one; the signature stays."""
        return replace(self, exported=exported, lineage=self.lineage.then(step))


@dataclass(frozen=True)
class Artifact:
    """A runtime's file.

    Attributes:
        folder: Holds the artifact's files and nothing else that leaves the service.
        file: Name of the main file in it: "model.onnx" or "model.tflite".
        signature: What the file must show in its runtime, to the letter.
    """

    format: Format
    folder: Path
    file: str
    signature: Signature
    lineage: Lineage

    @property
    def path(self) -> Path:
        """The main file."""
        return self.folder / self.file

    def facts(self) -> dict[str, Any]:
        """What travels beside the files from step to step."""
        return {
            "format": self.format,
            "file": self.file,
            "signature": self.signature.model_dump(mode="json"),
            "lineage": self.lineage.model_dump(mode="json"),
        }

    @classmethod
    def from_facts(cls, folder: Path, facts: dict[str, Any]) -> Artifact:
        """The inverse of `facts`."""
        return cls(
            format=facts["format"],
            folder=folder,
            file=facts["file"],
            signature=Signature.model_validate(facts["signature"]),
            lineage=Lineage.model_validate(facts["lineage"]),
        )


@dataclass(frozen=True)
class Context:
    """What a step may use besides its input and options.

    Attributes:
        folder: Where the step writes its result; empty at the start.
        scratch: For anything else; swept afterwards.
        seed: The only source of randomness.
        calibration: Samples for ranges and refits; None when there are none.
        report: Called with a fraction (negative when unknown) and words.
    """

    folder: Path
    scratch: Path
    seed: int
    calibration: Samples | None
    report: Callable[[float, str], None]


@dataclass(frozen=True)
class Applicability:
    """Whether a step can be applied, with the reasons; cheap to find out."""

    applicable: bool
    notes: tuple[Note, ...] = ()


class Pass(Protocol[OptionsT]):
    """Rewrites a Program and keeps its signature."""

    spec: ClassVar[StepSpec]

    def applicability(self, program: Program, options: OptionsT) -> Applicability:
        """Whether and where the pass would change something."""
        ...

    def apply(
        self, program: Program, options: OptionsT, context: Context
    ) -> tuple[Program, Effect]:
        """The rewritten program and what was changed.

        Raises:
            EdgeconvError: NOTHING_TO_DO when nothing would change; NOT_APPLICABLE.
        """
        ...


class Lowering(Protocol[OptionsT]):
    """Turns a Program into a runtime's file."""

    spec: ClassVar[StepSpec]

    def apply(
        self, program: Program, options: OptionsT, context: Context
    ) -> tuple[Artifact, Effect]:
        """Writes into `context.folder`.

        Raises:
            EdgeconvError: LOWERING_FAILED with the node that was refused.
        """
        ...


class Finish(Protocol[OptionsT]):
    """Rewrites a runtime's file and keeps its signature."""

    spec: ClassVar[StepSpec]

    def apply(
        self, artifact: Artifact, options: OptionsT, context: Context
    ) -> tuple[Artifact, Effect]:
        """Writes into `context.folder`; the given artifact's files stay as they are.

        Raises:
            EdgeconvError: NOTHING_TO_DO, NOT_APPLICABLE, DATA_NEEDED.
        """
        ...
