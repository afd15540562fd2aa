"""The arrays a measured model runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.inputs import SampleFile, held_bytes, synthesize
from edgeconv.conversion.samples import inspect_arrays
from edgeconv.recipe.signature import DType, TensorSpec

IMAGE = TensorSpec(name="in/put:0", dtype=DType.FLOAT32, shape=(1, 3, 4))


def _npz(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return path


def test_samples_come_one_by_one_in_the_models_shape(tmp_path: Path) -> None:
    data = np.arange(60, dtype=np.float32).reshape(5, 1, 3, 4)
    samples = SampleFile(_npz(tmp_path, **{"in/put:0": data, "label": np.arange(5)}), [IMAGE])
    assert len(samples) == 5
    for place, feeds in enumerate(samples):
        assert list(feeds) == ["in/put:0"]
        np.testing.assert_array_equal(feeds["in/put:0"], data[place])


def test_a_first_axis_of_one_may_stand_for_the_samples(tmp_path: Path) -> None:
    data = np.zeros((5, 3, 4), np.float32)
    first = next(iter(SampleFile(_npz(tmp_path, **{"in/put:0": data}), [IMAGE])))
    assert first["in/put:0"].shape == (1, 3, 4)


def test_an_open_axis_takes_any_size(tmp_path: Path) -> None:
    open_axes = IMAGE.model_copy(update={"shape": (-1, 3, -1)})
    data = np.zeros((2, 7, 3, 9), np.float32)
    first = next(iter(SampleFile(_npz(tmp_path, **{"in/put:0": data}), [open_axes])))
    assert first["in/put:0"].shape == (7, 3, 9)


@pytest.mark.parametrize(
    ("arrays", "words", "fix"),
    [
        (
            {"other": np.zeros((1, 1, 3, 4), np.float32)},
            "no array for it; it has other", "model names its inputs: 'in/put:0'.",
        ),
        (
            {"in/put:0": np.zeros((1, 1, 3, 4))},
            "float64, not float32", "'in/put:0' with .astype(np.float32).",
        ),
        (
            {"in/put:0": np.zeros((1, 1, 4, 3), np.float32)},
            "[1, 1, 4, 3], not [samples, 1, 3, 4]", "samples first",
        ),
        ({"in/put:0": np.zeros((0, 1, 3, 4), np.float32)}, "sample counts", "one array per input"),
    ],
    ids=["name", "dtype", "shape", "empty"],
)  # fmt: skip
def test_what_does_not_fit_names_the_input(
    arrays: dict[str, np.ndarray], words: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgeconvError) as caught:
        SampleFile(_npz(tmp_path, **arrays), [IMAGE])
    assert caught.value.reason is Reason.DATASET_MISMATCH
    assert "'in/put:0'" in caught.value.message
    assert words in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_not_finite_is_refused_as_a_conversion_refuses_it(
    value: float, dtype: type, tmp_path: Path
) -> None:
    data = np.ones((2, 1, 3, 4), dtype)
    data[1, 0, 2, 3] = value
    spec = IMAGE.model_copy(update={"dtype": DType(np.dtype(dtype).name)})
    with pytest.raises(EdgeconvError) as caught:
        SampleFile(_npz(tmp_path, **{"in/put:0": data}), [spec])
    with pytest.raises(EdgeconvError) as converted:
        inspect_arrays({"in/put:0": data})
    assert caught.value.reason is Reason.DATASET_INVALID
    assert "first at [1, 0, 2, 3]" in caught.value.message
    assert caught.value.to_json() == converted.value.to_json()


def test_different_counts_are_refused(tmp_path: Path) -> None:
    other = TensorSpec(name="h", dtype=DType.FLOAT32, shape=(1,))
    arrays = {"in/put:0": np.zeros((3, 1, 3, 4), np.float32), "h": np.zeros((2, 1), np.float32)}
    with pytest.raises(EdgeconvError, match="'in/put:0': 3, 'h': 2"):
        SampleFile(_npz(tmp_path, **arrays), [IMAGE, other])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"\x80\x04."])
def test_a_damaged_file_is_refused_without_its_path(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(damage)
    with pytest.raises(EdgeconvError) as caught:
        SampleFile(path, [IMAGE])
    assert caught.value.reason is Reason.DATASET_INVALID
    assert str(tmp_path) not in caught.value.message


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = _npz(tmp_path, **{"in/put:0": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(EdgeconvError) as caught:
        SampleFile(path, [IMAGE])
    assert caught.value.reason is Reason.DATASET_INVALID


def test_the_timed_samples_are_few_and_contiguous(tmp_path: Path) -> None:
    many = SampleFile(_npz(tmp_path, **{"in/put:0": np.zeros((40, 3, 4), np.float32)}), [IMAGE])
    first = many.first()
    assert len(first) == 16
    assert all(feeds["in/put:0"].flags.c_contiguous for feeds in first)
    assert held_bytes(first) == 16 * 12 * 4


def test_large_samples_are_timed_with_fewer_but_at_least_one(tmp_path: Path) -> None:
    big = TensorSpec(name="x", dtype=DType.FLOAT32, shape=(1, 6 << 20))
    samples = SampleFile(_npz(tmp_path, x=np.zeros((3, 6 << 20), np.float32)), [big])
    assert len(samples.first()) == 1


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.BFLOAT16])
def test_synthetic_inputs_have_the_dtype_and_are_the_same_each_time(dtype: DType) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=(2, 50))
    once, again = synthesize([spec]), synthesize([spec])
    assert len(once) >= 2
    for one, other in zip(once, again, strict=True):
        assert one["x"].dtype.name == dtype.value
        assert one["x"].shape == (2, 50)
        np.testing.assert_array_equal(one["x"], other["x"])
        if not dtype.is_floating and dtype not in (DType.BOOL, DType.INT8, DType.UINT8):
            assert one["x"].min() >= 0
            assert one["x"].max() <= 99
    assert any(not np.array_equal(once[0]["x"], other["x"]) for other in once[1:])


def test_synthetic_inputs_respect_what_names_tell() -> None:
    def made(name: str, dtype: DType, *shape: int) -> Any:
        return synthesize([TensorSpec(name=name, dtype=dtype, shape=shape)])[0][name]

    assert np.all(made("attention_mask", DType.INT64, 1, 64) == 1)
    assert made("sr", DType.INT64) == 16_000
    assert made("sample_rate", DType.INT32, -1).tolist() == [16_000]
    assert made("image", DType.UINT8, 64, 64).max() > 200


def test_open_axes_need_a_size_but_for_the_first() -> None:
    spec = TensorSpec(name="x", dtype=DType.FLOAT32, shape=(-1, 3, -1))
    with pytest.raises(EdgeconvError) as caught:
        synthesize([spec])
    assert caught.value.reason is Reason.DIMENSION_UNKNOWN
    assert synthesize([spec], {"x": (2, 3, 5)})[0]["x"].shape == (2, 3, 5)
    first = spec.model_copy(update={"shape": (-1, 3)})
    assert synthesize([first])[0]["x"].shape == (1, 3)
