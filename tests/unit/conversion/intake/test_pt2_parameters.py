"""What `.pt2` files count as parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgeconv.conversion.intake import inspect_source


def test_parameters_are_those_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    exported = torch.export.export(net.eval(), (torch.zeros(1, 1, 4, 4),))
    torch.export.save(exported, tmp_path / "net.pt2")
    told = inspect_source(tmp_path)
    assert told.parameters == sum(each.numel() for each in net.parameters())
    buffers = sum(each.numel() * each.element_size() for each in net.buffers())
    assert told.weights_bytes == 4 * told.parameters + buffers
