"""What a `.pt2` file tells before it is converted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from edgeconv.conversion.intake.pt2.loading import load_program
from edgeconv.recipe.inspection import Inspection


def inspect_pt2(path: Path) -> Inspection:
    """See `edgeconv.conversion.intake.inspect_source`."""
    loaded = load_program(path)
    tensors = [
        value
        for group in (loaded.exported.state_dict, loaded.exported.constants)
        for value in group.values()
        if isinstance(value, torch.Tensor)
    ]
    counts = Counter(
        str(node.target)
        for node in loaded.exported.graph.nodes
        if node.op == "call_function" and hasattr(node.target, "_schema")
    )
    notes = list(loaded.notes)
    for named, sizes in loaded.ranges.items():
        name, _, axis = named.rpartition(".")
        notes.append(f"Axis {axis} of input {name!r} was exported for {sizes}.")
    notes += loaded.notes_on_outputs
    return Inspection(
        format="pt2",
        inputs=loaded.inputs,
        outputs=loaded.outputs,
        parameters=sum(tensor.numel() for _, tensor in loaded.exported.named_parameters()),
        weights_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        operators=dict(sorted(counts.items())),
        ranges=dict(loaded.ranges),
        notes=tuple(notes),
    )
