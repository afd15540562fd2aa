"""Structures and names in a saved program: only what torch's exporter writes comes to torch."""

from __future__ import annotations

import collections
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils import _pytree

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.pt2.archive import check_archive
from edgeconv.conversion.intake.pt2.loading import load_program
from edgeconv.conversion.intake.pt2.names import check_names
from edgeconv.conversion.intake.pt2.trees import inputs_written_anew, outputs_written_anew

_MODEL = "models/model.json"


class _Takes(nn.Module):
    def forward(self, pair: tuple[Any, Any], named: dict[str, Any], *, last: Any) -> Any:
        total = pair[0] + pair[1] + named["a-b"] + named["__enum__ of 'x'"] + last
        return collections.OrderedDict(sum=total, parts=[total, {"é": total * 2}])


@pytest.fixture(scope="module")
def saved() -> bytes:
    one = torch.rand(2)
    arguments = (one, one), {"a-b": one, "__enum__ of 'x'": one}
    exported = torch.export.export(_Takes(), arguments, {"last": one})
    held = io.BytesIO()
    torch.export.save(exported, held)
    return held.getvalue()


def _change(saved: bytes, path: Path, key: str, old: str, new: str) -> Path:
    """The program with `old` replaced in the texts of `key`; once at least."""
    with (
        zipfile.ZipFile(io.BytesIO(saved)) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(_MODEL):
                model = json.loads(content)
                signature = model["graph_module"]["module_call_graph"][0]["signature"]
                assert old in signature[key]
                signature[key] = signature[key].replace(old, new)
                content = json.dumps(model).encode()
            target.writestr(name, content)
    return path


def test_a_program_of_many_structures_is_read_as_torch_wrote_it(
    saved: bytes, tmp_path: Path
) -> None:
    (tmp_path / "m.pt2").write_bytes(saved)
    loaded = load_program(tmp_path / "m.pt2")
    known = torch.export.load(io.BytesIO(saved))
    assert loaded.exported.call_spec == known.call_spec
    assert len(loaded.inputs) == 5


ENUM = '{"__enum__": true, "fqn": "side_effect:table", "name": "x"}'


@pytest.mark.parametrize(
    "context",
    [
        f"[{ENUM}]",
        f"[{ENUM.replace('__enum__', chr(92) + 'u005f_enum__')}]",
        f"[{ENUM.replace('__enum__', chr(92) + 'u005F_en' + chr(92) + 'u0075m__')}]",
        f'[{{"a": {ENUM}}}]',
        f"[[{ENUM}]]",
        f'["last", {ENUM}]',
        f"[{ENUM.replace(chr(125), ', ' + chr(34) + 'fqn' + chr(34) + ': 1' + chr(125))}]",
        ENUM,
        '"last"',
        "[NaN]",
        "[null]",
        '["last", "last"]',
        "[" * 300 + "]" * 300,
        "[" * 100_000,
        "null",
        "",
    ],
)
def test_a_context_that_torch_would_not_write_is_refused_before_torch_parses_it(
    saved: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str
) -> None:
    """By torch's own hook a structure imports any module, and looks a name up in it."""
    witness = tmp_path / "it ran"
    module = f"import pathlib; pathlib.Path({str(witness)!r}).touch(); table = {{'x': 'last'}}"
    (tmp_path / "side_effect.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "side_effect", raising=False)
    written = json.dumps(json.dumps(["last"])), json.dumps(context)
    path = _change(saved, tmp_path / "m.pt2", "in_spec", *written)
    with pytest.raises(EdgeconvError) as caught:
        load_program(path)
    assert caught.value.reason is Reason.MODEL_UNSAFE
    assert caught.value.metadata["member"] == _MODEL
    assert len(str(caught.value)) < 400
    assert not witness.exists()


def test_the_hook_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check keeps from torch does run code, in the escaped form, too."""
    (tmp_path / "side_effect_2.py").write_text("table = {'x': 'came from there'}")
    monkeypatch.syspath_prepend(tmp_path)
    escaped = ENUM.replace("side_effect", "side_effect_2").replace("__enum__", "\\u005f_enum__")
    leaf = {"type": None, "context": None, "children_spec": []}
    tree = {"type": "builtins.dict", "context": f"[{escaped}]", "children_spec": [leaf]}
    assert _pytree.treespec_loads(json.dumps([1, tree])).context == ["came from there"]


def test_a_keyword_inputs_name_that_is_none_is_refused(saved: bytes, tmp_path: Path) -> None:
    """torch writes it between quotes of the program's Python source."""
    name = "last':print(1),'a"
    written = json.dumps(json.dumps(["last"])), json.dumps(json.dumps([name]))
    path = _change(saved, tmp_path / "m.pt2", "in_spec", *written)
    with pytest.raises(EdgeconvError) as caught:
        check_archive(path)
    assert caught.value.metadata["place"] == name


_KEYS = st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
_TREES = st.recursive(
    st.just(0),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
        st.dictionaries(_KEYS, inner, max_size=3).map(collections.OrderedDict),
    ),
    max_leaves=20,
)


@given(_TREES)
def test_what_torch_writes_comes_back_as_it_was(tree: Any) -> None:
    written = _pytree.treespec_dumps(_pytree.tree_structure(tree))
    assert json.loads(outputs_written_anew(written)) == json.loads(written)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from((ENUM, "null", "[]")),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({
        "type": st.sampled_from((None, "builtins.dict", "builtins.tuple", "collections.deque", [])),
        "context": st.sampled_from((None, "null", "[]", '["a"]', f"[{ENUM}]", 3)),
        "children_spec": st.lists(inner, max_size=3),
    }),
))  # fmt: skip
def test_other_structures_are_refused_with_words(value: Any) -> None:
    for rewrite in (inputs_written_anew, outputs_written_anew):
        try:
            anew = rewrite(json.dumps([1, value]))
        except EdgeconvError:
            continue
        assert "enum" not in anew
        assert rewrite(anew) == anew


@pytest.mark.parametrize(
    "place",
    [
        {"as_tensor": {"name": "x=print(1)"}},
        {"name": "x\n y"},
        {"as_name": "s1;print(1)"},
        {"tensor_values": {"a)": {}}},
        {"sym_int_values": {"a.b": {}}},
        {"as_string_to_argument": {"a=1,b": {}}},
        {"forward_arg_names": ["x", "y=print(1)"]},
        {"as_graph": {"name": 'g"', "graph": {}}},
        {"parameter_name": 'weight", print(1), "'},
        {"buffer_name": "a.__class__.forward"},
        {"config": {'weight"': {}}},
        {"any_other_field": "a\\"},
        {"tensor_values": {"metadata": {"as_name": "a b"}}},
        {"target": {"name": "a b"}},
    ],
)
def test_a_name_that_is_more_than_a_name_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(EdgeconvError) as caught:
        check_names({"graph": [place]}, "models/model.json")
    assert caught.value.reason is Reason.MODEL_UNSAFE


@pytest.mark.parametrize(
    "place",
    [
        {"name": ""}, {"name": None}, {"name": "größe_1"}, {"parameter_name": "layers.0.my-w 2"},
        {"as_string": "ij,jk->'ik'"}, {"metadata": {"nn_module_stack": "L['self'],a.b,C;\"x\""}},
        {"tensor_values": {"name": {"as_int": 1}}}, {"fqn": ""}, {"as_strings": ["a'b", "="]},
    ],
)  # fmt: skip
def test_names_of_the_exporter_pass(place: dict[str, Any]) -> None:
    check_names({"graph": [place]}, "models/model.json")


def test_a_model_may_take_a_tensor_called_like_a_field(tmp_path: Path) -> None:
    class Named(nn.Module):
        def forward(self, inputs: Any, target: Any, name: Any, metadata: Any) -> Any:
            return inputs + target + name + metadata

    one = torch.rand(2)
    torch.export.save(torch.export.export(Named(), (one,) * 4), tmp_path / "m.pt2")
    names = [each.name for each in load_program(tmp_path / "m.pt2").inputs]
    assert names == ["inputs", "target", "name", "metadata"]
