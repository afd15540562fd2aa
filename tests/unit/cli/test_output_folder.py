"""The folder of a finished conversion."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.output_folder import artifact_paths, check_replaceable, write_report
from edgeconv.results.job import FileResult, JobResult, VariantResult


def _variant(*names: str, recipe_variant: str = "int8") -> VariantResult:
    files = tuple(FileResult(name=name, digest="sha256:x", size_bytes=1) for name in names)
    return VariantResult(
        name=f"{recipe_variant}.onnx", recipe_variant=recipe_variant, target="onnx",
        precision="int8", state="verified", files=files,
    )  # fmt: skip


def _job(*variants: VariantResult) -> JobResult:
    return JobResult(name="conversions/c", model_version="models/m/versions/1",
                     state="succeeded", variants=variants)  # fmt: skip


def test_one_file_is_named_after_its_variant_and_several_keep_their_names() -> None:
    assert artifact_paths(_variant("model.onnx")) == {"model.onnx": "int8.onnx"}
    assert artifact_paths(_variant("model.onnx", "model.onnx.data")) == {
        "model.onnx": "int8-onnx/model.onnx",
        "model.onnx.data": "int8-onnx/model.onnx.data",
    }


@pytest.mark.parametrize(
    "variant", [_variant("../up"), _variant("m.onnx", recipe_variant="../x")], ids=["file", "name"]
)
def test_a_server_can_not_write_outside_the_folder(variant: VariantResult) -> None:
    with pytest.raises(EdgeconvError):
        artifact_paths(variant)


def test_an_earlier_result_may_be_replaced_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_replaceable(out)
    out.mkdir()
    check_replaceable(out)
    variant = _variant("model.onnx")
    file = variant.files[0].model_copy(update={"path": "int8.onnx"})
    write_report(_job(variant.model_copy(update={"files": (file,)})), out)
    (out / "int8.onnx").touch()
    check_replaceable(out)
    (out / "notes.txt").touch()
    with pytest.raises(EdgeconvError, match=r"notes\.txt") as caught:
        check_replaceable(out)
    assert caught.value.reason is Reason.ALREADY_EXISTS


def test_a_file_in_place_of_the_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(EdgeconvError):
        check_replaceable(tmp_path / "out")


def test_a_result_of_another_make_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"schema_version": 99}')
    with pytest.raises(EdgeconvError):
        check_replaceable(tmp_path)
