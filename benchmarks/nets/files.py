"""Writes a network as a `.pt2` and as an ONNX file; `python -m benchmarks.nets.files`."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.nets.convolutional import MobileNetV2, ResNet18
from benchmarks.nets.transformer import Bert, VisionTransformer

SEED = 20
_IMAGE = 224
_SMALL_IMAGE = 64


@dataclass(frozen=True)
class Net:
    """A network and the inputs that it is exported with."""

    make: Callable[[int], nn.Module]
    inputs: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...]


def _image(size: int) -> dict[str, Tensor]:
    return {"image": torch.zeros(1, 3, size, size)}


def _text(size: int) -> dict[str, Tensor]:
    ids = torch.zeros(1, 64, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


NETS: dict[str, Net] = {
    "resnet18": Net(lambda size: ResNet18(), _image, ("scores",)),
    "mobilenetv2": Net(lambda size: MobileNetV2(), _image, ("scores",)),
    "vit": Net(VisionTransformer, _image, ("scores",)),
    "bert": Net(lambda size: Bert(), _text, ("states", "pooled")),
}


def make_net(name: str, *, small: bool = False) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network in inference mode and its sample inputs.

    Args:
        small: Images of 64 instead of 224 pixels.
    """
    net, size = NETS[name], _SMALL_IMAGE if small else _IMAGE
    torch.manual_seed(SEED)
    module = net.make(size)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            # Fresh statistics are 0 and 1, with which a wrong fold would not show.
            nn.init.normal_(part.bias, 0, 0.1)
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(_buffer(part.running_mean), 0, 0.1)
            nn.init.uniform_(_buffer(part.running_var), 0.5, 1.5)
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    return module.eval(), net.inputs(size)


def _buffer(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def write_net(name: str, form: str, folder: Path, *, small: bool = False) -> Path:
    """Writes `<name>.pt2` or `<name>.onnx` into a folder, weights inside."""
    module, inputs = make_net(name, small=small)
    exported = torch.export.export(module, tuple(inputs.values()))
    path = folder / f"{name}.{form}"
    if form == "pt2":
        torch.export.save(exported, path)
        return path
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            exported,
            f=str(path),
            dynamo=True,
            opset_version=18,
            input_names=list(inputs),
            output_names=list(NETS[name].outputs),
            external_data=False,
            verbose=False,
        )
    return path


def main() -> int:
    """Writes one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(NETS))
    parser.add_argument("form", choices=("pt2", "onnx"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="images of 64 pixels")
    given = parser.parse_args()
    print(write_net(given.name, given.form, given.folder, small=given.small))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
