"""The result as one HTML file that needs no network.

The page holds no script. Its content-security policy forbids everything but its own
inline style, so that even a fault in escaping could not load or run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgeconv import __version__
from edgeconv.base.quantities import format_bytes, format_ns
from edgeconv.report import cells, reproduction
from edgeconv.report.bar_plots import plot_latency, plot_steps, plot_wait
from edgeconv.report.highlights import highlights
from edgeconv.report.legend import quality_lines
from edgeconv.report.pareto_plot import plot_pareto, target_class
from edgeconv.report.printable import printable_lines
from edgeconv.report.rows import Row, devices, rows, variant_notes
from edgeconv.results.job import JobResult


@dataclass(frozen=True)
class _DevicePlots:
    """The plots of one device; times of two devices share no axis."""

    device: str
    pareto: Markup | None
    latency: Markup | None
    wait: Markup | None


def render_html(result: JobResult) -> str:
    """The page. The same result gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("edgeconv.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        {
            "bytes": format_bytes,
            "ns": format_ns,
            "share": cells.share_text,
            "figure": figure_text,
            "figure_name": figure_name,
            "lines": printable_lines,
        }
    )
    table = rows(result)
    return environment.get_template("report.html.j2").render(
        result=result,
        rows=table,
        devices=devices(result),
        highlights=highlights(table),
        plots=_plots(result, table),
        steps_plot=plot_steps(result.steps),
        runtimes=_runtimes(table),
        largest_size=max((row.variant.size_bytes for row in table), default=0) or 1,
        style=Markup(_source(environment, "report.css")),
        cells=cells,
        target_class=target_class,
        quality_lines=quality_lines(result),
        variant_notes=variant_notes,
        reproduction=reproduction,
        version=__version__,
    )


def figure_name(name: str) -> str:
    """A figure's name in words, without the unit that its value shows."""
    return name.removesuffix("_bytes").removesuffix("_ns").replace("_", " ")


def figure_text(name: str, value: float) -> str:
    """A figure of an effect with its unit, told by the end of its name."""
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_ns"):
        return format_ns(value)
    if value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"


def _finalize(value: object) -> object:
    # Every text of the page passes here; drawings and the style are already safe.
    return printable_lines(value) if type(value) is str else value


def _source(environment: Environment, name: str) -> str:
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _plots(result: JobResult, table: Sequence[Row]) -> list[_DevicePlots]:
    found = []
    for device in devices(result) or [""]:
        here = [row for row in table if not device or _device(row) in ("", device)]
        found.append(_DevicePlots(device, plot_pareto(here), plot_latency(here), plot_wait(here)))
    return [each for each in found if each.pareto or each.latency]


def _device(row: Row) -> str:
    return row.benchmark.device if row.benchmark else ""


def _runtimes(table: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.summary.runtime for row in table if row.summary))
