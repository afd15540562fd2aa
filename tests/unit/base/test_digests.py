"""Digests and canonical JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgeconv.base.digests import (
    canonical_json,
    digest_bundle,
    digest_bytes,
    digest_file,
    digest_json,
    is_digest,
)


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    path = tmp_path / "data"
    path.write_bytes(data)
    assert digest_file(path) == digest_bytes(data)
    assert digest_file(path) == "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "well_formed"),
    [
        ("sha256:" + "0" * 64, True),
        ("sha256:" + "0" * 63, False),
        ("sha256:" + "A" * 64, False),
        ("sha256:" + "0" * 64 + "\n", False),
        ("md5:" + "0" * 64, False),
    ],
)
def test_what_a_digest_looks_like(text: str, well_formed: bool) -> None:
    assert is_digest(text) is well_formed


def test_equal_data_gives_equal_text_whatever_the_order() -> None:
    assert canonical_json({"b": 1, "a": [True, None]}) == '{"a":[true,null],"b":1}'
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"x": float("nan")})


def test_a_bundle_is_its_names_and_digests() -> None:
    one = {"model.onnx": "sha256:1", "model.onnx.data": "sha256:2"}
    swapped = {"model.onnx": "sha256:2", "model.onnx.data": "sha256:1"}
    assert digest_bundle(one) == digest_bundle(dict(reversed(one.items())))
    assert digest_bundle(one) != digest_bundle(swapped)
