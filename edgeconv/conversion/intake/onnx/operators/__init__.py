"""The handlers, one file an operator family."""

from __future__ import annotations

from importlib import import_module

_FAMILIES = (
    "activation", "convolution", "elementwise", "indexing", "logic", "matmul", "movement",
    "normalization", "padding", "pooling", "quantized", "recurrent", "reduction", "resize", "unary",
)  # fmt: skip


def load() -> None:
    """Fills the table of handlers."""
    for family in _FAMILIES:
        import_module(f"{__name__}.{family}")
