"""Datasets as arrays: read, checked, fitted to a model, split, made up."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.samples import (
    Samples,
    fit_samples,
    inspect_arrays,
    read_arrays,
    read_npz,
    synthesize,
    write_arrays,
)
from edgeconv.recipe.signature import DType, TensorSpec

IMAGE = TensorSpec(name="x", dtype=DType.FLOAT32, shape=(1, 3, 4))


def spec(name: str, dtype: DType, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def test_arrays_of_any_name_come_back_in_order_and_equal_bytes(tmp_path: Path) -> None:
    arrays = {"in/put:0": np.arange(6.0), "file": np.ones((2, 2), bool), "a b": np.array([1])}
    for name in ("one.npz", "two.npz"):
        write_arrays(tmp_path / name, arrays)
    assert digest_file(tmp_path / "one.npz") == digest_file(tmp_path / "two.npz")
    (tmp_path / "two.npz").unlink()
    read = read_arrays(tmp_path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    ran = []

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return ran.append, (1,)

    np.savez(tmp_path / "data.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(EdgeconvError, match="'x'") as caught:
        read_arrays(tmp_path)
    assert caught.value.reason is Reason.DATASET_INVALID
    (tmp_path / "data.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(EdgeconvError) as caught:
        read_arrays(tmp_path)
    assert caught.value.reason is Reason.DATASET_INVALID


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_damaged_files_are_named(cut: int, tmp_path: Path) -> None:
    write_arrays(tmp_path / "data.npz", {"x": np.arange(1000.0)})
    content = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(content[:cut])
    with pytest.raises(EdgeconvError) as caught:
        read_arrays(tmp_path)
    assert caught.value.reason is Reason.DATASET_INVALID


def test_a_file_that_takes_all_memory_unpacked_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"")
    small = (tmp_path / "data.npz").read_bytes()
    # The entry in the table of contents says how much there is: here nearly 4 GiB, three times.
    table = small.index(b"PK\x01\x02")
    entry, end = small[table : small.index(b"PK\x05\x06")], small[small.index(b"PK\x05\x06") :]
    entry = entry[:24] + (2**32 - 2).to_bytes(4, "little") + entry[28:]
    entries = b"".join(entry.replace(b"x.npy", name) for name in (b"x.npy", b"y.npy", b"z.npy"))
    counts = (3).to_bytes(2, "little") * 2 + len(entries).to_bytes(4, "little")
    (tmp_path / "data.npz").write_bytes(small[:table] + entries + end[:8] + counts + end[16:])
    with pytest.raises(EdgeconvError, match=r"12\.0 GiB unpacked, more than 8 GiB") as caught:
        read_npz(tmp_path / "data.npz")
    assert caught.value.reason is Reason.DATASET_INVALID


def test_a_single_array_is_no_dataset(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    (tmp_path / "data.npz").write_bytes(stream.getvalue())
    with pytest.raises(EdgeconvError, match="single array"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([1.0, np.nan]), r"NaN or infinity, first at \[1\]"),
        (np.array([[1.0], [-np.inf]]), r"first at \[1, 0\]"),
        (np.array(3.0), "no sample axis"),
        (np.array(["a"]), "dtype"),
        (np.array([1j]), "complex128"),
    ],
)
def test_what_no_model_takes_is_named(array: NDArray[Any], words: str) -> None:
    with pytest.raises(EdgeconvError, match=words) as caught:
        inspect_arrays({"x": array})
    assert "numpy.savez" in caught.value.fix
    assert [violation.field for violation in caught.value.violations] == ["x"]


def test_the_sample_axis_may_stand_for_a_first_axis_of_one() -> None:
    flat = fit_samples({"x": np.zeros((5, 3, 4), np.float32)}, [IMAGE])
    whole = fit_samples({"x": np.zeros((5, 1, 3, 4), np.float32)}, [IMAGE])
    assert flat.inputs["x"].shape == whole.inputs["x"].shape == (5, 1, 3, 4)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros((5, 3, 4), np.float32)}, "no array for it; it has y"),
        ({"x": np.zeros((5, 3, 4))}, "float64, not float32"),
        ({"x": np.zeros((5, 4, 3), np.float32)}, r"\[samples, 1, 3, 4\]"),
        ({"x": np.zeros((0, 3, 4), np.float32)}, "no samples"),
        ({"x": np.zeros((5, 3, 4), np.float32), "label": np.zeros(4, int)}, "4 labels"),
    ],
)
def test_what_does_not_fit_is_named(arrays: dict[str, NDArray[Any]], words: str) -> None:
    with pytest.raises(EdgeconvError, match=words) as caught:
        fit_samples(arrays, [IMAGE])
    assert caught.value.reason is Reason.DATASET_MISMATCH


@given(st.integers(2, 50))
def test_calibration_and_held_out_share_no_sample(count: int) -> None:
    values = np.arange(count, dtype=np.int64)
    samples = Samples({"x": values}, values, "dataset")
    calibration, held_out = samples.split("calibration"), samples.split("held-out")
    kept = [*calibration.inputs["x"], *held_out.inputs["x"]]
    assert sorted(kept) == list(range(count))
    assert len(calibration) >= 1
    assert calibration.labels is not None
    np.testing.assert_array_equal(calibration.labels, calibration.inputs["x"])


def test_synthetic_samples_respect_dtypes_and_names() -> None:
    inputs = [
        spec("image", DType.UINT8, 1, 16, 16),
        spec("input_ids", DType.INT64, 1, 64),
        spec("attention_mask", DType.INT64, 1, 64),
        spec("sr", DType.INT64),
        spec("flag", DType.BOOL, 8),
        spec("half", DType.FLOAT16, 8),
    ]
    samples = synthesize(inputs, count=16, seed=0)
    made = samples.inputs
    assert [made[each.name].dtype.name for each in inputs] == [each.dtype for each in inputs]
    assert [made[each.name].shape for each in inputs] == [(16, *each.shape) for each in inputs]
    assert (made["image"].min(), made["image"].max()) == (0, 255)
    assert 0 <= made["input_ids"].min() < made["input_ids"].max() < 100
    assert np.all(made["attention_mask"] == 1)
    assert np.all(made["sr"] == 16_000)
    assert {False, True} == set(made["flag"].reshape(-1).tolist())


def test_synthetic_samples_follow_from_the_seed() -> None:
    one, again = (synthesize([IMAGE], count=4, seed=7).inputs["x"] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, synthesize([IMAGE], count=4, seed=8).inputs["x"])
