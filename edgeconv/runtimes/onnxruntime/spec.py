"""What ONNX Runtime is."""

from __future__ import annotations

from edgeconv.runtimes.spec import RuntimeSpec

ONNXRUNTIME = RuntimeSpec(
    name="onnxruntime",
    title="ONNX Runtime",
    format="onnx",
    packages=("onnxruntime",),
    extra="ort",
    child_module="edgeconv.runtimes.onnxruntime.child",
    spinning_selectable=True,
    counts_delegate_parts=False,
)
