"""Honest saved programs that the mutators begin with, as members of their archive."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"
Members = dict[str, bytes]


class _Convolutional(nn.Module):
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.dense = nn.Linear(4, 2)
        self.register_buffer("scale", torch.ones(4))
        self.table = torch.ones(2)

    def forward(self, image: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        pooled = torch.relu(self.conv(image)).mean((2, 3)) * self.scale
        return self.dense(pooled) + self.table, pooled.reshape(pooled.shape[0], -1, 2) * factor


class _Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        hidden = self.layer(self.table(ids))
        mask = torch.triu(torch.ones(ids.shape[1], ids.shape[1]), 1)
        return {"hidden": hidden, "causal": (hidden @ hidden.transpose(1, 2)).masked_fill(
            mask > 0, -1e9)}  # fmt: skip


class _InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        made = torch.zeros(2, 4)
        made[:, 1:] = x[:, :3]
        return torch.cat([made, x]).clamp_(0, 1).unsqueeze(0)


def _convolutional() -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=8)
    return torch.export.export(
        _Convolutional().eval(), (torch.rand(3, 3, 8, 8), torch.rand(1)),
        dynamic_shapes={"image": {0: batch}, "factor": None},
    )  # fmt: skip


def _sequence() -> torch.export.ExportedProgram:
    length = torch.export.Dim("length", min=2, max=32)
    return torch.export.export(
        _Sequence().eval(), (torch.zeros(1, 5, dtype=torch.int64),),
        dynamic_shapes={"ids": {1: length}},
    )  # fmt: skip


def _in_place() -> torch.export.ExportedProgram:
    return torch.export.export(_InPlace().eval(), (torch.rand(2, 4),))


_MADE: dict[str, Callable[[], torch.export.ExportedProgram]] = {
    "convolutional": _convolutional,
    "sequence": _sequence,
    "in_place": _in_place,
}
NAMES = tuple(_MADE)


@cache
def _content(name: str) -> tuple[tuple[str, bytes], ...]:
    content = io.BytesIO()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.export.save(_MADE[name](), content)
    with zipfile.ZipFile(content) as archive:
        members = {each.partition("/")[2]: archive.read(each) for each in archive.namelist()}
    model = json.loads(members[MODEL])
    for node in model["graph_module"]["graph"]["nodes"]:
        # It names folders of this machine, and the same case is to be the same bytes on all.
        node["metadata"].pop("stack_trace", None)
    members[MODEL] = json.dumps(model).encode()
    members[SAMPLES] = b""
    return tuple(members.items())


def members(name: str) -> Members:
    """A saved program, member by name below the root folder; without sample inputs."""
    return dict(_content(name))


def packed(content: Members) -> bytes:
    """The archive of members, always the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), data)
    return made.getvalue()


def edited(content: Members, member: str) -> Any:
    """The JSON of a member."""
    return json.loads(content[member])
