"""What `inspect` says of a model's open axes."""

from __future__ import annotations

import pytest

from edgeconv.cli.convert_request import parse_shapes
from edgeconv.cli.describe import print_inspection
from edgeconv.cli.terminal import Terminal
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.signature import DeclaredTensor, DType, resolve_shapes, shape_to_give


def _tensor(name: str, *shape: int | str) -> DeclaredTensor:
    return DeclaredTensor(name=name, dtype=DType.FLOAT32, shape=shape)


def _words(*inputs: DeclaredTensor, capsys: pytest.CaptureFixture[str]) -> str:
    inspection = Inspection(
        format="pt2", inputs=inputs, outputs=(), parameters=0, weights_bytes=0, operators={}
    )
    print_inspection(inspection, Terminal())
    return capsys.readouterr().out


def test_it_says_what_to_pass_to_shape(capsys: pytest.CaptureFixture[str]) -> None:
    words = _words(
        _tensor("static", 1, 3), _tensor("rows", "batch", 64), _tensor("im", "batch", 3, 8, "im.3"),
        capsys=capsys,
    )  # fmt: skip
    assert "'static'" not in words
    assert "Input 'rows' is taken one at a time, unless --shape says another." in words
    assert "Input 'im' needs its whole shape: --shape im=1,3,8,SIZE" in words


def test_the_pattern_with_numbers_is_what_shape_takes() -> None:
    tensor = _tensor("in=put", "?", "rows", 8, "?")
    pattern = shape_to_give(tensor)
    assert pattern == "in=put=1,SIZE,8,SIZE"
    (name, sizes) = next(iter(parse_shapes([pattern.replace("SIZE", "5")]).items()))
    given = {name: [int(size) for size in sizes.split(",")]}
    assert resolve_shapes([tensor], given) == {"in=put": (1, 5, 8, 5)}
