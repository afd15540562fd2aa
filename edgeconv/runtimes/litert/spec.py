"""What LiteRT is."""

from __future__ import annotations

from edgeconv.runtimes.spec import RuntimeSpec

LITERT = RuntimeSpec(
    name="litert",
    title="LiteRT",
    format="tflite",
    packages=("ai-edge-litert", "tflite-runtime"),
    extra="tflite",
    child_module="edgeconv.runtimes.litert.child",
    spinning_selectable=False,
    counts_delegate_parts=True,
)
