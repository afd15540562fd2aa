"""What the flags of `convert` ask for."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.convert_request import ConvertFlags, parse_shapes, recipe_yaml, request_of
from edgeconv.recipe.named import recipe_from_flags
from edgeconv.recipe.schema import Precision, parse_recipe


def test_no_flags_are_the_default_recipe() -> None:
    request = request_of(ConvertFlags())
    recipe = parse_recipe(request.recipe)
    assert list(recipe.variants) == ["fp32", "fp16", "int8-weights"]
    assert recipe.targets == ("onnx", "tflite")
    assert (request.files, request.datasets) == ({}, {})


def test_flags_make_a_recipe_that_a_person_could_have_written(tmp_path: Path) -> None:
    data = tmp_path / "samples.npz"
    data.touch()
    request = request_of(ConvertFlags(None, "tflite", "fp32, int8", 0.25, data))
    written = yaml.safe_load(request.recipe)
    assert written["targets"] == ["tflite"]
    assert written["variants"]["prune25-int8"] == {
        "passes": [{"prune": {"ratio": 0.25, "recover": "least-squares"}}],
        "precision": "int8",
    }
    assert request.files == {"calibration": data, "evaluation": data}


@given(
    st.lists(st.sampled_from(["fp32", "fp16", "int8", "int8-dynamic", "int8-weights"]),
             min_size=1, unique=True),
    st.one_of(st.none(), st.sampled_from([0.1, 0.333, 0.5])),
    st.booleans(),
)  # fmt: skip
def test_a_recipe_comes_back_from_its_yaml(
    precisions: list[Precision], ratio: float | None, with_data: bool
) -> None:
    recipe = recipe_from_flags(
        precisions=precisions, prune_ratio=ratio, data="a.npz" if with_data else None
    )
    assert parse_recipe(recipe_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (ConvertFlags(targets="onnx,coreml"), "'coreml'"),
        (ConvertFlags(precisions="int7"), "use fp32, fp16"),
        (ConvertFlags(targets=","), "names nothing"),
        (ConvertFlags(prune=1.0), "between 0 and 1"),
        (ConvertFlags(prune=-0.1), "between 0 and 1"),
    ],
)
def test_a_bad_word_is_a_fault_of_usage(flags: ConvertFlags, words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        request_of(flags)


def _recipe(folder: Path, data: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(f"version: 1\ndata: {data}\nvariants: {{fp32: {{}}}}\n")
    return path


def test_files_of_a_recipe_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "train.npz").touch()
    path = _recipe(tmp_path, "{calibration: train.npz, evaluation: digits-test}")
    request = request_of(ConvertFlags(recipe=path))
    assert request.files == {"calibration": tmp_path / "train.npz"}
    assert request.datasets == {"evaluation": "datasets/digits-test"}
    assert request.recipe == path.read_text()


def test_data_by_flag_stands_in_for_the_recipes(tmp_path: Path) -> None:
    path, data = _recipe(tmp_path, "{calibration: gone.npz}"), tmp_path / "mine.npz"
    request = request_of(ConvertFlags(recipe=path, data=data))
    assert request.files == {"calibration": data, "evaluation": data}


@pytest.mark.parametrize("value", ["gone.npz", "No Such Name", "a/b"])
def test_data_that_is_neither_file_nor_name_is_refused(tmp_path: Path, value: str) -> None:
    path = _recipe(tmp_path, f"{{evaluation: {value}}}")
    with pytest.raises(EdgeconvError) as caught:
        request_of(ConvertFlags(recipe=path))
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.violations[0].field == "data.evaluation"


@pytest.mark.parametrize(
    "flags", [{"targets": "onnx"}, {"precisions": "fp16"}, {"prune": 0.5}], ids=str
)
def test_a_recipe_excludes_the_flags_it_stands_for(
    tmp_path: Path, flags: dict[str, object]
) -> None:
    path = _recipe(tmp_path, "{}")
    with pytest.raises(click.UsageError, match="exclude each other"):
        request_of(ConvertFlags(recipe=path, **flags))  # type: ignore[arg-type]


def test_a_bad_recipe_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("version: 1\nvariants: {a: {precison: fp16}}\n")
    with pytest.raises(EdgeconvError, match="did you mean 'precision'"):
        request_of(ConvertFlags(recipe=path))


def test_shapes() -> None:
    assert parse_shapes(["x=1,3, 224,224", "in=put:0=7"]) == {
        "x": "1,3,224,224", "in=put:0": "7",
    }  # fmt: skip
    for bad in (["x"], ["=1,2"], ["x=1,a"], ["x=1,,2"], ["x=0,2"], ["x=-1"], ["x=1", "x=2"]):
        with pytest.raises(click.UsageError):
            parse_shapes(bad)
