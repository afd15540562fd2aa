"""Whether a dataset fits a model, told from what both declare. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.sentences import clause
from edgeconv.recipe.inspection import DatasetInspection
from edgeconv.recipe.signature import DeclaredTensor, DType

Axes = Sequence[int | str]
LABEL = "label"
"""The array of a dataset that holds the labels."""

_SHAPE_FIX = "Give an npz with one array per input of the model, samples first."


def check_fit(
    dataset: DatasetInspection,
    inputs: Sequence[DeclaredTensor],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Refuses a dataset that lacks an input, or has another dtype, shape or count for it.

    An array is [samples, *input shape]; where the input's first axis has size 1 or is
    open, it may stand for the sample axis itself.

    Args:
        shapes: Whole shapes by input, where they are known; else open axes fit any size.

    Raises:
        EdgeconvError: DATASET_MISMATCH naming the arrays.
    """
    arrays = {array.name: array for array in dataset.arrays}
    violations = []
    for tensor in inputs:
        wanted: Axes = tuple(shapes[tensor.name]) if shapes else tensor.shape
        message = _mismatch(tensor, wanted, arrays.get(tensor.name), sorted(arrays))
        if message:
            violations.append(FieldViolation(tensor.name, message))
    if not violations:
        violations = _uneven(arrays, [tensor.name for tensor in inputs])
    if violations:
        listed = "; ".join(f"{each.field!r}: {each.message}" for each in violations)
        raise EdgeconvError(
            Reason.DATASET_MISMATCH,
            f"The dataset does not fit the model: {listed}.",
            fix=_fix_of(arrays, inputs),
            violations=violations,
        )


def names_fix(inputs: Sequence[str]) -> str:
    """What to do when an input has no array."""
    return f"Name the arrays as the model names its inputs: {', '.join(map(repr, inputs))}."


def dtype_fix(name: str, dtype: DType) -> str:
    """What to do when an array has another dtype than its input."""
    if dtype is DType.BFLOAT16:
        return ""
    word = "bool_" if dtype is DType.BOOL else dtype.value
    return f"Write array {name!r} with .astype(np.{word})."


def unread_arrays(dataset: DatasetInspection, inputs: Sequence[DeclaredTensor]) -> list[str]:
    """The arrays that stand for no input and are no labels, so that nothing reads them."""
    read = {LABEL, *(tensor.name for tensor in inputs)}
    return [array.name for array in dataset.arrays if array.name not in read]


def _fix_of(arrays: Mapping[str, DeclaredTensor], inputs: Sequence[DeclaredTensor]) -> str:
    """What to do about the worst of it: names before dtypes before shapes."""
    if any(tensor.name not in arrays for tensor in inputs):
        return names_fix([tensor.name for tensor in inputs])
    other = [tensor for tensor in inputs if arrays[tensor.name].dtype != tensor.dtype]
    fixes = [dtype_fix(tensor.name, tensor.dtype) for tensor in other]
    return " ".join(filter(None, fixes)) or _SHAPE_FIX


def _mismatch(
    tensor: DeclaredTensor, wanted: Axes, array: DeclaredTensor | None, have: Sequence[str]
) -> str:
    if array is None:
        return f"the dataset has no array for it; it has {', '.join(have) or 'none'}"
    if array.dtype != tensor.dtype:
        return f"the array is {array.dtype}, not {tensor.dtype}"
    sample = array.shape[1:]
    if _same(wanted, sample):
        return ""
    if wanted and _open_or(wanted[0], 1) and _same(wanted[1:], sample):
        return ""
    shape = ", ".join(["samples", *map(str, wanted)])
    return f"the array has shape {list(array.shape)}, not [{shape}]"


def _uneven(arrays: Mapping[str, DeclaredTensor], inputs: Sequence[str]) -> list[FieldViolation]:
    """Arrays with another number of samples than the first input's, or with none."""
    if not inputs:
        return []
    count = arrays[inputs[0]].shape[0]
    if not count:
        return [FieldViolation(inputs[0], "there are no samples")]
    return [
        FieldViolation(name, f"there are {arrays[name].shape[0]}, and {count} of {inputs[0]!r}")
        for name in (*inputs, LABEL)
        if name in arrays and arrays[name].shape[0] != count
    ]


def _same(wanted: Axes, have: Axes) -> bool:
    return len(wanted) == len(have) and all(
        _open_or(want, size) for want, size in zip(wanted, have, strict=True)
    )


def _open_or(want: int | str, size: int | str) -> bool:
    return isinstance(want, str) or want < 1 or want == size


def unusable(name: str, message: str, *, what: str = "Array") -> EdgeconvError:
    """DATASET_INVALID: an array, or the dataset `name`, is none that a model can be given."""
    return EdgeconvError(
        Reason.DATASET_INVALID,
        f"{what} {name!r} can't be used: {clause(message)}.",
        fix="Write it with numpy.savez: one array of finite numbers per input, samples first.",
        violations=[FieldViolation(name, message)],
        array=name,
    )
