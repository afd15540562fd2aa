"""What is said of an output that misses its bound."""

from __future__ import annotations

import pytest

from edgeconv.results.agreement import OutputAgreement


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"snr_db": 41.26, "bound": "≥ 50 dB"}, "output 'y': 41.2 dB, asked ≥ 50 dB"),
        ({"snr_db": 49.99, "bound": "≥ 50 dB"}, "output 'y': 49.9 dB, asked ≥ 50 dB"),
        (
            {"equal_share": 0.99899, "bound": "≥ 0.999 equal"},
            "output 'y': 0.9989 equal, asked ≥ 0.999 equal",
        ),
        (
            {"max_abs_error": 0.5, "max_abs_reference": 2.0, "bound": "error ≤ 0.1"},
            "output 'y': an error of 0.5 of at most 2, asked error ≤ 0.1",
        ),
        ({"bound": "≥ 50 dB"}, "output 'y': no figure, asked ≥ 50 dB"),
        ({}, "output 'y' misses its bound"),
    ],
)
def test_a_miss_names_what_was_reached(figures: dict[str, object], words: str) -> None:
    assert OutputAgreement.model_validate({"output": "y", **figures}).miss() == words
