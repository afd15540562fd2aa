"""Saved programs that would run code when torch loads them are refused, and run none."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.attacks.routes import MODEL, ROUTES, WEIGHTS, Members, honest_program, write_hostile
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source, take_in
from edgeconv.conversion.intake.pt2 import archive
from edgeconv.conversion.intake.pt2.archive import check_archive


@pytest.fixture(scope="module")
def saved() -> bytes:
    return honest_program()


def _rewritten(saved: bytes, folder: Path, change: Callable[[Members], None]) -> Path:
    """The saved program with changed members."""
    with zipfile.ZipFile(io.BytesIO(saved)) as source:
        root = source.namelist()[0].partition("/")[0]
        members = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
    change(members)
    path = folder / "m.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as written:
        for name, content in members.items():
            written.writestr(f"{root}/{name}", content)
    return path


def _edit(member: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        value = json.loads(members[member])
        edit(value)
        members[member] = json.dumps(value).encode()

    return change


def _refusal(folder: Path) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    return caught.value


def test_an_honest_program_passes(saved: bytes, tmp_path: Path) -> None:
    _rewritten(saved, tmp_path, lambda members: None)
    told = inspect_source(tmp_path)
    assert told.inputs[0].name == "input"
    assert isinstance(told.inputs[0].shape[0], str)
    assert told.parameters == 10


def _touch(witness: Path) -> str:
    return f"__import__('pathlib').Path({str(witness)!r}).touch()"


@pytest.mark.parametrize("route", ROUTES)
def test_a_program_that_runs_code_is_refused_before_it_is_loaded(
    saved: bytes, tmp_path: Path, route: str
) -> None:
    witness = tmp_path / "it ran"
    folder = tmp_path / "model"
    folder.mkdir()
    hostile = write_hostile(route, saved, folder / "m.pt2", _touch(witness))
    error = _refusal(folder)
    assert not witness.exists()
    assert error.reason is Reason.MODEL_UNSAFE
    assert error.metadata["member"] == ROUTES[route][1]
    assert ROUTES[route][1] in error.message
    assert len(error.message) < 400

    with suppress(Exception):
        # What the code leaves is often no program.
        torch.export.load(hostile).module()(torch.rand(2, 4))
    assert witness.exists()


@pytest.mark.parametrize("route", ["sample inputs", "guards"])
def test_what_is_left_out_is_never_run_even_where_it_is_not_found(
    saved: bytes, tmp_path: Path, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "is_safe_guard", lambda guard: True)
    monkeypatch.setattr(archive, "foreign_names", lambda pickled: set())
    witness = tmp_path / "it ran"
    folder = tmp_path / "model"
    folder.mkdir()
    write_hostile(route, saved, folder / "m.pt2", _touch(witness))
    program, _ = take_in(folder, "sha256:0", {"input": (2, 4)}, lambda fraction, words: None)
    program.exported.module()(torch.rand(2, 4))
    assert not witness.exists()


@pytest.mark.parametrize(
    "member",
    [
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/model.so",
        "models/other.json",
        "data/executorch/model.pte",
        "../escape",
    ],
)
def test_members_of_no_plain_program_are_unsafe(saved: bytes, tmp_path: Path, member: str) -> None:
    _rewritten(saved, tmp_path, lambda members: members.update({member: b"x"}))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNSAFE
    assert error.metadata["member"] == member


def test_values_in_another_member_are_unsafe(saved: bytes, tmp_path: Path) -> None:
    path = "../../models/model.json"
    _rewritten(
        saved, tmp_path,
        _edit(WEIGHTS, lambda w: w["config"]["bias"].update(path_name=path)),
    )  # fmt: skip
    assert _refusal(tmp_path).reason is Reason.MODEL_UNSAFE


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("torch.ops.aten.from_file.default", Reason.MODEL_UNSAFE),
        ("torch.ops.aten.save.default", Reason.MODEL_UNSAFE),
        ("torch.ops.aten.__init__.__getattribute__", Reason.OPERATOR_UNSUPPORTED),
        ("torch.ops.aten.__class__.mro", Reason.OPERATOR_UNSUPPORTED),
        ("torch.ops.aten.relu.__class__", Reason.OPERATOR_UNSUPPORTED),
        ("torch.ops.mylib.magic.default", Reason.OPERATOR_UNSUPPORTED),
        ("torch.load", Reason.OPERATOR_UNSUPPORTED),
        ("_operator.attrgetter", Reason.OPERATOR_UNSUPPORTED),
        ("torch.hub.load", Reason.OPERATOR_UNSUPPORTED),
        ("builtins.eval", Reason.OPERATOR_UNSUPPORTED),
        ("torch.ops.aten.relu.default.__class__", Reason.OPERATOR_UNSUPPORTED),
    ],
)
def test_operators_outside_torchs_own_are_refused(
    saved: bytes, tmp_path: Path, target: str, reason: Reason
) -> None:
    def plant(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["nodes"][-1]["target"] = target

    _rewritten(saved, tmp_path, _edit(MODEL, plant))
    assert _refusal(tmp_path).reason is reason


def test_a_foreign_type_in_the_structure_is_refused(saved: bytes, tmp_path: Path) -> None:
    def plant(model: dict[str, Any]) -> None:
        entry = model["graph_module"]["module_call_graph"][0]["signature"]
        entry["out_spec"] = entry["out_spec"].replace('"type": null', '"type": "os.system"')

    _rewritten(saved, tmp_path, _edit(MODEL, plant))
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "os.system" in error.message


@pytest.mark.parametrize("member", [MODEL, WEIGHTS, "data/weights/weight_0"])
def test_a_missing_member_is_unreadable(saved: bytes, tmp_path: Path, member: str) -> None:
    _rewritten(saved, tmp_path, lambda members: members.__delitem__(member) if member != MODEL
               else members.update({MODEL: b"{"}))  # fmt: skip
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_archive_is_unreadable(saved: bytes, tmp_path: Path, share: float) -> None:
    (tmp_path / "m.pt2").write_bytes(saved[: int(len(saved) * share)])
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_damaged_bytes_are_unreadable(saved: bytes, tmp_path: Path) -> None:
    place = saved.index(b'"graph_module"')
    (tmp_path / "m.pt2").write_bytes(saved[:place] + b"\0" * 40 + saved[place + 40 :])
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_compressed_members_are_refused(saved: bytes, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(io.BytesIO(saved)) as source,
        zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "compressed" in error.message


def test_members_that_lie_over_each_other_are_not_read(saved: bytes, tmp_path: Path) -> None:
    """Each entry of the table may name the same bytes: a short file, and much to read."""
    path = tmp_path / "m.pt2"
    path.write_bytes(saved)
    with zipfile.ZipFile(path, "a") as written:
        written.writestr("model/extra/large", bytes(1 << 20))
        large = written.getinfo("model/extra/large")
        for place in range(1000):
            again = copy.copy(large)
            again.filename = again.orig_filename = f"model/extra/{place}"
            written.filelist.append(again)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "larger than it is itself" in error.message


def test_no_more_extra_files_are_named_than_anybody_would_read(
    saved: bytes, tmp_path: Path
) -> None:
    names = {f"extra/{place:03}{'n' * 10_000}": b"" for place in range(100)}
    told = check_archive(_rewritten(saved, tmp_path, lambda members: members.update(names))).notes
    assert len(told) == 9
    assert told[-1] == "So were 92 more extra files."
    assert max(map(len, told)) < 200


def test_a_program_of_another_time_says_which_torch_wrote_it(saved: bytes, tmp_path: Path) -> None:
    def age(model: dict[str, Any]) -> None:
        model["schema_version"] = {"major": 99, "minor": 0}
        model["torch_version"] = "3.7.0"

    _rewritten(saved, tmp_path, _edit(MODEL, age))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "3.7.0" in error.message


def test_the_clean_archive_holds_no_samples_guards_or_traces(saved: bytes, tmp_path: Path) -> None:
    def plant(members: Members) -> None:
        members["extra/notes"] = b"mine"
        _edit(MODEL, lambda model: model.update(guards_code=["L['x'].size()[0] <= 8"]))(members)

    path = _rewritten(saved, tmp_path, plant)
    checked = check_archive(path)
    assert checked.notes == ("The extra file 'notes' was left out.",)
    with zipfile.ZipFile(checked.content) as clean:
        assert clean.read("model/data/sample_inputs/model.pt") == b""
        text = clean.read("model/models/model.json").decode()
    assert "stack_trace" not in text
    assert json.loads(text)["guards_code"] == []


def test_a_member_whose_name_is_no_text_is_unreadable(saved: bytes, tmp_path: Path) -> None:
    path = _rewritten(saved, tmp_path, lambda members: members.update({"extra/é": b""}))
    path.write_bytes(path.read_bytes().replace("extra/é".encode(), b"extra/\xff\xfe"))
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_half_a_character_in_the_json_is_unreadable(saved: bytes, tmp_path: Path) -> None:
    def plant(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["nodes"][0]["name"] = "\ud800"

    _rewritten(saved, tmp_path, _edit(MODEL, plant))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "half a character" in error.message


def test_a_tensor_far_larger_than_its_values_is_unreadable(saved: bytes, tmp_path: Path) -> None:
    """Strides of 0 are within any data; as a copy of its own it would fill the memory."""

    def plant(weights: dict[str, Any]) -> None:
        meta = weights["config"]["bias"]["tensor_meta"]
        meta.update(sizes=[{"as_int": 2**20}] * 2, strides=[{"as_int": 0}] * 2)

    _rewritten(saved, tmp_path, _edit(WEIGHTS, plant))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "larger than their values" in error.message


@pytest.mark.parametrize("axis", [6, -9, 2**40])
def test_a_rewrite_that_fails_is_no_fault_of_the_service(tmp_path: Path, axis: int) -> None:
    class InPlace(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = torch.zeros(2, 4)
            made[:, 1:] = x[:, :3]
            return torch.cat([made, x]).clamp_(0, 1).unsqueeze(0)

    honest = tmp_path / "honest.pt2"
    torch.export.save(torch.export.export(InPlace().eval(), (torch.rand(2, 4),)), honest)
    folder = tmp_path / "model"
    folder.mkdir()

    def plant(model: dict[str, Any]) -> None:
        [last] = (
            each for each in model["graph_module"]["graph"]["nodes"] if "unsqueeze" in each["name"]
        )
        last["inputs"][1]["arg"] = {"as_int": axis}

    _rewritten(honest.read_bytes(), folder, _edit(MODEL, plant))
    assert _refusal(folder).reason is Reason.MODEL_UNREADABLE


def test_a_program_that_computes_without_measure_is_refused(tmp_path: Path) -> None:
    class Grows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.expand(2**20, 4096, 4).sum((0, 1))

    torch.export.save(torch.export.export(Grows().eval(), (torch.rand(1, 4),)), tmp_path / "m.pt2")
    with pytest.raises(EdgeconvError) as caught:
        take_in(tmp_path, "sha256:0", {}, lambda fraction, words: None)
    assert caught.value.reason is Reason.OPERATOR_UNSUPPORTED
    assert "GiB" in caught.value.message


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("byteorder", b"big"), ("archive_format", b"zip"), ("archive_version", b"{}"),
        (".data/version", b"\0" * 64), ("archive_version", None), ("byteorder", None),
    ],
)  # fmt: skip
def test_a_member_that_tells_another_format_is_named(
    saved: bytes, tmp_path: Path, member: str, content: bytes | None
) -> None:
    def plant(members: Members) -> None:
        if content is None:
            del members[member]
        else:
            members[member] = content

    _rewritten(saved, tmp_path, plant)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert member in error.message


def test_a_header_whose_name_is_the_file_itself_is_told_shortly(
    saved: bytes, tmp_path: Path
) -> None:
    path = _rewritten(saved, tmp_path, lambda members: None)
    content = bytearray(path.read_bytes())
    content[26:28] = (2000).to_bytes(2, "little")
    path.write_bytes(content)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert len(error.message) < 300


@pytest.mark.parametrize("metadata", [7, "x", [["nn_module_stack"]], None])
def test_what_stands_in_the_place_of_a_nodes_metadata_is_left_out(
    saved: bytes, tmp_path: Path, metadata: object
) -> None:
    def plant(model: dict[str, Any]) -> None:
        for node in model["graph_module"]["graph"]["nodes"]:
            node["metadata"] = metadata

    _rewritten(saved, tmp_path, _edit(MODEL, plant))
    assert len(inspect_source(tmp_path).inputs) == 1


def test_an_operator_with_wrong_arguments_is_named_without_a_dump(
    saved: bytes, tmp_path: Path
) -> None:
    def plant(model: dict[str, Any]) -> None:
        node = next(
            each
            for each in model["graph_module"]["graph"]["nodes"]
            if each["target"] == "torch.ops.aten.linear.default"
        )
        node["inputs"][1]["arg"] = {"as_tensor": {"name": "nowhere"}}

    _rewritten(saved, tmp_path, _edit(MODEL, plant))
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "aten.linear" in error.message
    assert "NamedArgument" not in error.message
