"""A saved program that was changed after its export, as the reference."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.torch_source import TorchSource


class _Reshape(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 3)


def _saved(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A program whose model was changed by hand."""
    saved = io.BytesIO()
    torch.export.save(torch.export.export(_Reshape(), (torch.zeros(6),)), saved)
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(path, "w") as written:
        for entry in whole.infolist():
            data = whole.read(entry)
            if entry.filename.endswith("models/model.json"):
                model = json.loads(data)
                change(model)
                data = json.dumps(model).encode()
            written.writestr(entry.filename, data)
    return path


def _other_sizes(model: dict[str, Any]) -> None:
    (node,) = model["graph_module"]["graph"]["nodes"]
    sizes = next(each["arg"] for each in node["inputs"] if "as_ints" in each["arg"])
    sizes["as_ints"] = [2, 4]


def _name_that_is_none(model: dict[str, Any]) -> None:
    calls = model["graph_module"]["module_call_graph"]
    calls[0]["signature"]["forward_arg_names"] = [True]


def test_an_operator_that_does_not_take_its_arguments_is_the_models_fault(tmp_path: Path) -> None:
    source = TorchSource(_saved(tmp_path / "m.pt2", _other_sizes), {"x": [6]})
    with pytest.raises(EdgeconvError, match=r"torch can't run 'm\.pt2': shape ") as caught:
        source.run({"x": np.zeros(6, np.float32)})
    assert caught.value.reason is Reason.RUNTIME_REFUSED


def test_a_program_that_torch_makes_no_module_of_is_the_models_fault(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"torch can't load 'm\.pt2'") as caught:
        TorchSource(_saved(tmp_path / "m.pt2", _name_that_is_none), {"x": [6]})
    assert caught.value.reason is Reason.RUNTIME_REFUSED
