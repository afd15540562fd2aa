"""What tests of lowerings, finishes and verification share: nets, their files, their outputs.

A net is lowered once in a process and its file kept until the process ends.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.conversion.program import Artifact, Context, Program
from edgeconv.conversion.registry import implementation
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.results.effect import Effect
from edgeconv.testing.programs import as_program, seeded

Format = Literal["onnx", "tflite"]
FORMATS: tuple[Format, ...] = ("onnx", "tflite")


class SmallCnn(nn.Module):
    """Two convolutions with normalisation, a linear head; 1×8×8 in, 10 out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(16), nn.BatchNorm2d(32)])
        self.head = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norms[0](self.first(x)))
        x = F.relu(self.norms[1](self.second(x)))
        made: Tensor = self.head(x.flatten(1))
        return made


class SmallMobile(nn.Module):
    """A residual block with a depthwise convolution and a chosen activation."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.stem, self.wide = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 64, 1)
        self.depthwise, self.narrow = nn.Conv2d(64, 64, 3, 1, 1, groups=64), nn.Conv2d(64, 16, 1)
        self.norm, self.head = nn.BatchNorm2d(64), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.stem(x))
        y = self.activation(self.wide(x))
        x = x + self.narrow(self.activation(self.norm(self.depthwise(y))))
        made: Tensor = self.head(x.mean((2, 3)))
        return made


class SmallTransformer(nn.Module):
    """Embedding, one encoder layer, a head; 12 tokens below 200 in, 5 out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(200, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        made: Tensor = self.head(self.encoder(self.words(tokens)).mean(1))
        return made


class SmallGru(nn.Module):
    """A recurrent net of 6 steps that takes and gives its state."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        made, after = self.recurrent(x, state)
        return self.head(made), after


@functools.cache
def net(name: str) -> Program:
    """One of NETS as a Program, with names that are no identifiers where names allow it.

    Raises:
        KeyError: there is none of that name.
    """
    build, inputs, names, outputs = _NETS[name]
    generator = torch.Generator().manual_seed(0)
    examples = [
        torch.randint(0, 100, shape, generator=generator)
        if whole
        else torch.randn(shape, generator=generator)
        for shape, whole in inputs
    ]
    return as_program(seeded(build), examples, names=names, outputs=outputs)


def context(folder: Path, calibration: Samples | None = None) -> Context:
    """A context whose two folders are made in `folder`."""
    made, scratch = folder / "made", folder / "scratch"
    made.mkdir(parents=True)
    scratch.mkdir()
    return Context(made, scratch, 0, calibration, lambda share, words: None)


def lower(program: Program, target: Format, folder: Path) -> tuple[Artifact, Effect]:
    """The program lowered with default options, in `folder`."""
    options = spec_of(StepKind.LOWERING, target).options()
    made: tuple[Artifact, Effect] = implementation(StepKind.LOWERING, target).apply(
        program, options, context(folder)
    )
    return made


@functools.cache
def lowered(name: str, target: Format) -> tuple[Artifact, Effect]:
    """One of NETS lowered, once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="edgeconv-lowered-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return lower(net(name), target, folder / "files")


def finish(
    artifact: Artifact, name: str, folder: Path, *, samples: Samples | None = None, **options: Any
) -> tuple[Artifact, Effect]:
    """The artifact after a finish, in `folder`."""
    given = spec_of(StepKind.FINISH, name).options.model_validate(options)
    made: tuple[Artifact, Effect] = implementation(StepKind.FINISH, name).apply(
        artifact, given, context(folder, samples)
    )
    return made


def samples_for(program: Program, *, count: int = 24, seed: int = 1) -> Samples:
    """Synthetic samples of a program."""
    return synthesize(program.signature.inputs, count=count, seed=seed)


def torch_outputs(program: Program, samples: Samples) -> dict[str, NDArray[Any]]:
    """What the program computes in torch: output name → [samples, *shape]."""
    module = program.exported.module(check_guards=False)
    names = [spec.name for spec in program.signature.outputs]
    rows = []
    for feeds in samples:
        given = [torch.from_numpy(feeds[spec.name].copy()) for spec in program.signature.inputs]
        with torch.no_grad():
            rows.append([each.numpy() for each in module(*given)])
    return {name: np.stack([row[place] for row in rows]) for place, name in enumerate(names)}


def runtime_outputs(artifact: Artifact, samples: Samples) -> dict[str, NDArray[Any]]:
    """What the artifact computes in its runtime: output name → [samples, *shape]."""
    session = open_session(artifact)
    rows = [session.run(feeds) for feeds in samples]
    session.close()
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def snr_db(program: Program, artifact: Artifact, *, count: int = 24) -> float:
    """The lowest centred signal-to-noise ratio over the outputs, in dB."""
    samples = samples_for(program, count=count, seed=2)
    expected, got = torch_outputs(program, samples), runtime_outputs(artifact, samples)
    found = [centred_snr_db(expected[name], got[name]) for name in expected]
    return min(each for each in found if each is not None)


_Shapes = tuple[tuple[tuple[int, ...], bool], ...]
_NETS: dict[str, tuple[Callable[[], nn.Module], _Shapes, tuple[str, ...], tuple[str, ...]]] = {
    "cnn": (SmallCnn, (((1, 1, 8, 8), False),), ("in/put:0",), ("lo gits",)),
    "relu6": (lambda: SmallMobile(F.relu6), (((1, 3, 16, 16), False),), ("x",), ("scores",)),
    "hardswish": (
        lambda: SmallMobile(F.hardswish), (((1, 3, 16, 16), False),), ("p2o.x",), ("y",)
    ),
    "transformer": (SmallTransformer, (((1, 12), True),), ("input_ids",), ("class",)),
    "gru": (SmallGru, (((1, 6, 8), False), ((1, 1, 16), False)), ("x", "h"), ("y", "h_n")),
}  # fmt: skip
NETS = tuple(_NETS)
