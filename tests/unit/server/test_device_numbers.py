"""A device's outputs are held against what the same file gave on the server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.recipe.specs import VerifyOptions
from edgeconv.server.device_numbers import compare_with_host

RNG = np.random.default_rng(0)
HOST = RNG.standard_normal((16, 10))


def doubts(host: Any, device: Any, precision: str, least: float | None = None) -> tuple[str, ...]:
    options = VerifyOptions(precision=precision, min_snr_db=least)
    return compare_with_host([("y", host)], {"y": device}, options)


def noisy(db: float) -> Any:
    """The host's outputs with noise at that ratio."""
    noise = np.random.default_rng(1).standard_normal(HOST.shape)
    signal = np.sum((HOST - HOST.mean(0)) ** 2)
    return HOST + noise * np.sqrt(signal / np.sum(noise**2)) * 10 ** (-db / 20)


@pytest.mark.parametrize(
    ("precision", "least", "bound_db"),
    [
        ("fp32", None, 60),
        ("fp32", 20.0, 60),
        ("fp16", None, 40),
        ("fp16", 30.0, 30),
        ("int8", 30.0, 30),
        ("int8", 12.0, 12),
    ],
)
def test_each_precision_has_its_bound(precision: str, least: float | None, bound_db: float) -> None:
    assert doubts(HOST, noisy(bound_db + 0.5), precision, least) == ()
    (words,) = doubts(HOST, noisy(bound_db - 0.5), precision, least)
    assert f"to {bound_db - 0.5:.1f} dB, and {bound_db:g} dB are asked for" in words
    assert words.startswith("Output 'y' ")


def test_scores_of_8_bits_are_told_by_their_decisions() -> None:
    rows = np.arange(16)
    peaked = HOST * 0.01
    peaked[rows, rows % 10] += 1
    alike = peaked + RNG.standard_normal(HOST.shape) * 0.08
    assert doubts(peaked, alike, "fp16")
    assert doubts(peaked, alike, "int8", 20.0)
    assert doubts(peaked, alike, "int8") == ()
    (words,) = doubts(peaked, np.roll(peaked, 1, axis=1), "int8")
    assert "20 dB are asked for" in words
    assert doubts(peaked, peaked * 0.2, "int8")


def test_equal_places_do_not_excuse_what_are_no_scores() -> None:
    image = HOST.reshape(2, 8, 10)
    assert doubts(HOST, HOST * 0.75, "int8") == ()
    assert doubts(image, image * 0.75, "int8")


def test_neither_masks_nor_large_slices_hide_the_values_beside_them() -> None:
    masked = HOST.copy()
    masked[:, 5:] = -1e9
    assert doubts(masked, masked, "fp32") == ()
    assert doubts(masked, np.where(masked < -1e8, masked, HOST * 0.9), "fp32")
    assert "as masks are" in doubts(masked, np.maximum(masked, -1e4), "int8")[0]
    large = HOST.copy()
    large[:, :2] *= 1e5
    assert "8 of 10 slices of axis 0" in doubts(large, np.where(large == HOST, 0, large), "fp32")[0]


def test_without_decisions_8_bits_are_told_by_the_ratio() -> None:
    assert doubts(HOST[:, :1], HOST[:, :1] * 1.05, "int8") == ()
    assert doubts(HOST[:, :1], HOST[:, :1] * 1.2, "int8")


@pytest.mark.parametrize(
    ("precision", "wrong", "is_doubted"),
    [("fp32", 0, False), ("fp32", 1, True), ("int8", 8, False), ("int8", 9, True)],
)
def test_integers_are_told_by_the_share_that_is_equal(
    precision: str, wrong: int, is_doubted: bool
) -> None:
    host = np.arange(160).reshape(16, 10)
    device = host.copy()
    # The largest of each row stays where it is: a comparison of it would see nothing.
    device.reshape(-1)[np.arange(wrong) * 10] -= 1
    told = doubts(host, device, precision)
    assert bool(told) is is_doubted
    if told:
        assert f"{(160 - wrong) / 160:.1%} of the values" in told[0]


def test_an_output_that_does_not_vary_is_told_by_its_error() -> None:
    host = np.full((16, 3), 50.0)
    assert doubts(host, host + 4e-4, "fp32") == ()
    (words,) = doubts(host, host + 6e-2, "fp32")
    assert "does not vary and is 0.06 off" in words
    assert doubts(host, host + 4.9, "int8") == ()
    assert doubts(host, host + 130, "int8")


def test_an_error_at_the_noise_of_floats_is_none() -> None:
    host = 1000 + HOST * 0.01
    assert doubts(host, host + 9e-3 * np.sign(HOST), "fp32") == ()


def test_infinity_is_a_doubt_where_the_host_has_none() -> None:
    device = HOST.copy()
    device[3, 3] = np.inf
    (words,) = doubts(HOST, device, "int8")
    assert "NaN or infinity" in words
    assert doubts(device, device, "int8") == ()


def test_each_output_is_told_by_its_name_and_fewer_samples_are_enough() -> None:
    host = [("a", HOST[:5]), ("b", HOST[:5])]
    told = compare_with_host(host, {"a": HOST, "b": -HOST}, VerifyOptions(precision="fp32"))
    assert [words[:10] for words in told] == ["Output 'b'"]


@given(st.sampled_from(["fp32", "fp16", "int8"]), st.none() | st.floats(0, 300))
def test_the_hosts_own_outputs_are_never_doubted(precision: str, least: float | None) -> None:
    for host in (HOST, HOST.astype(np.int64), np.zeros((4, 2)), HOST > 0):
        assert doubts(host, host, precision, least) == ()
