"""Getting accuracy back without labels: the fit itself, and a network that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune import Prune, recovery
from edgeconv.conversion.passes.prune.activity import measure_activity
from edgeconv.conversion.passes.prune.graph import weight_tensor
from edgeconv.conversion.passes.prune.layer import find_layers
from edgeconv.conversion.passes.prune.least_squares import Sums, refit
from edgeconv.conversion.program import Context, Program
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.recipe.specs import PruneOptions
from edgeconv.results.effect import Effect
from edgeconv.testing.programs import as_program, program, seeded

# Accuracy on 500 held-out digits that half of the channels may cost, as a share.
MOST_LOST = 0.02


def sums_of(x: Tensor, y: Tensor) -> Sums:
    sums = Sums(x.shape[0], x.shape[2], y.shape[2])
    for start in range(0, x.shape[1], 50):
        sums.add(x[:, start : start + 50], y[:, start : start + 50])
    return sums


def problem(groups: int, noise: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, 400, 7, generator=generator) + 2
    truth = torch.randn(groups, 3, 7, generator=generator)
    offset = torch.randn(groups, 3, generator=generator)
    y = x @ truth.transpose(1, 2) + offset.unsqueeze(1)
    return x, y + noise * torch.randn(y.shape, generator=generator), truth, offset


@pytest.mark.parametrize("groups", [1, 5])
def test_the_fit_finds_the_weights_that_made_the_data(groups: int) -> None:
    x, y, truth, offset = problem(groups, 0.01, seed=1)
    start = torch.zeros(groups, 3, 7, dtype=torch.float64)
    free = torch.zeros(groups, 3, dtype=torch.float64)
    fit = refit(sums_of(x[:, :300], y[:, :300]), sums_of(x[:, 300:], y[:, 300:]), start, free,
                "fitted")  # fmt: skip
    assert fit is not None
    torch.testing.assert_close(fit.matrix.float(), truth, rtol=0.02, atol=0.02)
    torch.testing.assert_close(fit.offset.float(), offset, rtol=0.05, atol=0.05)
    assert fit.error_after < 1e-3 < fit.error_before


def test_the_fit_agrees_with_numpy() -> None:
    x, y, _, _ = problem(1, 0.5, seed=2)
    sums, nothing = sums_of(x, y), torch.zeros(1, 3, 7, dtype=torch.float64)
    fit = refit(sums, sums, nothing, torch.zeros(1, 3, dtype=torch.float64), "none")
    assert fit is not None
    want = np.linalg.lstsq(x[0].double().numpy(), y[0].double().numpy(), rcond=None)[0].T
    np.testing.assert_allclose(fit.matrix[0].numpy(), want, rtol=1e-2, atol=1e-2)
    assert not fit.offset.any()


def test_the_error_is_the_share_of_the_variance_left() -> None:
    x, y, truth, offset = problem(2, 0.3, seed=3)
    matrix, shift = truth.double() * 0.9, offset.double()
    got = sums_of(x, y).error(matrix, shift)
    wrong = (y.double() - x.double() @ matrix.transpose(1, 2) - shift.unsqueeze(1)).square().sum(1)
    spread = (y - y.mean(1, keepdim=True)).double().square().sum(1)
    assert got == pytest.approx(float((wrong / spread).clamp_max(4).mean()), rel=1e-6)


def test_weights_that_fit_better_on_samples_held_out_are_left_alone() -> None:
    x, y, truth, offset = problem(1, 0.1, seed=4)
    misleading = sums_of(x, torch.randn(y.shape, generator=torch.Generator().manual_seed(9)))
    assert refit(misleading, sums_of(x, y), truth.double(), offset.double(), "fitted") is None


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(6, 8, 3, 2, 1), (2, 6, 9, 7)),
    "dilated": (nn.Conv2d(6, 8, (3, 2), 1, (2, 0), (2, 1)), (1, 6, 9, 7)),
    "grouped": (nn.Conv2d(6, 8, 3, 1, 1, groups=2), (1, 6, 9, 7)),
    "depthwise": (nn.Conv2d(6, 12, 3, 1, 1, groups=6), (1, 6, 9, 7)),
    "one axis": (nn.Conv1d(6, 8, 3, 2, 1), (2, 6, 11)),
    "linear": (nn.Linear(6, 8), (2, 5, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_patches_times_matrix_is_the_layer(name: str) -> None:
    module, shape = LAYERS[name]
    x = torch.randn(shape)
    exported = as_program(module, (x,)).exported
    (layer,) = find_layers(exported).values()
    weights = {key: weight_tensor(exported, key).detach() for key in exported.state_dict}
    assert layer.can_refit
    assert layer.bias is not None
    with torch.no_grad():
        want = layer.results(module(x))
    matrix = layer.matrix(weights)
    got = layer.patches(x) @ matrix.transpose(1, 2)
    bias = weights[layer.bias].reshape(layer.groups, 1, -1)
    torch.testing.assert_close(got + bias, want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.weight_of(matrix, weights), weights[layer.weight])


class Turned(nn.Module):
    """Weights used by matmul, as they lie and transposed; one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.lies = nn.Parameter(torch.randn(6, 8))
        self.turned = nn.Parameter(torch.randn(5, 8))
        self.twice = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.twice(self.twice((x @ self.lies) @ self.turned.t()))
        return made


def test_weights_of_products_are_found_and_shared_ones_left_out() -> None:
    module, x = seeded(Turned), torch.randn(3, 6)
    exported = as_program(module, (x,)).exported
    layers = list(find_layers(exported).values())
    assert [layer.weight for layer in layers] == ["net.lies", "net.turned"]
    weights = {key: weight_tensor(exported, key).detach() for key in exported.state_dict}
    torch.testing.assert_close(layers[0].matrix(weights)[0], weights["net.lies"].t())
    torch.testing.assert_close(layers[1].matrix(weights)[0], weights["net.turned"])


def test_activity_is_measured_where_a_layer_takes_its_channels() -> None:
    module, x = LAYERS["convolution"]
    exported = as_program(module, (torch.zeros(x),)).exported
    runs = [[torch.randn(x) * torch.arange(6.0).view(-1, 1, 1) + 3] for _ in range(40)]
    (measured,) = measure_activity(exported, runs, "l2").values()
    np.testing.assert_allclose(measured, np.arange(6), rtol=0.1, atol=0.01)


class Digits:
    """scikit-learn's digits, a network trained on them, and its accuracy."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(images))
        self.images = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        self.labels = labels[order]
        self.program = as_program(self._train(), (torch.zeros(1, 1, 8, 8),), names=["image"])

    @property
    def calibration(self) -> Samples:
        return Samples({"image": self.images[:160, None]}, None, "dataset")

    def accuracy(self, made: Program) -> float:
        module = made.exported.module(check_guards=False)
        with torch.no_grad():
            guesses = [int(module(torch.from_numpy(image[None]))[0].argmax())
                       for image in self.images[-500:]]  # fmt: skip
        return float(np.mean(np.array(guesses) == self.labels[-500:]))

    def _train(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(
                nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
                nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
            )  # fmt: skip
            steps = torch.optim.AdamW(net.parameters(), lr=3e-3)
            images, labels = torch.from_numpy(self.images[:1200]), torch.from_numpy(self.labels)
            for _ in range(8):
                for some in torch.randperm(1200).split(48):
                    steps.zero_grad()
                    loss = F.cross_entropy(net(images[some]), labels[some])
                    torch.autograd.backward(loss)
                    steps.step()
        return net.eval()


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def prune(
    source: Program, folder: Path, calibration: Samples | None, recover: str, ratio: float = 0.5
) -> tuple[Program, Effect]:
    options = PruneOptions.model_validate({"ratio": ratio, "recover": recover})
    context = Context(folder, folder, 0, calibration, lambda f, w: None)
    return Prune().apply(source, options, context)


def test_digits_keep_their_accuracy_at_half_of_the_channels(digits: Digits, tmp_path: Path) -> None:
    whole = digits.accuracy(digits.program)
    assert whole > 0.96
    plain, _ = prune(digits.program, tmp_path, None, "none")
    matched, effect_matched = prune(digits.program, tmp_path, digits.calibration, "batchnorm")
    fitted, effect_fitted = prune(digits.program, tmp_path, digits.calibration, "least-squares")
    accuracies = [digits.accuracy(each) for each in (plain, matched, fitted)]
    # Without recovery it is lost, so that the rest proves something.
    assert accuracies[0] < whole - MOST_LOST
    assert accuracies[2] >= whole - MOST_LOST
    assert accuracies[1] > accuracies[0]
    assert effect_matched.figures["layers_refitted"] == 0
    assert effect_matched.figures["statistics_matched"] > 0
    assert effect_fitted.figures["layers_refitted"] > 0
    for effect in (effect_matched, effect_fitted):
        figures = effect.figures
        assert figures["snr_after_recovery_db"] > figures["snr_before_recovery_db"] + 3
    better = effect_fitted.figures["snr_after_recovery_db"]
    assert better > effect_matched.figures["snr_after_recovery_db"] + 3


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "densenet", "vit", "bert"])
def test_the_refit_brings_outputs_nearer_on_samples_it_never_saw(name: str, tmp_path: Path) -> None:
    source = program(name)
    samples = synthesize(source.signature.inputs, count=64, seed=1)
    plain, _ = prune(source, tmp_path, samples, "none", ratio=0.3)
    fitted, effect = prune(source, tmp_path, samples, "least-squares", ratio=0.3)
    unseen = synthesize(source.signature.inputs, count=16, seed=2)
    assert distance(source, fitted, unseen) < distance(source, plain, unseen)
    assert effect.figures["layers_refitted"] > 0


def distance(source: Program, made: Program, samples: Samples) -> float:
    modules = [each.exported.module(check_guards=False) for each in (source, made)]
    total = 0.0
    with torch.no_grad():
        for sample in samples:
            inputs = [torch.from_numpy(sample[spec.name]) for spec in source.signature.inputs]
            want, got = (module(*inputs)[0] for module in modules)
            total += float((want - got).square().sum())
    return total


class Normed(nn.Module):
    """Two convolutions, and a third with or without a normalisation behind it."""

    def __init__(self, *, normed: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.second = nn.Conv2d(16, 8, 3, bias=not normed)
        self.norm = nn.BatchNorm2d(8) if normed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.second(F.relu(self.first(x))))
        return made


@pytest.mark.parametrize("normed", [True, False])
def test_matched_statistics_are_those_of_the_original(normed: bool, tmp_path: Path) -> None:
    source = as_program(seeded(lambda: Normed(normed=normed)), (torch.zeros(1, 3, 12, 12),))
    samples = synthesize(source.signature.inputs, count=32, seed=1)
    made, effect = prune(source, tmp_path, samples, "batchnorm")
    modules = [each.exported.module(check_guards=False) for each in (source, made)]
    inputs = [torch.from_numpy(sample["input_0"]) for sample in samples]
    with torch.no_grad():
        want, got = (torch.cat([module(x)[0] for x in inputs]) for module in modules)
    axes = (0, 2, 3)
    torch.testing.assert_close(got.mean(axes), want.mean(axes), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(got.std(axes), want.std(axes), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(got, want, rtol=0.05)
    assert effect.figures["statistics_matched"] == 1


@pytest.mark.parametrize("normed", [True, False])
def test_a_layer_makes_up_for_what_its_output_is_added_to(normed: bool, tmp_path: Path) -> None:
    """Two of three channels of a linear bottleneck are not enough, but the sum can be exact."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = nn.Conv2d(3, 2, 1)
            self.wide = nn.Conv2d(2, 8, 1)
            self.beside = nn.Conv2d(3, 8, 1, bias=not normed)
            self.norm = nn.BatchNorm2d(8) if normed else nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            harmed = self.wide(self.narrow(x))
            made: Tensor = harmed + self.norm(self.beside(x))
            return made

    source = as_program(seeded(Sum), (torch.zeros(1, 3, 6, 6),))
    samples = synthesize(source.signature.inputs, count=32, seed=1)
    options = PruneOptions(ratio=0.5, round_to=1)
    context = Context(tmp_path, tmp_path, 0, samples, lambda f, w: None)
    _, effect = Prune().apply(source, options, context)
    assert effect.figures["snr_before_recovery_db"] < 20
    assert effect.figures["snr_after_recovery_db"] > 40


def test_a_channel_that_does_not_vary_goes_first_when_there_is_data(tmp_path: Path) -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)))
    first, last = module[0], module[2]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        first.weight[:8] = 0
        first.bias[:8] = torch.arange(1.0, 9.0)
        last.weight[:, :8] = 10
    source = as_program(module, (torch.zeros(1, 3, 6, 6),))
    samples = synthesize(source.signature.inputs, count=16, seed=1)
    blind, _ = prune(source, tmp_path, None, "none")
    seeing, effect = prune(source, tmp_path, samples, "least-squares")
    rows = [made.exported.state_dict["net.0.weight"].flatten(1) for made in (blind, seeing)]
    constant = [int((weight.abs().sum(1) == 0).sum()) for weight in rows]
    assert constant[0] > 0
    assert constant[1] == 0
    # A constant is what the next layer's bias can stand for: nothing is lost.
    assert effect.figures["snr_after_recovery_db"] > 60


def test_few_samples_are_said_and_only_statistics_matched(tmp_path: Path) -> None:
    source = program("mobilenet")
    few = synthesize(source.signature.inputs, count=3, seed=1)
    _, effect = prune(source, tmp_path, few, "least-squares")
    assert effect.figures["layers_refitted"] == 0
    assert any(note.kind == "fallback" and "too few" in note.message for note in effect.notes)


def test_samples_beyond_the_memory_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = program("mobilenet")
    monkeypatch.setattr(recovery, "_MEMORY_BYTES", 1 << 20)
    samples = synthesize(source.signature.inputs, count=64, seed=1)
    made, effect = prune(source, tmp_path, samples, "batchnorm")
    again, _ = prune(source, tmp_path, samples, "batchnorm")
    # The samples are chosen by the seed, so the choice is the same each time.
    for key, tensor in made.exported.state_dict.items():
        assert torch.equal(tensor, again.exported.state_dict[key])
    used = int(effect.figures["recovery_samples"])
    assert 1 <= used < 64
    assert any(f"used {used} of 64 samples" in note.message for note in effect.notes)


def test_no_samples_are_as_good_as_none(tmp_path: Path) -> None:
    source = program("mobilenet")
    empty = synthesize(source.signature.inputs, count=4, seed=1).take([])
    with pytest.raises(EdgeconvError) as caught:
        prune(source, tmp_path, empty, "batchnorm")
    assert caught.value.reason is Reason.DATA_NEEDED
