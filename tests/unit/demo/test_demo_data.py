"""The demo's data is what it says: seeded, balanced, and hard to the right degree."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from demo.digits import CALIBRATION_IMAGES, TEST_IMAGES, Digits
from demo.text_direction import (
    CALIBRATION_SEED,
    TEST_LINES,
    TEST_SEED,
    preprocess,
    render_lines,
)
from tools.fetch_models import fetch


def test_lines_are_the_same_for_a_seed_and_others_for_another() -> None:
    first, labels = render_lines(TEST_SEED, 6)
    again, _ = render_lines(TEST_SEED, 6)
    other, _ = render_lines(CALIBRATION_SEED, 6)
    assert first.shape == (6, 1, 3, 48, 192)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_trained_model_reads_the_test_set_well_but_not_perfectly() -> None:
    images, labels = render_lines(TEST_SEED, TEST_LINES)
    session = onnxruntime.InferenceSession(str(fetch("cls")))
    [scores] = session.run(None, {"x": images[:, 0]})
    accuracy = (scores.argmax(-1) == labels).mean()
    assert 0.95 <= accuracy <= 0.99


@pytest.mark.parametrize(("size", "width"), [((96, 48), 96), ((20, 10), 96), ((900, 40), 192)])
def test_preprocessing_keeps_the_ratio_and_pads_with_zeros(
    size: tuple[int, int], width: int
) -> None:
    prepared = preprocess(Image.new("RGB", size, (255, 255, 255)))
    assert prepared.shape == (3, 48, 192)
    assert (prepared[:, :, :width] == 1).all()
    assert (prepared[:, :, width:] == 0).all()


def test_digits_for_training_and_testing_are_apart() -> None:
    data = Digits()
    assert len(data.train_images) + len(data.test_images) == 1797
    assert len(data.test_images) == TEST_IMAGES
    assert len(data.train_images) > CALIBRATION_IMAGES
    train = {image.tobytes() for image in data.train_images}
    assert sum(image.tobytes() in train for image in data.test_images) == 0
    assert set(data.test_labels.tolist()) == set(range(10))
