"""The key of a step: equal keys, equal results. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeconv.base.digests import digest_json
from edgeconv.recipe.specs import StepKind, StepSpec

_SEEDED = frozenset({StepKind.PASS, StepKind.LOWERING, StepKind.FINISH})
"""Kinds that get the recipe's seed; the reference has it among its options."""


@dataclass(frozen=True)
class KeyInput:
    """What a step reads: the digest of a bundle, and what its maker said of it."""

    digest: str
    facts: Mapping[str, Any]


def step_key(
    spec: StepSpec,
    options: Mapping[str, Any],
    inputs: Mapping[str, KeyInput],
    *,
    model: str,
    seed: int,
    toolchain: Mapping[str, str],
    cpu_class: str,
) -> str:
    """A digest over all that a step's result depends on.

    Args:
        options: With all defaults filled in.
        inputs: By role.
        model: Digest of the model whose child does the step. What one model's file made of
            its child must not be taken for a result of another's, though all inputs are alike.
    """
    return digest_json(
        {
            "kind": spec.kind,
            "name": spec.name,
            "revision": spec.revision,
            "options": dict(options),
            "inputs": {
                role: [given.digest, digest_json(dict(given.facts))]
                for role, given in inputs.items()
            },
            "model": model,
            "seed": seed if spec.kind in _SEEDED else None,
            "toolchain": dict(toolchain),
            "cpu": cpu_class,
        }
    )
