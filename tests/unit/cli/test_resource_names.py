"""What a user may write for a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError
from edgeconv.base.ids import parse_name
from edgeconv.cli.names import full_name, slug, version_name


def test_the_collection_may_be_left_out() -> None:
    assert full_name("pi5-a", "devices") == "devices/pi5-a"
    assert full_name("devices/pi5-a", "devices") == "devices/pi5-a"
    for bad in ("", "a/b", "UPPER", "models/x"):
        with pytest.raises(EdgeconvError):
            full_name(bad, "devices")


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("net", "models/net/versions/latest"),
        ("models/net", "models/net/versions/latest"),
        ("net/3", "models/net/versions/3"),
        ("net/versions/3", "models/net/versions/3"),
        ("models/net/versions/3", "models/net/versions/3"),
    ],
)
def test_versions(written: str, full: str) -> None:
    assert version_name(written) == full


@pytest.mark.parametrize("bad", ["", "a/b/c", "net/", "/3"])
def test_bad_versions(bad: str) -> None:
    with pytest.raises(EdgeconvError):
        version_name(bad)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_every_file_has_a_name_that_the_service_takes(stem: str) -> None:
    parse_name(f"models/{slug(Path(stem + '.onnx'))}", "models/*")


def test_slugs_are_readable() -> None:
    assert slug(Path("/a/ch_PP-OCRv4 rec.infer.onnx")) == "ch_pp-ocrv4-rec.infer"
    assert slug(Path("漢字.onnx")) == "model"
    assert slug(Path("my módel (v1).pt2")) == slug(Path("my mo\u0301del (v1).pt2")) == "my-model-v1"


@pytest.mark.parametrize("name", ["My Model!", "Net", "-net", "n" * 64])
def test_what_a_name_is_made_of_is_said(name: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        full_name(name, "models")
    assert "1 to 63 of a-z, 0-9, '.', '_' and '-'" in caught.value.fix
