"""Structured pruning: whole channels leave the program, and what is left is refitted."""

from edgeconv.conversion.passes.prune.prune import Prune

__all__ = ["Prune"]
