"""`edgeconv inspect` and a child that its model has taken over: it is watched as a server's is,
and its words are not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.cli.main import main
from edgeconv.testing.quick_steps import ENTRY, write_quick_model
from edgeconv.testing.tiny_files import write_dense_onnx


@pytest.fixture(autouse=True)
def _quick_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeconv.cli.inspect._ENTRY", ENTRY)


def _inspect(folder: Path, *options: str, **said: Any) -> dict[str, Any]:
    """The document that it prints of a quick model, beside a file that looks like one."""
    write_dense_onnx(folder / "model.onnx")
    said_by = write_quick_model(folder / "model.json", **said)
    words = ["inspect", str(folder / "model.onnx"), "--file", str(said_by), "--json", *options]
    done = CliRunner().invoke(main, words)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_model_is_inspected(tmp_path: Path) -> None:
    assert _inspect(tmp_path)["inspection"]["operators"] == {"Gemm": 1}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"steps": {"inspect": "nonsense"}}, "wall_ns is no count"),
        ({"steps": {"inspect": "no words"}}, "progress without words"),
        ({"steps": {"inspect": "no failure"}}, "no error"),
        ({"inspection": {"format": "onnx"}}, "an end that is none at inputs"),
        ({"inspection": None}, "an end that is none at inspection"),
    ],
)
def test_a_child_that_says_nonsense_is_named_for_it(
    tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    error = _inspect(tmp_path, **said)["error"]
    assert error["reason"] == "CHILD_DIED"
    assert words in error["message"]


def test_what_it_writes_where_its_files_lie_counts(tmp_path: Path) -> None:
    error = _inspect(tmp_path, "--inspection-time", "10s", steps={"inspect": "deep"})["error"]
    assert error["reason"] == "LIMIT_EXCEEDED"
    assert "folders within each other" in error["message"]
