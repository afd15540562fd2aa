"""What a pickle would import is found without unpickling it."""

from __future__ import annotations

import fractions
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.conversion.intake.pt2.pickles import foreign_names

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def saved(value: Any, *, old: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


DATA = {
    "tensors": ((torch.rand(2), torch.ones(2, dtype=torch.bfloat16)), {"mask": torch.ones(1) > 0}),
    "parameters": torch.nn.Linear(2, 2).state_dict(),
    "a parameter": torch.nn.Parameter(torch.rand(2)),
    "a channels-last image": torch.rand(1, 3, 4, 4).to(memory_format=torch.channels_last),
    "a quantized tensor": torch.quantize_per_tensor(torch.rand(3), 0.1, 2, torch.quint8),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "arrays": [np.zeros((2, 2), np.float32), np.float64(3.0)],
    "kinds": (torch.float32, torch.Size([1, 2]), torch.device("cpu"), torch.strided),
    "plain values": OrderedDict(a=1, b=[2.0, "three", b"four", None, {5}, slice(1, 2)]),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("old", [False, True])
def test_data_imports_nothing_foreign(name: str, old: bool) -> None:
    assert foreign_names(saved(DATA[name], old=old)) == set()


def test_the_numbers_of_an_old_file_are_no_pickles() -> None:
    # Of 200 such files some hold numbers whose bytes are opcodes.
    weights = torch.randint(-(2**31), 2**31 - 1, (200, 4), dtype=torch.int32)
    assert set().union(*(foreign_names(saved(row.clone(), old=True)) for row in weights)) == set()


def test_nothing_imports_nothing() -> None:
    assert foreign_names(b"") == set()


CALLS = {
    "builtins exec": _Calls(exec, "1"),
    "builtins getattr": _Calls(getattr, "", "upper"),
    "fractions Fraction": fractions.Fraction(1, 2),
    "torch.serialization load": _Calls(torch.load, "x"),
    "torch.hub load": _Calls(torch.hub.load, "x", "y"),
    "pathlib Path.touch": _Calls(Path.touch, Path("x")),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("named", CALLS)
def test_a_call_is_found_in_every_protocol(named: str, protocol: int) -> None:
    found = foreign_names(pickle.dumps(["first", CALLS[named], "last"], protocol))
    # Before protocol 4 a method is got by getattr, and Python 2 has another name for builtins.
    known = {named, named.replace("builtins", "__builtin__"), "__builtin__ getattr"}
    assert found & (known | {"builtins getattr"})


@pytest.mark.parametrize("old", [False, True])
def test_a_call_is_found_in_a_file_of_torch(old: bool) -> None:
    call = _Calls(exec, "1")
    assert any("exec" in name for name in foreign_names(saved((torch.rand(2), call), old=old)))


def test_a_call_in_a_later_pickle_is_found() -> None:
    assert foreign_names(pickle.dumps(1) + pickle.dumps(_Calls(exec, "1"))) == {"builtins exec"}


def test_a_call_before_the_damage_is_found() -> None:
    assert foreign_names(pickle.dumps(_Calls(exec, "1"))[:-1]) == {"builtins exec"}


def test_a_name_that_comes_from_memory_is_found() -> None:
    # Both parts lie in the memo: "builtins" and "exec" are written before they are used.
    hidden = b"\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x940h\x00h\x01\x93."
    assert foreign_names(hidden) == {"builtins exec"}


def test_a_compressed_pickle_is_read_no_further_than_a_bound() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Calls(exec, "1")) + bytes(1 << 28))
    assert foreign_names(stream.getvalue()) == {"builtins exec"}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    foreign_names(data)
    foreign_names(pickle.dumps([data, 1.5])[: len(data)] + data)
