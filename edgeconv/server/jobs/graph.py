"""What of a plan hangs on what. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.recipe.plan import Plan


def needs(plan: Plan) -> Mapping[str, frozenset[str]]:
    """Variant → ids of all steps that it can't do without, its verification among them."""
    inputs = {step.id: step.inputs.values() for step in plan.steps}

    def behind(step: str) -> frozenset[str]:
        found = {step}
        for given in inputs[step]:
            if given in inputs:
                found |= behind(given)
        return frozenset(found)

    return {variant.name: behind(variant.verify) for variant in plan.variants}
