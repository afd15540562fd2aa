"""What an npz file declares, read without numpy, beside what the server reads with it."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.dataset_files import check_declared, read_declared
from edgeconv.conversion.samples import inspect_arrays, read_npz, write_arrays
from edgeconv.recipe.signature import DType
from edgeconv.v1 import models_pb2

_DTYPES = st.sampled_from([each.value for each in DType if each is not DType.BFLOAT16])
_SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)


@given(
    made=st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda name: name != "label" and "\0" not in name),
        st.tuples(_DTYPES, _SHAPES, st.sampled_from(["C", "F", ">"])),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_it_reads_what_the_server_reads(
    made: dict[str, tuple[str, tuple[int, ...], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("npz") / "data.npz"
    values = {
        name: np.zeros(shape, np.dtype(dtype).newbyteorder(">" if order == ">" else "="),
                       order="F" if order == "F" else "C")
        for name, (dtype, shape, order) in made.items()
    }  # fmt: skip
    write_arrays(path, values)
    assert read_declared(path) == inspect_arrays(read_npz(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_it_reads_what_numpy_writes(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "a.npz", x=np.zeros((5, 3), np.float32), label=np.arange(5))
    read = read_declared(tmp_path / "a.npz")
    assert read == inspect_arrays(read_npz(tmp_path / "a.npz"))
    assert read.samples == 5


def _npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def _npy(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asanyarray(value), allow_pickle=True)
    return file.getvalue()


_WHOLE = _npz(x=_npy(np.zeros((4, 2), np.float32)))


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b"", "data.npz", "not a zip file"),
        (b"garbage", "data.npz", "not a zip file"),
        (_WHOLE[:-30], "data.npz", "zip"),
        (_npy(np.zeros(3)), "data.npz", "a single array"),
        (_npz(), "data.npz", "no arrays"),
        (_npz(x=b"\x01\x02"), "x", "no array of numpy's"),
        (_npz(x=_npy(np.zeros((4, 2)))[:40]), "x", "header can't be read"),
        (_npz(x=_npy(np.zeros((4, 2)))[:-1]), "x", "has 191 bytes and needs 192"),
        (_npz(x=_npy(np.float32(1))), "x", "no sample axis"),
        (_npz(x=_npy(np.zeros(2, complex))), "x", "'<c16' is none"),
        (_npz(x=_npy(np.array([{}], object))), "x", "'|O' is none"),
        (_npz(x=_npy(np.zeros(2, [("a", "<f4")]))), "x", "is none that a model takes"),
        (_npz(x=b"\x93NUMPY\x01\x00\x08\x00{'a': 1}"), "x", "dtype 'None'"),
        (_npz(x=b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "x", "header can't be read"),
    ],
)
def test_what_is_no_dataset_is_refused_with_the_array(
    tmp_path: Path, data: bytes, field: str, words: str
) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(data)
    with pytest.raises(EdgeconvError) as caught:
        read_declared(path)
    assert caught.value.reason is Reason.DATASET_INVALID
    assert [violation.field for violation in caught.value.violations] == [field]
    assert words in caught.value.message
    assert ".." not in caught.value.message
    assert "data.npz" in caught.value.message


@given(place=st.integers(0, len(_WHOLE) - 1), value=st.integers(0, 255))
def test_no_damage_makes_it_stumble(
    place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("npz") / "data.npz"
    path.write_bytes(_WHOLE[:place] + bytes([value]) + _WHOLE[place + 1 :])
    # Nothing else is raised; damage to the values themselves may pass.
    with contextlib.suppress(EdgeconvError):
        read_declared(path)


def _version(*shape: str) -> models_pb2.ModelVersion:
    tensor = models_pb2.DeclaredTensor(name="x", dtype="float32", shape=shape)
    inspection = models_pb2.Inspection(format="onnx", inputs=[tensor], outputs=[tensor])
    return models_pb2.ModelVersion(
        name="models/m/versions/1",
        state=models_pb2.INSPECTION_STATE_READY,
        inspection=inspection,
    )


def test_what_fits_a_model_is_told_from_declarations(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(_WHOLE)
    declared = {path: read_declared(path)}
    check_declared(declared, _version("batch", "2"), {})
    check_declared(declared, _version("1", "width"), {"x": "1,2"})
    check_declared(declared, _version("1", "width"))
    bounded = _version("1", "width")
    bounded.inspection.ranges["width"].least = 4
    with pytest.raises(EdgeconvError, match="4 and more, not 2") as caught:
        check_declared(declared, bounded, {"x": "1,2"})
    assert caught.value.reason is Reason.SHAPE_INVALID
    with pytest.raises(EdgeconvError, match=r"data\.npz: .*'x'") as caught:
        check_declared(declared, _version("1", "width"), {"x": "1,3"})
    assert caught.value.reason is Reason.DATASET_MISMATCH
    with pytest.raises(EdgeconvError) as caught:
        check_declared(declared, _version("1", "width"), {})
    assert caught.value.reason is Reason.DIMENSION_UNKNOWN
