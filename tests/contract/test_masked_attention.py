"""Static int8 of attention whose masks are large negative numbers, in the real runtimes."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.conversion.program import Artifact, Program
from edgeconv.conversion.samples import Samples
from edgeconv.testing.conversions import (
    FORMATS,
    Format,
    finish,
    lower,
    runtime_outputs,
    torch_outputs,
)
from edgeconv.testing.programs import as_program, seeded


class MaskedAttention(nn.Module):
    """Two heads over 16 tokens of 32; positions with mask 0 get `hidden` added."""

    def __init__(self, hidden: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.mix, self.out = nn.Linear(32, 96), nn.Linear(32, 8)
        nn.init.normal_(self.mix.weight, std=0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.mix(x).reshape(1, 16, 3, 2, 16).permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) / 4
        scores = scores + (1 - mask)[:, None, None, :] * self.hidden
        made: Tensor = self.out(
            (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(1, 16, 32)
        )
        return made


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeconv-masks-") as made:
        yield Path(made)
    _float_file.cache_clear()


@functools.cache
def _float_file(hidden: float, target: Format, folder: Path) -> tuple[Program, Artifact]:
    given = [torch.randn(1, 16, 32), torch.ones(1, 16)]
    program = as_program(
        seeded(lambda: MaskedAttention(hidden)), given, names=["x", "mask"], outputs=["y"]
    )
    return program, lower(program, target, folder / f"{target}{hidden}")[0]


def _samples(seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((32, 1, 16, 32)).astype(np.float32)
    mask = (np.arange(16) < rng.integers(4, 17, (32, 1, 1))).astype(np.float32)
    return Samples({"x": x, "mask": mask}, None, "dataset")


# With a range that follows the mask it was 1 dB; with one that leaves the mask out, 3 dB.
@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize("hidden", [-1e4, -1e9, -3.4e38])
@pytest.mark.parametrize("target", FORMATS)
def test_a_mask_leaves_the_scores_their_8_bits(
    target: Format, hidden: float, method: str, folder: Path, tmp_path: Path
) -> None:
    program, given = _float_file(hidden, target, folder)
    made, _ = finish(given, "int8-static", tmp_path, samples=_samples(1), method=method)
    expected = torch_outputs(program, _samples(2))["y"]
    snr = centred_snr_db(expected, runtime_outputs(made, _samples(2))["y"])
    assert snr is not None
    assert snr > 20


def test_a_constant_too_large_for_8_bits_is_said(folder: Path, tmp_path: Path) -> None:
    _, given = _float_file(-3.4e38, "tflite", folder)
    _, effect = finish(given, "int8-static", tmp_path, samples=_samples(1))
    notes = [note for note in effect.notes if "too large for 8 bits" in note.message]
    assert [note.subject for note in notes] == ["MUL"]
