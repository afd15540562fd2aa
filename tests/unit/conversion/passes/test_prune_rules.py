"""One small net per operator: what channels pass, what locks them, and that it says so.

Every case runs the whole pass, whose proof compares with the zeroed original.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune import Prune
from edgeconv.conversion.passes.prune.proof import BOUND
from edgeconv.conversion.program import Context, Program
from edgeconv.recipe.specs import PruneOptions
from edgeconv.results.effect import Effect
from edgeconv.testing.programs import as_program, seeded

WIDTH, SIDE = 16, 8
Operator = Callable[[nn.Module, Tensor], Tensor]


class Sandwich(nn.Module):
    """Convolution, operator, convolution; parameters for operators that want some."""

    def __init__(self, operator: Operator, taken: int = WIDTH) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.last = nn.Conv2d(taken, 4, 1)
        self.slope = nn.Parameter(torch.rand(WIDTH))
        self.one = nn.Parameter(torch.rand(1))
        self.places = nn.Parameter(torch.randn(1, 1, SIDE, SIDE))
        self.square = nn.Parameter(torch.randn(SIDE, SIDE))
        self.table = nn.Parameter(torch.randn(1, WIDTH, SIDE, SIDE))
        self.norm = nn.BatchNorm2d(WIDTH)
        self.instance = nn.InstanceNorm2d(WIDTH, affine=True, track_running_stats=True)
        self.grouped = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1, groups=WIDTH)
        self.up = nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2)
        self.up_depthwise = nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2, groups=WIDTH)
        self.layer_norm = nn.LayerNorm([WIDTH, SIDE, SIDE])
        self.group_norm = nn.GroupNorm(4, WIDTH)
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.operator(self, self.first(x)))
        return made


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def picture(x: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(1, -1, SIDE, SIDE)


def heads(x: Tensor) -> Tensor:
    return tokens(x).reshape(1, SIDE * SIDE, 2, WIDTH // 2).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    return picture(x.transpose(1, 2).reshape(1, SIDE * SIDE, WIDTH))


def halves_swapped(x: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=1)
    return torch.cat([right, left], 1)


def affinity(x: Tensor) -> Tensor:
    return x @ x.transpose(1, 2)


def uneven_parts(x: Tensor) -> Tensor:
    a, b, c = x.split([3, 8, 5], dim=1)
    return torch.cat([c.relu(), a, b * 2], 1)


def shuffled(x: Tensor) -> Tensor:
    return x.view(1, 2, 8, SIDE, SIDE).transpose(1, 2).reshape(1, WIDTH, SIDE, SIDE)


PASSING: dict[str, Operator] = {
    "relu": lambda m, x: x.relu(),
    "relu in place": lambda m, x: F.relu(x, inplace=True),
    "hardswish": lambda m, x: F.hardswish(x),
    "hardswish written out": lambda m, x: x * torch.clamp(x + 3, 0, 6) / 6,
    "not zero at zero": lambda m, x: torch.sigmoid(x) + 1,
    "where": lambda m, x: torch.where(x > 0, x, 0.1 * x),
    "to and back": lambda m, x: x.double().float(),
    "dropout": lambda m, x: F.dropout(x, 0.5, training=m.training),
    "a scale per channel": lambda m, x: x * m.slope.view(-1, 1, 1),
    "a scale for all": lambda m, x: x * m.one,
    "a scale per place": lambda m, x: x * m.places,
    "a table over everything": lambda m, x: x + m.table,
    "a gate": lambda m, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "expand_as": lambda m, x: x + x.mean((2, 3), keepdim=True).expand_as(x),
    "prelu per channel": lambda m, x: F.prelu(x, m.slope),
    "prelu for all": lambda m, x: F.prelu(x, m.one),
    "batch norm": lambda m, x: m.norm(x),
    "instance norm": lambda m, x: m.instance(x),
    "max pool": lambda m, x: F.max_pool2d(x, 3, 2, 1),
    "avg pool": lambda m, x: F.avg_pool2d(x, 2),
    "adaptive pool": lambda m, x: F.adaptive_avg_pool2d(x, 3),
    "nearest": lambda m, x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda m, x: F.interpolate(x, size=(5, 7), mode="bilinear"),
    "pad": lambda m, x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "reflect": lambda m, x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "flip": lambda m, x: x.flip(1, 3),
    "roll of places": lambda m, x: x.roll((1, 2), (2, 3)),
    "softmax over places": lambda m, x: x.softmax(-1),
    "cumsum over places": lambda m, x: x.cumsum(2),
    "standard deviation": lambda m, x: x / (x.std((2, 3), keepdim=True) + 1),
    "reduction without axes kept": lambda m, x: x.amax((2, 3))[:, :, None, None],
    "halves swapped": lambda m, x: halves_swapped(x),
    "uneven parts": lambda m, x: uneven_parts(x),
    "slices": lambda m, x: torch.cat([x[:, 5:], x[:, :5]], 1),
    "narrow": lambda m, x: torch.cat([x.narrow(1, 4, 12), x.narrow(1, 0, 4)], 1),
    "shuffle": lambda m, x: shuffled(x),
    "unflatten": lambda m, x: x.flatten(2).unflatten(2, (SIDE, SIDE)),
    "flatten and back": lambda m, x: x.reshape(1, -1).view(1, WIDTH, SIDE, SIDE),
    "stack": lambda m, x: torch.stack([x, x + 1], 0).mean(0),
    "squeeze": lambda m, x: x.squeeze(0).unsqueeze(0),
    "grouped convolution": lambda m, x: m.grouped(x),
    "transposed convolution": lambda m, x: m.up(x),
    "transposed depthwise": lambda m, x: m.up_depthwise(x),
    "a matrix over places": lambda m, x: x @ m.square,
    "sdpa": lambda m, x: joined(F.scaled_dot_product_attention(heads(x), heads(x), heads(x))),
    "attention written out": lambda m, x: joined(
        (heads(x) @ heads(x).transpose(-1, -2) / 3.0).softmax(-1) @ heads(x)
    ),
    "attention with a mask": lambda m, x: joined(
        F.scaled_dot_product_attention(heads(x), heads(x), heads(x), attn_mask=m.mask)
    ),
}

LOCKING: dict[str, tuple[Operator, str]] = {
    "softmax over channels": (lambda m, x: x.softmax(1), "aten.softmax"),
    "mean over channels": (lambda m, x: x - x.mean(1, keepdim=True), "aten.mean"),
    "layer norm": (lambda m, x: m.layer_norm(x), "aten.layer_norm"),
    "group norm": (lambda m, x: m.group_norm(x), "aten.group_norm"),
    "cumsum over channels": (lambda m, x: x.cumsum(1), "aten.cumsum"),
    "roll over channels": (lambda m, x: x.roll(1, 1), "aten.roll"),
    "every second channel": (lambda m, x: torch.cat([x[:, ::2], x[:, 1::2]], 1), "aten.slice"),
    "an operator without a rule": (
        lambda m, x: F.fold(F.unfold(x, 1), (SIDE, SIDE), 1), "aten.im2col"
    ),
    "channels as places": (lambda m, x: F.avg_pool2d(x.permute(0, 2, 1, 3), 3, 1, 1)
                           .permute(0, 2, 1, 3), "aten.avg_pool2d"),
    "a product of what is not zero": (
        lambda m, x: picture(affinity(torch.sigmoid(tokens(x))) @ tokens(x)),
        "aten.matmul adds up channels that are not zero without their weights",
    ),
}  # fmt: skip


def prune(program: Program, folder: Path, round_to: int = 8) -> tuple[Program, Effect]:
    options = PruneOptions(ratio=0.5, recover="none", round_to=round_to)
    return Prune().apply(program, options, Context(folder, folder, 0, None, lambda f, w: None))


def sandwich(operator: Operator, taken: int = WIDTH) -> Program:
    def build() -> nn.Module:
        module = Sandwich(operator, taken)
        module.register_buffer("mask", torch.randn(SIDE * SIDE, SIDE * SIDE))
        return module

    return as_program(seeded(build), (torch.randn(1, 3, SIDE, SIDE),))


@pytest.mark.parametrize("name", PASSING)
def test_half_of_the_channels_go(name: str, tmp_path: Path) -> None:
    made, effect = prune(sandwich(PASSING[name]), tmp_path)
    assert made.exported.state_dict["net.first.weight"].shape[0] == WIDTH // 2
    assert effect.figures["proof_error"] <= BOUND
    assert [note for note in effect.notes if note.kind == "locked"] == []


@pytest.mark.parametrize("name", LOCKING)
def test_the_channels_stay_and_the_operator_is_named(name: str, tmp_path: Path) -> None:
    operator, said = LOCKING[name]
    with pytest.raises(EdgeconvError) as caught:
        prune(sandwich(operator), tmp_path)
    assert caught.value.reason is Reason.NOTHING_TO_DO
    assert said in caught.value.message


def test_a_multiplying_depthwise_convolution_follows_its_input(tmp_path: Path) -> None:
    made, _ = prune(sandwich(lambda m, x: m.depthwise(x), 2 * WIDTH), tmp_path)
    weights = made.exported.state_dict
    assert weights["net.depthwise.weight"].shape == (WIDTH, 1, 3, 3)
    assert weights["net.last.weight"].shape == (4, WIDTH, 1, 1)


def test_pixel_shuffle_keeps_whole_squares(tmp_path: Path) -> None:
    made, _ = prune(sandwich(lambda m, x: F.pixel_shuffle(x, 2), 4), tmp_path)
    weights = made.exported.state_dict
    assert weights["net.first.weight"].shape[0] == 8
    assert weights["net.last.weight"].shape[1] == 2


def test_a_gated_linear_unit_loses_pairs(tmp_path: Path) -> None:
    made, _ = prune(sandwich(lambda m, x: F.glu(x, 1), WIDTH // 2), tmp_path)
    weights = made.exported.state_dict
    assert weights["net.first.weight"].shape[0] == 8
    assert weights["net.last.weight"].shape[1] == 4


def test_channels_padded_with_zeros_follow_the_ones_that_stay(tmp_path: Path) -> None:
    made, _ = prune(sandwich(lambda m, x: F.pad(x, (0, 0, 0, 0, 2, 3)), WIDTH + 5), tmp_path)
    assert made.exported.state_dict["net.last.weight"].shape[1] == 13


def test_one_selected_channel_stays_and_the_rest_may_go(tmp_path: Path) -> None:
    def operator(m: nn.Module, x: Tensor) -> Tensor:
        return x * x[:, 3:4]

    made, effect = prune(sandwich(operator), tmp_path)
    assert made.exported.state_dict["net.first.weight"].shape[0] == 8
    assert any(note.kind == "locked" and "1 channel stays" in note.message for note in effect.notes)


class Twice(nn.Module):
    """One convolution used twice, once on its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.same = nn.Conv2d(16, 16, 1)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.same(F.relu(self.same(F.relu(self.first(x))))))
        return made


def test_a_weight_used_twice_is_cut_alike_in_both_places(tmp_path: Path) -> None:
    made, effect = prune(as_program(seeded(Twice), (torch.randn(1, 3, 4, 4),)), tmp_path)
    assert made.exported.state_dict["net.same.weight"].shape == (8, 8, 1, 1)
    assert effect.figures["groups"] == 1


class Tied(nn.Module):
    """A table that is also the head's weight, as language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 16)
        self.inner = nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        return F.relu(self.inner(x) + x) @ self.table.weight.t()


def test_a_tied_table_keeps_its_words_and_loses_width(tmp_path: Path) -> None:
    program = as_program(seeded(Tied), (torch.randint(0, 40, (1, 5)),))
    made, _ = prune(program, tmp_path)
    assert made.exported.state_dict["net.table.weight"].shape == (40, 8)


class Looked(nn.Module):
    """A convolution whose weight is also looked at by an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.first(x)) * self.first.weight.cumsum(0).sum()
        return made


def test_a_weight_that_something_else_looks_at_is_left_whole(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError) as caught:
        prune(as_program(seeded(Looked), (torch.randn(1, 3, 4, 4),)), tmp_path)
    assert caught.value.reason is Reason.NOTHING_TO_DO


class Recurrent(nn.Module):
    """A recurrent layer, which has no rule, behind two linear ones."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(5, 32)
        self.narrow = nn.Linear(32, 8)
        self.recurrent = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.recurrent(self.narrow(F.relu(self.wide(x))))[0]


def test_an_operator_without_a_rule_says_how_many_channels_it_holds(tmp_path: Path) -> None:
    made, effect = prune(as_program(seeded(Recurrent), (torch.randn(1, 4, 5),)), tmp_path)
    assert made.exported.state_dict["net.wide.weight"].shape[0] == 16
    (note,) = [note for note in effect.notes if note.kind == "locked"]
    assert note.message == "8 channels stay: aten.lstm has no pruning rule."
    assert note.subject


class TwoOutputs(nn.Module):
    """The first convolution's output is an output of the program."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.inner = nn.Conv2d(16, 16, 1)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        return y, self.last(F.relu(self.inner(y)))


def test_what_the_program_gives_is_never_cut(tmp_path: Path) -> None:
    made, effect = prune(as_program(seeded(TwoOutputs), (torch.randn(1, 3, 4, 4),)), tmp_path)
    weights = made.exported.state_dict
    assert weights["first.weight"].shape[0] == 16
    assert weights["inner.weight"].shape == (8, 16, 1, 1)
    assert [note.subject for note in effect.notes] == ["recover"]
