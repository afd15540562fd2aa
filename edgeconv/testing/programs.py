"""Tiny programs for tests, in plain torch: the shapes of well-known networks in miniature.

Weights are random but seeded, and normalisation statistics are not the defaults, so that a
fault in handling them shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.conversion.program import Program
from edgeconv.recipe.signature import DType, Signature, TensorSpec
from edgeconv.results.lineage import Lineage

Build = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


def as_program(
    module: nn.Module,
    inputs: Sequence[Tensor],
    *,
    names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Program:
    """A module as a Program, as an intake would give it.

    Args:
        module: Takes its inputs positionally and gives a tensor or a tuple.
        inputs: Example inputs; they set dtypes and static shapes.
        names: Names of the inputs, else input_0…
        outputs: Names of the outputs, else output_0…
    """
    module = module.eval()
    with torch.no_grad():
        made = module(*(tensor.clone() for tensor in inputs))
    results = [made] if isinstance(made, Tensor) else list(made)
    whole = _GivesTuple(module).eval() if isinstance(made, Tensor) else module
    exported = torch.export.export(whole, tuple(inputs))
    signature = Signature(
        inputs=_specs(names, "input", inputs), outputs=_specs(outputs, "output", results)
    )
    exported.example_inputs = None
    return Program(exported, signature, Lineage(source="0" * 64))


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module with seeded weights and with normalisation statistics that are not plain."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build().eval()
        for each in module.modules():
            if isinstance(each, nn.BatchNorm2d):
                nn.init.uniform_(each.weight, 0.5, 1.5)
                nn.init.normal_(each.bias, std=0.3)
                nn.init.normal_(each.running_mean, std=0.3)  # type: ignore[arg-type]
                nn.init.uniform_(each.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return module


def network(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One of NETWORKS with example inputs.

    Raises:
        KeyError: there is none of that name.
    """
    module = seeded(_MODULES[name], seed)
    generator = torch.Generator().manual_seed(seed)
    if name == "bert":
        return module, (torch.randint(0, 100, (1, 12), generator=generator),)
    return module, (torch.randn(1, 3, 32, 32, generator=generator),)


def program(name: str, seed: int = 0) -> Program:
    """One of NETWORKS as a Program.

    Raises:
        KeyError: there is none of that name.
    """
    module, inputs = network(name, seed)
    return as_program(module, inputs)


class _GivesTuple(nn.Module):
    """A module whose one tensor comes in a tuple, as Programs give it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.net(*inputs),)


def _specs(
    names: Sequence[str] | None, role: str, tensors: Sequence[Tensor]
) -> tuple[TensorSpec, ...]:
    given = names or [f"{role}_{place}" for place in range(len(tensors))]
    return tuple(
        TensorSpec(
            name=name,
            dtype=DType(str(tensor.dtype).removeprefix("torch.")),
            shape=tuple(tensor.shape),
        )
        for name, tensor in zip(given, tensors, strict=True)
    )


def _conv(taken: int, made: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(taken, made, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(made))


class _Residual(nn.Module):
    def __init__(self, taken: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(taken, made, stride=stride)
        self.second = _conv(made, made)
        self.skip = nn.Identity() if taken == made else _conv(taken, made, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = F.relu(self.second(F.relu(self.first(x))) + self.skip(x))
        return made


class ResNet(nn.Module):
    """Basic residual blocks with projections, global pooling and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32)
        self.blocks = nn.Sequential(
            _Residual(32, 32, 1), _Residual(32, 64, 2), _Residual(64, 64, 1), _Residual(64, 96, 2)
        )
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        made: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return made


class _Squeeze(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width // 4, 1)
        self.up = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.up(weight))


class _Inverted(nn.Module):
    def __init__(self, taken: int, wide: int, made: int, stride: int) -> None:
        super().__init__()
        self.widen = _conv(taken, wide, 1)
        self.depthwise = _conv(wide, wide, 3, stride, groups=wide)
        self.squeeze = _Squeeze(wide)
        self.narrow = _conv(wide, made, 1)
        self.adds = stride == 1 and taken == made

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.depthwise(F.hardswish(self.widen(x), inplace=True)))
        y = self.narrow(self.squeeze(y))
        made: Tensor = x + y if self.adds else y
        return made


class MobileNet(nn.Module):
    """Inverted residuals with squeeze-and-excitation and hard-swish."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 16, stride=2)
        self.blocks = nn.Sequential(
            _Inverted(16, 64, 24, 2), _Inverted(24, 96, 24, 1), _Inverted(24, 96, 40, 2)
        )
        self.last = _conv(40, 128, 1)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.last(self.blocks(F.hardswish(self.stem(x)))))
        made: Tensor = self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return made


class _Dense(nn.Module):
    def __init__(self, taken: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(taken)
        self.bottleneck = _conv(taken, 2 * growth, 1)
        self.conv = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bottleneck(F.relu(self.norm(x))))
        return torch.cat([x, self.conv(y)], 1)


class DenseNet(nn.Module):
    """Dense blocks that concatenate, with a transition between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32)
        self.one = nn.Sequential(_Dense(32, 16), _Dense(48, 16))
        self.between = nn.Conv2d(64, 32, 1)
        self.two = nn.Sequential(_Dense(32, 16), _Dense(48, 16))
        self.norm = nn.BatchNorm2d(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(F.max_pool2d(F.relu(self.stem(x)), 2))
        x = self.two(F.avg_pool2d(self.between(x), 2))
        made: Tensor = self.head(F.relu(self.norm(x)).mean((2, 3)))
        return made


class _Shuffle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.before = _conv(half, half, 1)
        self.depthwise = _conv(half, half, 3, groups=half)
        self.after = _conv(half, half, 1)

    def forward(self, x: Tensor) -> Tensor:
        still, moved = x.chunk(2, dim=1)
        moved = self.depthwise(F.relu(self.before(moved)))
        x = torch.cat([still, F.relu(self.after(moved))], 1)
        size = x.shape
        x = x.view(size[0], 2, size[1] // 2, size[2], size[3]).transpose(1, 2)
        return x.reshape(size)


class ShuffleNet(nn.Module):
    """Split, transform one half, concatenate, shuffle the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 64, stride=2)
        self.blocks = nn.Sequential(_Shuffle(64), _Shuffle(64))
        self.last = _conv(64, 128, 1)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.last(self.blocks(F.relu(self.stem(x)))))
        made: Tensor = self.head(x.mean((2, 3)))
        return made


class _Next(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(F.gelu(self.wide(y)))
        made: Tensor = x + y.permute(0, 3, 1, 2)
        return made


class ConvNeXt(nn.Module):
    """Depthwise convolutions, LayerNorm over channels, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 4, 4)
        self.blocks = nn.Sequential(_Next(32), _Next(32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return made


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        if fused:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.query = nn.Linear(width, width)
            self.key = nn.Linear(width, width)
            self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        if self.fused:
            qkv = self.qkv(x).view(batch, length, 3, *shape[2:])
            query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            y = F.scaled_dot_product_attention(query, key, value)
        else:
            query = self.query(x).view(shape).transpose(1, 2)
            key = self.key(x).view(shape).transpose(1, 2)
            value = self.value(x).view(shape).transpose(1, 2)
            scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
            y = scores.softmax(-1) @ value
        made: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return made


class _Transformer(nn.Module):
    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads, fused=fused)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        made: Tensor = x + self.narrow(F.gelu(self.wide(self.norm2(x))))
        return made


class ViT(nn.Module):
    """Patches, a class token, learned positions, fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 48, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 48))
        self.positions = nn.Parameter(torch.randn(1, 17, 48))
        self.blocks = nn.Sequential(*(_Transformer(48, 3, fused=True) for _ in range(2)))
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        made: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return made


class Bert(nn.Module):
    """Token and position embeddings, attention written out, a pooled and a token output."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 64)
        self.positions = nn.Embedding(16, 64)
        self.norm = nn.LayerNorm(64)
        self.blocks = nn.Sequential(*(_Transformer(64, 4, fused=False) for _ in range(2)))
        self.pool = nn.Linear(64, 64)
        self.head = nn.Linear(64, 2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(tokens.shape[1]).unsqueeze(0)
        x = self.blocks(self.norm(self.words(tokens) + self.positions(places)))
        return self.head(torch.tanh(self.pool(x[:, 0]))), x


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "resnet": ResNet,
    "mobilenet": MobileNet,
    "densenet": DenseNet,
    "shufflenet": ShuffleNet,
    "convnext": ConvNeXt,
    "vit": ViT,
    "bert": Bert,
}

NETWORKS = tuple(_MODULES)
