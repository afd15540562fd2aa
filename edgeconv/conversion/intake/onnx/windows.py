"""Sliding windows of convolutions and pools: kernel, strides, dilations, pads."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.conversion.intake.onnx.call import Call


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes.

    Attributes:
        sizes: Sizes of the input's spatial axes.
        begins: Padding before each axis.
        ends: Padding after each axis.
        ceil: Whether a last window that is not full counts.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    ceil: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether both sides of every axis have the same padding."""
        return self.begins == self.ends

    @property
    def spans(self) -> tuple[int, ...]:
        """What the dilated kernel covers of each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def torch_pads(self) -> list[int]:
        """Pads in torch's order: last axis first."""
        pairs = zip(reversed(self.begins), reversed(self.ends), strict=True)
        return [each for pair in pairs for each in pair]

    @property
    def out_sizes(self) -> tuple[int, ...]:
        """Sizes of the output; a window that would start in the end padding does not count."""
        made = []
        for axis, (size, span) in enumerate(zip(self.sizes, self.spans, strict=True)):
            room = size + self.begins[axis] + self.ends[axis] - span
            stride = self.strides[axis]
            count = room // stride + 1
            if self.ceil and room % stride and count * stride < size + self.begins[axis]:
                count += 1
            made.append(count)
        return tuple(made)

    def full_ends(self) -> tuple[int, ...]:
        """End padding that the windows really reach; negative where they leave a rest."""
        return tuple(
            (out - 1) * stride + span - size - begin
            for out, stride, span, size, begin in zip(
                self.out_sizes, self.strides, self.spans, self.sizes, self.begins, strict=True
            )
        )


def read_window(call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The window of a node: strides, dilations, pads or auto_pad, ceil_mode."""
    rank = len(sizes)
    strides = tuple(call.attr("strides") or (1,) * rank)
    dilations = tuple(call.attr("dilations") or (1,) * rank)
    pads = tuple(call.attr("pads") or (0,) * 2 * rank)
    mode = call.attr("auto_pad") or "NOTSET"
    ceil = bool(call.attr("ceil_mode", 0))
    if any(each < 0 for each in pads):
        raise call.refused("it has negative pads")
    for name, numbers, wanted in (
        ("kernel", kernel, rank), ("strides", strides, rank), ("dilations", dilations, rank),
        ("pads", pads, 2 * rank),
    ):  # fmt: skip
        if len(numbers) != wanted or (name != "pads" and any(each < 1 for each in numbers)):
            shown = list(numbers[:12])
            raise call.refused(f"its {name} {shown} does not fit {rank} spatial axes")
    begins, ends = pads[:rank], pads[rank:]
    if mode == "VALID":
        begins = ends = (0,) * rank
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            for size, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
        ]
        smaller, larger = (tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals))
        begins, ends = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
    elif mode != "NOTSET":
        raise call.refused(f"its auto_pad is {mode!r}")
    return Window(sizes, kernel, strides, dilations, begins, ends, ceil)
