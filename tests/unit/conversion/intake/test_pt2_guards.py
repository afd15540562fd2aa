"""Guards of saved programs: comparisons pass, code does not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from edgeconv.conversion.intake.pt2.guards import is_safe_guard

COMPARISONS = [
    "L['x'].size()[0] <= 8",
    "L['args'][0]['k'].size()[1] == L['y'].size()[0] + 1",
    "2 <= L['x'].size()[0] and L['x'].size()[0] <= 8",
    "(L['x'].size()[0] // 2) % 3 == 0 or not L['flag']",
    "L['x'].stride()[0] != max(1, L['x'].size()[1])",
    "math.isnan(L['value'])",
    "L['mode'] == 'bilinear'",
    "math.trunc(L['x'].size()[0] / 2) < 10",
    "torch.sym_max(L['x'].size()[0], 3) >= -1",
]
CODE = [
    "__import__('os').system('true') is None",
    "exec('1') is None",
    "open('/etc/passwd').read() == ''",
    "torch.load('x') is None",
    "torch.hub.load('x', 'y')",
    "L.__class__.__base__",
    "L['x'].__reduce__()",
    "getattr(L, 'x')",
    "(lambda: 1)() == 1",
    "[x for x in L]",
    "f'{L}'",
    "(y := 1) == 1",
    "L['x'].size(out=1)",
    "L['x'] == 1); import os; (1",
    "L['x'] ==",
    "0" * 3000,
    "(" * 2000,
]


@pytest.mark.parametrize("guard", COMPARISONS)
def test_a_comparison_is_safe(guard: str) -> None:
    assert is_safe_guard(guard)


@pytest.mark.parametrize("guard", CODE)
def test_whatever_is_more_is_not(guard: str) -> None:
    assert not is_safe_guard(guard)


class _Compares(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x[: y.shape[0] // 2] * 2 if x.shape[0] % 2 == 0 else x + y[: x.shape[0]]


@pytest.mark.parametrize("strict", [False, True])
def test_guards_that_torch_writes_are_safe(tmp_path: Path, strict: bool) -> None:
    first, second = torch.export.Dim("a", min=2, max=64), torch.export.Dim("b", min=4, max=64)
    exported = torch.export.export(
        _Compares(), (torch.rand(6, 4), torch.rand(8, 4)),
        dynamic_shapes={"x": {0: 2 * first}, "y": {0: second}}, strict=strict,
        prefer_deferred_runtime_asserts_over_guards=False,
    )  # fmt: skip
    torch.export.save(exported, tmp_path / "m.pt2")
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        [model] = [name for name in archive.namelist() if name.endswith("models/model.json")]
        guards = json.loads(archive.read(model))["guards_code"]
    assert all(is_safe_guard(guard) for guard in guards)
