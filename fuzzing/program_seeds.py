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


class _Branching(nn.Module):
    def forward(self, x: Tensor, flag: Tensor) -> Tensor:
        def more(each: Tensor) -> Tensor:
            return each * 2 + 1

        def less(each: Tensor) -> Tensor:
            return each.sin()

        made: Tensor = torch.cond(flag.sum() > 0, more, less, (x,))
        return made


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
        self.gate = nn.GRU(8, 2, batch_first=True)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x: Tensor, start: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        whole, state = self.cell(x, start)
        turned = self.norm(whole.transpose(1, 2)).transpose(1, 2)
        return self.gate(turned)[0], state


class _Structured(nn.Module):
    """Tensors in a dictionary and a list, a number and nothing among the arguments."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Parameter(torch.full((3, 3), 0.5, dtype=torch.float16))
        self.register_buffer("places", torch.arange(3, dtype=torch.int32))
        self.shared = nn.Linear(3, 3)
        self.again = self.shared

    def forward(
        self, given: dict[str, Tensor], pair: list[Tensor], times: int, mask: Tensor | None = None
    ) -> dict[str, Any]:
        made = self.again(self.shared(given["left"])) * times
        chosen = torch.index_select(given["right"], 0, self.places)
        best, where = torch.topk(pair[0] + pair[1], 2)
        return {"sum": made + chosen, "parts": [best, where], "low": made.half() @ self.narrow}


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


def _branching() -> torch.export.ExportedProgram:
    return torch.export.export(_Branching().eval(), (torch.rand(2, 3), torch.ones(2)))


def _recurrent() -> torch.export.ExportedProgram:
    state = (torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
    return torch.export.export(_Recurrent().eval(), (torch.rand(1, 5, 3), state))


def _structured() -> torch.export.ExportedProgram:
    given = {"left": torch.rand(3, 3), "right": torch.rand(4, 3)}
    rows = torch.export.Dim("rows", min=3, max=99)
    return torch.export.export(
        _Structured().eval(), (given, [torch.rand(5), torch.rand(5)], 2), {"mask": None},
        dynamic_shapes={
            "given": {"left": None, "right": {0: rows}}, "pair": [None, None], "times": None,
            "mask": None,
        },
    )  # fmt: skip


_MADE: dict[str, Callable[[], torch.export.ExportedProgram]] = {
    "convolutional": _convolutional,
    "sequence": _sequence,
    "in_place": _in_place,
    "branching": _branching,
    "recurrent": _recurrent,
    "structured": _structured,
}
NAMES = tuple(_MADE)


@cache
def _content(name: str) -> tuple[tuple[str, bytes], ...]:
    content = io.BytesIO()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.export.save(_MADE[name](), content)
    members = members_of(content.getvalue())
    model = json.loads(members[MODEL])
    for node in model["graph_module"]["graph"]["nodes"]:
        # It names folders of this machine, and the same case is to be the same bytes on all.
        node["metadata"].pop("stack_trace", None)
    members[MODEL] = json.dumps(model).encode()
    members[SAMPLES] = b""
    return tuple(members.items())


def members_of(archive: bytes) -> Members:
    """The members of an archive by their names below its root folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {each.partition("/")[2]: opened.read(each) for each in opened.namelist()}


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
