"""A small network trained on scikit-learn's handwritten digits, and its data.

1,797 images of 8×8 pixels, values 0 to 16 (Alpaydin and Kaynak, UCI "Optical Recognition of
Handwritten Digits"). A seeded shuffle gives 1,297 to training and 500 to the test set;
calibration takes 100 images of the training part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

SEED = 7
TEST_IMAGES = 500
CALIBRATION_IMAGES = 100
EPOCHS = 14
BATCH = 32


class DigitsNet(nn.Module):
    """Three convolutions with BatchNorm and two linear layers; [n, 1, 8, 8] → [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(1, 32), *_block(32, 64), nn.MaxPool2d(2), *_block(64, 96), nn.MaxPool2d(2)
        )
        self.classify = nn.Sequential(
            nn.Flatten(), nn.Linear(96 * 4, 96), nn.ReLU(), nn.Linear(96, 10)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of the ten digits."""
        scores: torch.Tensor = self.classify(self.features(image))
        return scores


def _block(before: int, after: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


class Digits:
    """The data, shuffled with `SEED`; images float32 [n, 1, 8, 8] in 0 to 1, labels int64."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(SEED).permutation(len(images))
        pixels = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        named: NDArray[np.int64] = labels[order].astype(np.int64)
        self.train_images, self.test_images = pixels[:-TEST_IMAGES], pixels[-TEST_IMAGES:]
        self.train_labels, self.test_labels = named[:-TEST_IMAGES], named[-TEST_IMAGES:]


def train(data: Digits) -> DigitsNet:
    """The trained network in inference mode; seconds, and the same each time on one machine."""
    torch.manual_seed(SEED)
    net = DigitsNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = EPOCHS * -(-len(data.train_images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for images, labels in _batches(data):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return net.eval()


def _batches(data: Digits) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    shuffle = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        order = shuffle.permutation(len(data.train_images))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            images = torch.from_numpy(data.train_images[chosen])
            yield images, torch.from_numpy(data.train_labels[chosen])


def write_model(folder: Path) -> tuple[Path, Path, Path]:
    """Writes `digits.pt2`, `digits-calibration.npz`, `digits-test.npz`; gives their paths.

    The program takes one image, [1, 1, 8, 8].
    """
    data = Digits()
    net = train(data)
    model_file = folder / "digits.pt2"
    exported = torch.export.export(net, (torch.zeros(1, 1, 8, 8),))
    torch.export.save(exported, model_file)
    calibration_file = folder / "digits-calibration.npz"
    np.savez_compressed(calibration_file, image=data.train_images[:CALIBRATION_IMAGES, None])
    test_file = folder / "digits-test.npz"
    np.savez_compressed(test_file, image=data.test_images[:, None], label=data.test_labels)
    return model_file, calibration_file, test_file
