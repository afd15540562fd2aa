"""Recipes as users write them, right and wrong."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.named import recipe_from_flags
from edgeconv.recipe.schema import MAX_RECIPE_BYTES, parse_recipe, with_pass_defaults
from edgeconv.recipe.specs import PruneOptions

WHOLE = """
version: 1
targets: [onnx, tflite]
data: {calibration: digits-train, evaluation: digits-test}
variants:
  fp32: {}
  int8: {precision: int8, calibration: {method: percentile, percentile: 99.9}}
  prune20-int8:
    passes: [{prune: {ratio: 0.2, importance: l1, recover: least-squares}}]
    precision: int8
    max_drop: 1%
"""


def violations(text: str) -> dict[str, str]:
    with pytest.raises(EdgeconvError) as refused:
        parse_recipe(text)
    assert refused.value.reason is Reason.RECIPE_INVALID
    return {violation.field: violation.message for violation in refused.value.violations}


def test_a_whole_recipe_is_read() -> None:
    recipe = parse_recipe(WHOLE)
    assert recipe.data.evaluation == "digits-test"
    assert recipe.variants["int8"].calibration.percentile == 99.9
    pruned = recipe.variants["prune20-int8"]
    assert pruned.max_drop == pytest.approx(0.01)
    assert pruned.passes[0].parsed() == PruneOptions(ratio=0.2)


def test_a_pass_without_options_may_stand_as_its_name_if_it_needs_none() -> None:
    found = violations("variants: {a: {passes: [prune]}}")
    assert found["variants.a.passes.0.ratio"] == "it is needed"


@pytest.mark.parametrize(
    ("text", "field", "suggestion"),
    [
        ("variant: {a: {}}", "variant", "did you mean 'variants'?"),
        ("variants: {a: {precison: int8}}", "variants.a.precison", "did you mean 'precision'?"),
        ("variants: {a: {}}\ndata: {calibraton: x}", "data.calibraton", "'calibration'"),
        (
            "variants: {a: {calibration: {methd: minmax}}}",
            "variants.a.calibration.methd",
            "did you mean 'method'?",
        ),
        ("variants: {a: {passes: [{prun: {}}]}}", "variants.a.passes.0", "'prune'"),
        (
            "variants: {a: {passes: [{prune: {ratio: 0.2, importnce: l1}}]}}",
            "variants.a.passes.0.importnce",
            "did you mean 'importance'?",
        ),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(
    text: str, field: str, suggestion: str
) -> None:
    assert suggestion in violations(text)[field]


@pytest.mark.parametrize(
    ("text", "end"),
    [("variant: {a: {}}", "'variants'?"), ("variants: {a: {precision: int7}}", ".")],
)
def test_the_message_has_one_mark_at_its_end(text: str, end: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        parse_recipe(text)
    assert caught.value.message.endswith(end)
    assert not caught.value.message.endswith("?.")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("variants: {a: {precision: int7}}", "variants.a.precision"),
        ("variants: {a: {max_drop: 150%}}", "variants.a.max_drop"),
        ("variants: {}", "variants"),
        ("version: 2\nvariants: {a: {}}", "version"),
        ("targets: []\nvariants: {a: {}}", "targets"),
        ("seed: -1\nvariants: {a: {}}", "seed"),
        ("variants: {a: {passes: [{prune: {ratio: 1.5}}]}}", "variants.a.passes.0.ratio"),
        ("- a list", "recipe"),
        ("a: [unclosed", "recipe"),
    ],
)
def test_a_bad_value_names_its_field(text: str, field: str) -> None:
    assert field in violations(text)


def test_a_variant_name_that_could_leave_its_folder_is_refused() -> None:
    assert list(violations('variants: {"A b/../c": {}}')) == ["variants.A b/../c"]


def test_aliases_that_could_unfold_without_end_are_refused() -> None:
    assert "aliases" in violations("a: &a [x]\nvariants: {b: *a}")["recipe"]


def test_a_recipe_that_is_too_large_is_refused_before_it_is_read() -> None:
    assert "larger" in violations("#" * (MAX_RECIPE_BYTES + 1))["recipe"]


def test_deep_nesting_is_an_answer_not_a_crash() -> None:
    assert violations("[" * 20_000)


def test_flags_without_data_leave_out_static_int8() -> None:
    recipe = recipe_from_flags()
    assert list(recipe.variants) == ["fp32", "fp16", "int8-weights"]


def test_flags_with_pruning_keep_the_unpruned_variants_beside_it() -> None:
    recipe = recipe_from_flags(precisions=["fp32", "int8"], prune_ratio=0.25, data="d")
    assert list(recipe.variants) == ["fp32", "int8", "prune25-fp32", "prune25-int8"]
    assert recipe.variants["prune25-int8"].passes[0].parsed() == PruneOptions(ratio=0.25)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (
            "variants: {a: {}}\nseed: 1\nvariants: {b: {}}\n",
            "variants",
            "line 1 and again in line 3",
        ),
        (
            "variants:\n  a: {}\n  a: {precision: fp16}\n",
            "variants.a",
            "line 2 and again in line 3",
        ),
        (
            "variants: {a: {passes: [{prune: {ratio: 0.1, ratio: 0.2}}]}}",
            "variants.a.passes.0.prune.ratio",
            "line 1 and again in line 1",
        ),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(
    text: str, field: str, words: str
) -> None:
    assert words in violations(text)[field]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("variants: {}", "it needs at least 1 and has 0"),
        ("seed: 1", "it is needed"),
        ("variants: {a: {precision: int7}}", "'int8-weights', not 'int7'"),
        ("variants: {a: {max_drop: 1.5}}", "not 1.5; 1.5 percent is written 1.5%"),
        ("variants: {a: {max_drop: 2}}", "from 0 to 1, such as 0.02, or a percentage, such as 2%"),
        ("variants: {a: {max_drop: 2 percent}}", "a percentage, such as 2%, not '2 percent'"),
        ("variants: {a: {max_drop: nan%}}", "not 'nan%'"),
        ("variants: {a: {max_drop: -1%}}", "not '-1%'"),
        ("variants: {a: {max_drop: true}}", "not True"),
        ("variants: {a: {max_drop: .nan}}", "not nan"),
        ("variants: {a: {passes: [{name: prune, ratio: 0.5}]}}", "write `prune: {ratio: 0.5}`"),
        ("variants: {a: {passes: [{prune: , ratio: 0.5}]}}", "write `prune: {ratio: 0.5}`"),
        (
            "variants: {a: {passes: [{prune: {ratio: 0.5}, other: {}}]}}",
            "one entry of the list is one pass, such as `prune: {ratio: 0.5}`, not 2 keys",
        ),
        ("variants: {a: {passes: [{}]}}", "one entry of the list is one pass"),
        ("variants: {a: {passes: [{prune: 3}]}}", "a mapping, not 3"),
        ("variants: {a: {passes: [{prune: {ratio: 0}}]}}", "it must be above 0, not 0"),
        ("variants: {a: {min_snr_db: many}}", "it must be a number, not 'many'"),
        ("variants: {a: {min_snr_db: .inf}}", "it must be a finite number, not inf"),
        ("variants: {a: 3}", "it must be a mapping, not 3"),
        ("variants: 3", "it must be a mapping, not 3"),
        ("variants: {A: {}}", "lower-case letters"),
        ("targets: onnx\nvariants: {a: {}}", "it must be a list, not 'onnx'"),
        ("variants: {a: {targets: [onnx, onnx]}}", "a target is named twice"),
        ("data: {calibration: 3}\nvariants: {a: {}}", "it must be text, not 3"),
    ],
)
def test_problems_are_told_in_the_words_of_recipes(text: str, words: str) -> None:
    [message] = violations(text).values()
    assert words in message
    assert "Input" not in message
    assert "valid" not in message


def test_the_defaults_of_passes_can_be_filled_in() -> None:
    recipe = parse_recipe("variants: {a: {passes: [{prune: {ratio: 0.2}}]}}")
    [use] = with_pass_defaults(recipe).variants["a"].passes
    assert use.options == PruneOptions(ratio=0.2).model_dump()
    assert use.parsed() == recipe.variants["a"].passes[0].parsed()
