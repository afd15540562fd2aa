"""Labelled lines of text, upright (0) and upside down (1), for the text-direction model.

Lines are rendered with DejaVu Sans and then made as hard to read as a photographed page:
tilted, shrunk, blurred and noisy. Everything follows from one seed. The difficulty was set
once, with the trained model in ONNX Runtime, before any variant of it was made.

Preprocessing as the model was trained (PaddleOCR): height 48 with the ratio kept, at most
192 wide, values (x / 255 − 0.5) / 0.5, zeros to the right.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tools.fetch_models import fetch

TEST_SEED = 20_261
CALIBRATION_SEED = 71_993
TEST_LINES = 1_000
CALIBRATION_LINES = 200

Colour = tuple[int, int, int]

HEIGHT = 48
WIDTH = 192

_VOCABULARY = (
    "about account address after amount and answer any april ask august available back "
    "balance before between bill book both box building call cancel card cash change check "
    "city clean client close code company contact copy cost country customer daily date "
    "day december delivery detail discount door due each east electric email end enter "
    "entry exit february fee file final first floor for free friday from full garden gate "
    "general gross hall hand head height help hotel hour house image in income invoice "
    "item january july june key kind land large last late letter level light limit line "
    "list local long machine main manager march market may meeting message metal minute "
    "model monday month morning name net new next night no north note november number "
    "october of offer office open order original other outside owner page paid paper park "
    "part pay people per phone place please point post power price print private product "
    "public quantity question quick rate ready receipt record red report request return "
    "room route sale saturday school second section september service shop side sign size "
    "south speed staff stage start station stop store street sum sunday supply table tax "
    "telephone thursday ticket time to total town trade train tuesday turn under unit use "
    "valid value visit water way wednesday weight west white window with work year yellow"
)
_WORDS = tuple(_VOCABULARY.split())


def render_lines(seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lines of text and their direction, half of them upside down.

    Args:
        seed: Everything follows from it.
        count: Number of lines.

    Returns:
        Images of shape [count, 1, 3, 48, 192], float32 in [−1, 1], and labels of shape
        [count]: 0 upright, 1 upside down.
    """
    chance = random.Random(seed)
    fonts = {size: ImageFont.truetype(str(fetch("font")), size) for size in range(20, 45, 4)}
    images = np.zeros((count, 1, 3, HEIGHT, WIDTH), dtype=np.float32)
    labels = np.zeros(count, dtype=np.int64)
    for index in range(count):
        labels[index] = index % 2
        images[index, 0] = preprocess(_line(chance, fonts, upside_down=bool(index % 2)))
    return images, labels


def preprocess(line: Image.Image) -> NDArray[np.float32]:
    """An RGB image of any size as the model's input, shape [3, 48, 192]."""
    width = min(WIDTH, math.ceil(HEIGHT * line.width / line.height))
    pixels = np.asarray(line.resize((width, HEIGHT), Image.Resampling.BILINEAR), dtype=np.float32)
    prepared = np.zeros((3, HEIGHT, WIDTH), dtype=np.float32)
    prepared[:, :, :width] = (pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return prepared


def write_datasets(
    folder: Path,
    *,
    test_lines: int = TEST_LINES,
    calibration_lines: int = CALIBRATION_LINES,
) -> tuple[Path, Path]:
    """Writes `cls-calibration.npz` and `cls-test.npz`, and gives their paths."""
    calibration, _ = render_lines(CALIBRATION_SEED, calibration_lines)
    images, labels = render_lines(TEST_SEED, test_lines)
    calibration_file = folder / "cls-calibration.npz"
    test_file = folder / "cls-test.npz"
    np.savez_compressed(calibration_file, x=calibration)
    np.savez_compressed(test_file, x=images, label=labels)
    return calibration_file, test_file


def _line(chance: random.Random, fonts: dict[int, Any], *, upside_down: bool) -> Image.Image:
    text = _text(chance)
    font = fonts[chance.choice(sorted(fonts))]
    left, top, right, bottom = font.getbbox(text)
    margin = chance.randint(2, 9)
    paper, ink = _colours(chance)
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    line = Image.new("RGB", size, paper)
    ImageDraw.Draw(line).text((margin - left, margin - top), text, font=font, fill=ink)
    line = line.rotate(
        chance.uniform(-3.0, 3.0), Image.Resampling.BICUBIC, expand=True, fillcolor=paper
    )
    line = _worsen(chance, line)
    return line.transpose(Image.Transpose.ROTATE_180) if upside_down else line


def _text(chance: random.Random) -> str:
    tokens = []
    for _ in range(chance.randint(1, 4)):
        word = chance.choice(_WORDS)
        kind = chance.random()
        if kind < 0.15:
            word = str(chance.randint(10, 99_999))
        elif kind < 0.25:
            word = word.upper()
        elif kind < 0.5:
            word = word.capitalize()
        tokens.append(word)
    return " ".join(tokens)


def _colours(chance: random.Random) -> tuple[Colour, Colour]:
    light = _colour(chance, 150, 255)
    dark = _colour(chance, 0, 110)
    return (light, dark) if chance.random() < 0.85 else (dark, light)


def _colour(chance: random.Random, low: int, high: int) -> Colour:
    return chance.randint(low, high), chance.randint(low, high), chance.randint(low, high)


def _worsen(chance: random.Random, line: Image.Image) -> Image.Image:
    shrink = chance.uniform(1.0, 1.5)
    small = (max(8, int(line.width / shrink)), max(8, int(line.height / shrink)))
    line = line.resize(small, Image.Resampling.BILINEAR)
    line = line.filter(ImageFilter.GaussianBlur(chance.uniform(0.0, 1.0)))
    noise = np.random.default_rng(chance.randrange(2**32)).normal(
        0.0, chance.uniform(0.0, 20.0), (line.height, line.width, 3)
    )
    pixels = np.asarray(line, dtype=np.float32) + noise
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
