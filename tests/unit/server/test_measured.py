"""A device's outputs are held against the source's; nothing that tells nothing passes."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server import result_arrays
from edgeconv.server.measured import compare_outputs
from edgeconv.server.result_arrays import count_samples, read_arrays

SOURCE = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
SENT = 16


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _with(value: float, *places: Any) -> np.ndarray[Any, Any]:
    array = SOURCE[:SENT].copy()
    for place in places:
        array[place] = value
    return array


def test_equal_outputs_of_the_samples_sent_agree() -> None:
    assert compare_outputs(_npz(y=SOURCE), _npz(y=SOURCE[:SENT]), SENT) == (300.0, 1.0)


def test_the_worst_output_counts() -> None:
    got = _npz(a=SOURCE[:SENT], b=-SOURCE[:SENT])
    snr_db, argmax = compare_outputs(_npz(a=SOURCE, b=SOURCE), got, SENT)
    assert snr_db is not None
    assert snr_db < 0
    assert argmax is not None
    assert argmax < 0.5


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (_with(np.nan, slice(None)), "NaN or infinity"),
        (_with(np.nan, (slice(None), 1)), "NaN or infinity"),
        (_with(np.inf, (3, 1)), "NaN or infinity"),
        (SOURCE[:0], "outputs of 0 samples"),
        (SOURCE[:15], "outputs of 15 samples"),
        (SOURCE[:17], "outputs of 17 samples"),
        (np.float32(1), "outputs of 0 samples"),
        (SOURCE[:SENT, :2], "another shape"),
        (SOURCE[:SENT].astype(np.float64), "is float64"),
        (SOURCE[:SENT].astype(np.int32), "is int32"),
    ],
)
def test_outputs_that_are_not_numbers_of_the_right_kind_are_the_devices_fault(
    got: Any, words: str
) -> None:
    with pytest.raises(EdgeconvError, match=words) as caught:
        compare_outputs(_npz(y=SOURCE), _npz(y=got), SENT)
    assert caught.value.reason is Reason.DEVICE_FAILED


def test_a_missing_output_is_named() -> None:
    with pytest.raises(EdgeconvError, match="'z' is missing"):
        compare_outputs(_npz(y=SOURCE, z=SOURCE), _npz(y=SOURCE[:SENT]), SENT)
    with pytest.raises(EdgeconvError, match="no samples"):
        compare_outputs(_npz(y=SOURCE), _npz(), SENT)


def test_outputs_of_different_counts_are_refused() -> None:
    with pytest.raises(EdgeconvError, match="outputs of 15, 16 samples"):
        compare_outputs(
            _npz(y=SOURCE, z=SOURCE), _npz(y=SOURCE[:SENT], z=SOURCE[:15]), SENT
        )  # fmt: skip


def test_the_same_infinity_as_the_source_is_agreement() -> None:
    source = SOURCE.copy()
    source[2, 1] = np.inf
    snr_db, _ = compare_outputs(_npz(y=source), _npz(y=source[:SENT]), SENT)
    assert snr_db == 300.0


def test_fewer_samples_are_taken_where_no_more_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeconv.server.measured.MAX_RESULT_BYTES", 10 * 12)
    assert compare_outputs(_npz(y=SOURCE), _npz(y=SOURCE[:10]), SENT) == (300.0, 1.0)
    with pytest.raises(EdgeconvError, match="outputs of 9 samples"):
        compare_outputs(_npz(y=SOURCE), _npz(y=SOURCE[:9]), SENT)


def _claiming(header: str, content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        head = header.encode() + b"\n"
        archive.writestr(
            "y.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content
        )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        # 8 TiB, which would be taken from memory before the first byte is read.
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}", "LIMIT_EXCEEDED"),
        ("{'descr': '<f8', 'fortran_order': True, 'shape': (9999999, 999)}", "LIMIT_EXCEEDED"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (4,)}", "DEVICE_FAILED"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-4,)}", "DEVICE_FAILED"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "DEVICE_FAILED"),
    ],
)
def test_what_a_header_claims_is_checked_before_it_gets_memory(header: str, reason: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        list(read_arrays(_claiming(header, b"12345678")))
    assert caught.value.reason.name == reason


def test_arrays_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _npz(a=SOURCE, b=SOURCE)
    monkeypatch.setattr(result_arrays, "MAX_RESULT_BYTES", 2 * SOURCE.nbytes)
    assert [name for name, _ in read_arrays(data)] == ["a", "b"]
    monkeypatch.setattr(result_arrays, "MAX_RESULT_BYTES", 2 * SOURCE.nbytes - 1)
    with pytest.raises(EdgeconvError, match="'b'"):
        list(read_arrays(data))


@pytest.mark.parametrize("array", [SOURCE, np.asfortranarray(SOURCE), SOURCE.astype(">f4")])
def test_arrays_are_read_as_they_were_written(array: Any) -> None:
    ((_, whole),) = read_arrays(_npz(y=array))
    np.testing.assert_array_equal(whole, SOURCE)
    ((_, first),) = read_arrays(_npz(y=array), rows=3)
    np.testing.assert_array_equal(first, SOURCE[:3])


def test_samples_are_counted_from_the_headers() -> None:
    assert count_samples(_npz(a=SOURCE, b=SOURCE[:7])) == 7
    assert count_samples(_npz()) == 0
