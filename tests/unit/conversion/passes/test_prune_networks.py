"""Whole networks in miniature: proven, rounded, lowered, computing what a hand cut gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune import Prune
from edgeconv.conversion.passes.prune.graph import weight_tensor
from edgeconv.conversion.passes.prune.macs import count_macs, count_parameters
from edgeconv.conversion.passes.prune.masks import Kept
from edgeconv.conversion.passes.prune.plan import make_plan
from edgeconv.conversion.passes.prune.proof import BOUND, prove, seeded_runs
from edgeconv.conversion.passes.prune.rewrite import rewrite, with_weights
from edgeconv.conversion.program import Context, Program
from edgeconv.recipe.specs import OnnxOptions, PruneOptions, TfliteOptions
from edgeconv.results.effect import Effect
from edgeconv.testing.programs import NETWORKS, as_program, program, seeded

# Largest share of the multiplications that may be left at a ratio of 0.5.
MACS_LEFT = {
    "resnet": 0.30, "mobilenet": 0.40, "densenet": 0.35, "shufflenet": 0.55, "convnext": 0.65,
    "vit": 0.60, "bert": 0.55,
}  # fmt: skip
LOCKED_BY_LAYER_NORM = {"convnext", "vit", "bert"}


def prune(
    source: Program, folder: Path, ratio: float = 0.5, round_to: int = 8
) -> tuple[Program, Effect]:
    options = PruneOptions(ratio=ratio, recover="none", round_to=round_to)
    return Prune().apply(source, options, Context(folder, folder, 0, None, lambda f, w: None))


@pytest.mark.parametrize("name", NETWORKS)
def test_half_of_the_channels_of_a_network(name: str, tmp_path: Path) -> None:
    source = program(name)
    made, effect = prune(source, tmp_path)
    figures = effect.figures
    assert figures["proof_error"] <= BOUND
    assert figures["macs_after"] <= MACS_LEFT[name] * figures["macs_before"]
    assert figures["macs_after"] == count_macs(made.exported)
    assert figures["parameters_after"] == count_parameters(made.exported)
    assert figures["parameters_after"] < figures["parameters_before"]
    assert effect.changed == figures["channels_removed"]
    assert 0 < figures["groups_pruned"] <= figures["groups"]
    locked = [note for note in effect.notes if note.kind == "locked"]
    assert any("aten.layer_norm" in note.message for note in locked) == (
        name in LOCKED_BY_LAYER_NORM
    )
    assert bool(locked) == (name in LOCKED_BY_LAYER_NORM)


@pytest.mark.parametrize("name", ["resnet", "shufflenet", "bert"])
@pytest.mark.parametrize("round_to", [1, 16])
def test_other_roundings(name: str, round_to: int, tmp_path: Path) -> None:
    source = program(name)
    made, effect = prune(source, tmp_path, ratio=0.3, round_to=round_to)
    assert effect.figures["proof_error"] <= BOUND
    before = {**source.exported.state_dict}
    for key, tensor in made.exported.state_dict.items():
        if tensor.ndim == 4 and tensor.shape[0] != before[key].shape[0]:
            assert tensor.shape[0] % round_to == 0


def test_kept_channels_are_rounded_up_to_eight(tmp_path: Path) -> None:
    source = program("mobilenet")
    made, _ = prune(source, tmp_path, ratio=0.3)
    for key, tensor in made.exported.state_dict.items():
        old = source.exported.state_dict[key].shape
        if tensor.ndim == 4 and tensor.shape[0] != old[0]:
            assert tensor.shape[0] == -(-round(old[0] * 0.7 - 1e-9) // 8) * 8


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.second = nn.Conv2d(16, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.second(F.relu(self.first(x)))
        return made


def test_less_removed_than_asked_is_said_with_the_reason(tmp_path: Path) -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(8, 24), nn.Linear(24, 8)
            self.three = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.three(self.two(self.one(x).relu()).relu())

    source = as_program(Narrow(), [torch.randn(1, 8)])
    _, effect = prune(source, tmp_path, ratio=0.4)
    [short] = [note for note in effect.notes if note.subject == "ratio"]
    assert short.kind == "fallback"
    assert short.message == (
        "Asked to remove 40 %, removed 25 %: kept channels are rounded up to a multiple of 8,"
        " and 1 of 2 groups stays whole; `round_to: 1` in a recipe comes nearer."
    )
    _, near = prune(source, tmp_path, ratio=0.4, round_to=1)
    assert not [note for note in near.notes if note.subject == "ratio"]


def test_what_was_not_refitted_is_said(tmp_path: Path) -> None:
    _, effect = prune(program("resnet"), tmp_path)
    [said] = [note for note in effect.notes if note.subject == "recover"]
    assert said.kind == "fallback"
    assert "not refitted" in said.message
    assert "--data" in said.message


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_what_is_left_is_what_a_hand_would_cut(norm: str, tmp_path: Path) -> None:
    module = seeded(Chain)
    image = torch.randn(1, 3, 9, 9)
    options = PruneOptions(ratio=0.5, recover="none", importance=norm)  # type: ignore[arg-type]
    context = Context(tmp_path, tmp_path, 0, None, lambda f, w: None)
    made, _ = Prune().apply(as_program(module, (image,)), options, context)

    weights = {key: tensor.detach() for key, tensor in module.state_dict().items()}

    def size(rows: torch.Tensor) -> torch.Tensor:
        sizes = rows.abs().mean(1) if norm == "l1" else rows.square().mean(1).sqrt()
        return sizes / sizes.mean()

    rows, columns = weights["first.weight"].flatten(1), weights["second.weight"].transpose(0, 1)
    best = (size(rows) + size(columns.flatten(1))).argsort(descending=True)[:8].sort().values
    with torch.no_grad():
        hidden = F.relu(F.conv2d(image, weights["first.weight"][best], weights["first.bias"][best]))
        want = F.conv2d(hidden, weights["second.weight"][:, best], weights["second.bias"])
        got = made.exported.module(check_guards=False)(image)[0]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_multiplications_are_counted_as_on_paper() -> None:
    exported = as_program(seeded(Chain), (torch.randn(1, 3, 9, 9),)).exported
    assert count_macs(exported) == 7 * 7 * 16 * 27 + 5 * 5 * 6 * 144
    assert count_parameters(exported) == 16 * 27 + 16 + 6 * 144 + 6


def planted(name: str) -> tuple[Program, Kept]:
    source = program(name)
    plan = make_plan(source, PruneOptions(ratio=0.5, recover="none"))
    return source, Kept(plan.walk, plan.all_dropped)


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_the_proof_sees_a_weight_that_is_slightly_off(name: str) -> None:
    source, kept = planted(name)
    runs = seeded_runs(source.exported, source.signature, None, seed=0)
    pruned = rewrite(source.exported, kept)
    assert prove(source.exported, pruned, kept, runs) <= BOUND
    key = max(kept.weights(), key=lambda each: kept.weights()[each].numel())
    off = weight_tensor(pruned, key).detach().clone()
    off *= 1.01
    assert prove(source.exported, with_weights(pruned, {key: off}), kept, runs) > BOUND


def test_the_proof_sees_the_wrong_channels_removed() -> None:
    source, kept = planted("mobilenet")
    pruned = rewrite(source.exported, kept)
    key, left = next((k, t) for k, t in kept.weights().items() if t.ndim == 4)
    swapped = with_weights(pruned, {key: left.flip(0).contiguous()})
    runs = seeded_runs(source.exported, source.signature, None, seed=0)
    assert prove(source.exported, swapped, kept, runs) > BOUND


def test_a_rule_that_lies_fails_the_proof_and_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A normalisation over channels, taken for one that is pointwise."""
    from edgeconv.conversion.passes.prune.rules import RULES
    from edgeconv.conversion.passes.prune.rules.pointwise import passes_on

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3)
            self.second = nn.Conv2d(16, 16, 3)
            self.last = nn.Conv2d(16, 6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.last(self.second(self.first(x).softmax(1)))
            return made

    monkeypatch.setitem(RULES, "aten.softmax", passes_on)
    with pytest.raises(EdgeconvError) as caught:
        prune(as_program(seeded(Normed), (torch.randn(1, 3, 9, 9),)), tmp_path)
    assert caught.value.reason is Reason.INTERNAL
    assert caught.value.metadata["groups"] == "net.first"


def test_what_is_not_finite_proves_nothing() -> None:
    source, kept = planted("resnet")
    runs = [[torch.full((1, 3, 32, 32), float("nan"))]]
    assert prove(source.exported, rewrite(source.exported, kept), kept, runs) == float("inf")


@pytest.mark.parametrize(("saturated", "flagged"), [(True, 1), (False, 0)])
def test_an_output_that_does_not_vary_weakens_the_proof_and_is_flagged(
    saturated: bool, flagged: int, tmp_path: Path
) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3)
            self.second = nn.Conv2d(16, 6, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            made = self.second(self.first(x))
            return made, (made + (1000 if saturated else 0)).sigmoid()

    source = as_program(seeded(Two), (torch.randn(1, 3, 9, 9),))
    _, effect = prune(source, tmp_path)
    found = [note for note in effect.notes if note.kind == "flagged"]
    assert len(found) == flagged
    assert [note.subject for note in found] == [source.signature.outputs[1].name] * flagged


def test_pruned_twice_is_proven_twice(tmp_path: Path) -> None:
    once, _ = prune(program("resnet"), tmp_path, ratio=0.4)
    folder = tmp_path / "once"
    folder.mkdir()
    once.save(folder)
    twice, effect = prune(Program.load(folder), tmp_path, ratio=0.4)
    assert effect.figures["proof_error"] <= BOUND
    assert effect.figures["macs_before"] == count_macs(once.exported)
    assert len(twice.lineage.steps) == 2


def pruned_with_output(name: str, folder: Path) -> tuple[Program, torch.Tensor, np.ndarray]:
    made, _ = prune(program(name), folder)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return made, image, made.exported.module(check_guards=False)(image)[0].numpy()


def lowering_context(folder: Path) -> Context:
    made, scratch = folder / "made", folder / "scratch"
    made.mkdir()
    scratch.mkdir()
    return Context(made, scratch, 0, None, lambda f, w: None)


@pytest.mark.parametrize("name", ["densenet", "vit"])
def test_a_pruned_program_lowers_to_onnx(name: str, tmp_path: Path) -> None:
    from onnxruntime import InferenceSession

    from edgeconv.conversion.lowerings.onnx import OnnxLowering

    made, image, want = pruned_with_output(name, tmp_path)
    onnx, _ = OnnxLowering().apply(made, OnnxOptions(), lowering_context(tmp_path))
    session = InferenceSession(str(onnx.path), providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_a_pruned_program_lowers_to_tflite(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from edgeconv.conversion.lowerings.tflite import TfliteLowering

    made, image, want = pruned_with_output("mobilenet", tmp_path)
    tflite, _ = TfliteLowering().apply(made, TfliteOptions(), lowering_context(tmp_path))
    runner = Interpreter(model_path=str(tflite.path)).get_signature_runner()
    name_in = next(iter(runner.get_input_details()))
    (got,) = runner(**{name_in: image.numpy()}).values()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
