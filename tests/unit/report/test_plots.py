"""Plots: what is drawn, and when there is nothing to draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeconv.report.bar_plots import plot_latency, plot_steps, plot_wait
from edgeconv.report.pareto_plot import plot_pareto
from edgeconv.report.rows import Row, rows
from edgeconv.results.job import JobResult, StepResult

_GOLDEN = Path(__file__).parents[2] / "golden" / "job_result.json"


@pytest.fixture(scope="module")
def table() -> list[Row]:
    return rows(JobResult.model_validate_json(_GOLDEN.read_text()))


def _without_benchmarks(table: list[Row]) -> list[Row]:
    return [Row(**{**vars(row), "benchmark": None}) for row in table]


def test_every_verified_and_measured_variant_has_a_mark(table: list[Row]) -> None:
    plot = str(plot_pareto(table))
    assert plot.count("<circle") == 12
    assert plot.count("mark target-onnx front") == 3
    assert "median latency" in plot
    assert "prune90" not in plot


def test_names_do_not_overlap_each_other(table: list[Row]) -> None:
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label \w+">([^<]+)<', str(
        plot_pareto(table)))  # fmt: skip
    boxes = [(float(x), float(y), 6.6 * len(words)) for x, y, words in found]
    assert len(boxes) >= 8
    for index, (x, y, width) in enumerate(boxes):
        for other_x, other_y, other_width in boxes[index + 1 :]:
            apart = x + width <= other_x or other_x + other_width <= x or abs(y - other_y) >= 13.9
            assert apart


def test_without_measurements_size_is_the_axis(table: list[Row]) -> None:
    plot = str(plot_pareto(_without_benchmarks(table)))
    assert "size (lower is better)" in plot
    assert plot.count("<circle") == 12


def test_one_point_is_no_plot(table: list[Row]) -> None:
    assert plot_pareto(table[:1]) is None
    assert plot_pareto([]) is None


def test_latency_shows_what_samples_carry(table: list[Row]) -> None:
    plot = str(plot_latency(table))
    assert plot.count('class="bar ') == 12
    # Two have too few samples for p90; two have enough for p99.
    assert plot.count('class="percentile ') == 10 + 2
    assert "n/a (n=38)" in plot
    assert plot_latency(_without_benchmarks(table)) is None


def test_the_wait_is_load_and_first_inference(table: list[Row]) -> None:
    plot = str(plot_wait(table))
    assert plot.count("phase-cold_load") == plot.count("phase-first_inference") == 12
    assert plot_wait(_without_benchmarks(table)) is None


def test_steps_follow_one_another_and_reused_ones_take_no_room() -> None:
    plot = str(plot_steps([
        StepResult(id="intake", wall_ns=4_000_000_000, reused=True),
        StepResult(id="fp32/tflite", wall_ns=6_000_000_000),
        StepResult(id="verify<>", wall_ns=2_000_000_000),
    ]))  # fmt: skip
    bars = re.findall(r'<rect x="([\d.]+)".*?class="step-(\w+)">', plot)
    assert [kind for _, kind in bars] == ["reused", "ran", "ran"]
    assert bars[0][0] == bars[1][0] < bars[2][0]
    assert "verify&lt;&gt;" in plot
    assert plot_steps([]) is None
