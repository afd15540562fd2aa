"""Networks in the shape of ViT (Dosovitskiy et al., 2020) and BERT (Devlin et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Attention(nn.Module):
    """Self-attention over tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """float32 [batch, tokens, width]; `bias` broadcasts to [batch, heads, tokens, tokens]."""
        batch, tokens, width = x.shape
        apart = self.mix(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = apart.permute(2, 0, 3, 1, 4).unbind(0)
        made = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        joined: Tensor = self.out(made.transpose(1, 2).reshape(batch, tokens, width))
        return joined


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class _PreNormBlock(nn.Module):
    """Normalization before attention and MLP, as in ViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.mlp = _Attention(width, heads), _mlp(width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [batch, tokens, width] → the same."""
        x = x + self.attention(self.first(x))
        return x + self.mlp(self.second(x))  # type: ignore[no-any-return]


class _PostNormBlock(nn.Module):
    """Normalization after attention and MLP, as in BERT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.mlp = _Attention(width, heads), _mlp(width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """float32 [batch, tokens, width] → the same."""
        x = self.first(x + self.attention(x, bias))
        return self.second(x + self.mlp(x))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """ViT-Tiny with patches of 16 and six layers; images in, 1,000 scores out."""

    def __init__(self, size: int = 224, width: int = 192, heads: int = 3, depth: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.place = nn.Parameter(torch.randn(1, (size // 16) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(_PreNormBlock(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [batch, 3, size, size] → [batch, 1000]."""
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        first = self.token.expand(tokens.shape[0], -1, -1)
        x = self.blocks(torch.cat([first, tokens], 1) + self.place)
        return self.head(self.norm(x)[:, 0])  # type: ignore[no-any-return]


class Bert(nn.Module):
    """Four layers of 256; token ids and a mask in, token states and a pooled state out."""

    def __init__(
        self, vocabulary: int = 5000, length: int = 64, width: int = 256, depth: int = 4
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_PostNormBlock(width, 4) for _ in range(depth))
        self.pool = nn.Linear(width, width)
        self.register_buffer("positions", torch.arange(length), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [batch, length] twice → float32 [batch, length, width], [batch, width]."""
        x = self.norm(self.words(input_ids) + self.places(self.positions))
        seen = (attention_mask != 0)[:, None, None, :]
        bias = torch.where(seen, 0.0, -1e4)
        for block in self.blocks:
            x = block(x, bias)
        return x, torch.tanh(self.pool(x[:, 0]))
