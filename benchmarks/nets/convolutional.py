"""Networks in the shape of ResNet-18 (He et al., 2015) and MobileNetV2 (Sandler et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs))
        self.second = nn.Sequential(_conv(outputs, outputs, 3), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """float32 [batch, inputs, height, width] → [batch, outputs, height/stride, …]."""
        inner = self.second(torch.relu(self.first(x)))
        return torch.relu(inner + self.shortcut(x))


class ResNet18(nn.Module):
    """11.7 million weights; images in, 1,000 scores out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        blocks: list[nn.Module] = []
        channels = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [_BasicBlock(channels, width, stride), _BasicBlock(width, width, 1)]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, 1000)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [batch, 3, height, width] → [batch, 1000]."""
        return self.head(self.blocks(self.stem(image)).mean((2, 3)))  # type: ignore[no-any-return]


class _InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [_conv(inputs, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [_conv(wide, wide, 3, stride, wide), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [_conv(wide, outputs, 1), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """float32 [batch, inputs, height, width] → [batch, outputs, height/stride, …]."""
        made: Tensor = self.layers(x)
        return x + made if self.adds else made


_MOBILE_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


class MobileNetV2(nn.Module):
    """3.5 million weights; images in, 1,000 scores out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6()]
        channels = 32
        for expansion, width, count, stride in _MOBILE_STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                layers.append(_InvertedResidual(channels, width, step, expansion))
                channels = width
        layers += [_conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(1280, 1000)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [batch, 3, height, width] → [batch, 1000]."""
        return self.head(self.layers(image).mean((2, 3)))  # type: ignore[no-any-return]
