"""The folder of a finished conversion."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import cast

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.output_folder import (
    REPORT,
    RESULT,
    artifact_paths,
    check_replaceable,
    source_path,
    write_job,
    write_report,
)
from edgeconv.cli.terminal import Terminal
from edgeconv.client.sync import Client
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


def test_what_failed_lies_apart() -> None:
    one = _variant("model.onnx").model_copy(update={"state": "failed"})
    assert artifact_paths(one) == {"model.onnx": "failed/int8.onnx"}
    two = _variant("model.onnx", "w.data").model_copy(update={"state": "failed"})
    assert artifact_paths(two)["w.data"] == "failed/int8-onnx/w.data"


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
    source = source_path(tmp_path / "tiny.onnx", out)
    variant = _variant("model.onnx")
    file = variant.files[0].model_copy(update={"path": "int8.onnx"})
    job = _job(variant.model_copy(update={"files": (file,)}))
    write_report(job.model_copy(update={"source": source}), out)
    (out / "int8.onnx").touch()
    check_replaceable(out, source=source)
    (out / "notes.txt").touch()
    with pytest.raises(EdgeconvError, match=r"notes\.txt") as caught:
        check_replaceable(out, source=source)
    assert caught.value.reason is Reason.ALREADY_EXISTS


def test_a_file_in_place_of_the_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(EdgeconvError, match=r"out' is a file, not a folder\.") as caught:
        check_replaceable(tmp_path / "out")
    (violation,) = caught.value.violations
    # What the message says already is not printed a second time.
    assert violation.message in caught.value.message
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(EdgeconvError, match=r"link' is a link to nothing, not a folder"):
        check_replaceable(tmp_path / "link")


def test_the_look_for_foreign_files_ends_at_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep").touch()
    (tmp_path / "notes").touch()
    looked: list[str] = []
    scandir = os.scandir

    def noted(path: str) -> object:
        looked.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    with pytest.raises(EdgeconvError, match="holds 'notes'"):
        check_replaceable(tmp_path)
    assert looked == [str(tmp_path)]


def test_foreign_links_and_files_deep_inside_are_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    check_replaceable(tmp_path)
    (tmp_path / "a" / "b" / "c").touch()
    with pytest.raises(EdgeconvError, match="holds 'a/b/c'"):
        check_replaceable(tmp_path)
    (tmp_path / "a" / "b" / "c").unlink()
    (tmp_path / "a" / "link").symlink_to(tmp_path.parent)
    with pytest.raises(EdgeconvError, match="holds 'a/link'"):
        check_replaceable(tmp_path)


def test_a_result_of_another_make_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"schema_version": 99}')
    with pytest.raises(EdgeconvError):
        check_replaceable(tmp_path)


def _write(result: JobResult, out: Path) -> JobResult:
    # Without files nothing is downloaded: no server is asked.
    return write_job(cast(Client, None), result, out, Terminal())


def _result_in(out: Path) -> JobResult:
    return JobResult.model_validate_json((out / RESULT).read_bytes())


@pytest.mark.parametrize("other", ["tiny.onnx", "elsewhere/tiny.pt2"])
def test_the_result_of_another_source_is_never_replaced(
    tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "tiny-edgeconv"
    first = _job().model_copy(update={"source": source_path(Path("tiny.pt2"), out)})
    _write(first, out)
    again = first.model_copy(update={"name": "conversions/d"})
    _write(again, out)
    assert _result_in(out).name == "conversions/d"
    with pytest.raises(EdgeconvError) as caught:
        check_replaceable(out, source=source_path(Path(other), out))
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert f"holds the result of 'tiny.pt2'; that of {other!r} does not" in caught.value.message
    assert "--out" in caught.value.fix
    assert _result_in(out) == again


def test_source_and_result_may_be_moved_together(tmp_path: Path) -> None:
    assert source_path(tmp_path / "a" / "m.onnx", tmp_path / "a" / "m-edgeconv") == "../m.onnx"
    assert source_path(tmp_path / "m.onnx", tmp_path / "a" / "b") == "../../m.onnx"


def test_a_downloaded_job_replaces_itself_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(_job(), out)
    _write(_job(), out)
    with pytest.raises(EdgeconvError, match=r"conversions/c.*conversions/d"):
        _write(_job().model_copy(update={"name": "conversions/d"}), out)


@pytest.mark.parametrize("failing", [1, 2])
def test_an_earlier_result_comes_back_when_the_new_one_can_not_take_its_place(
    tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _write(_job(), out)
    rename, calls = Path.rename, 0

    def fail_once(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, "the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(EdgeconvError, match="the disk is gone") as caught:
        _write(_job().model_copy(update={"recipe": "version: 1"}), out)
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
    assert "edgeconv jobs download conversions/c --out" in caught.value.fix
    assert _result_in(out) == _job()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in out.iterdir()) == sorted([RESULT, REPORT])


def test_an_earlier_result_in_a_linked_folder_makes_way_by_its_own_list(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "real")
    variant = _variant("model.onnx")
    file = variant.files[0].model_copy(update={"path": "int8.onnx"})
    write_report(_job(variant.model_copy(update={"files": (file,)})), out)
    (out / "int8.onnx").touch()
    _write(_job(), out)
    assert out.is_symlink()
    assert sorted(path.name for path in out.iterdir()) == sorted([RESULT, REPORT])
    assert _result_in(out) == _job()


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with pytest.raises(EdgeconvError) as caught:
        check_replaceable(tmp_path / "out")
    assert caught.value.reason is Reason.ALREADY_EXISTS


def test_a_folder_that_can_not_be_made_is_refused_before_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeconvError) as caught:
        check_replaceable(tmp_path / "file" / "out")
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE


def test_a_full_disk_names_the_command_that_fetches_the_result_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EdgeconvError, match="No space left on device") as caught:
        _write(_job(), tmp_path / "out")
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
    assert "jobs download conversions/c" in caught.value.fix
    assert list(tmp_path.iterdir()) == []
