"""Charts of a study as SVG text whose ink follows the page: `var(--ink)`, `var(--muted)`, `var(--grid)`, `var(--card)`.

Importing this file imports matplotlib, which takes a second; the rest of the laboratory does without.
"""

import io
import re
from collections.abc import Callable
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnzoo.lab.labels import Point, name_points, side_by_side
from attnzoo.lab.study import Row, Study
from attnzoo.lab.train import PLAIN, Epoch

_PLAIN_COLOUR: Final = "#808892"
_COLOURS: Final = (
    "#3b82d6",
    "#e0762b",
    "#2f9e68",
    "#d1477a",
    "#8b67c8",
    "#a8803a",
    "#1fa0ad",
    "#c4473a",
    "#7f9a2f",
    "#5a6fd0",
    "#b35cc4",
    "#5c8a86",
)
_INK, _MUTED, _GRID, _CARD = (
    "#010203",
    "#010204",
    "#010205",
    "#010206",
)  # stand-ins that no line uses; replaced in the SVG
_VARIABLES: Final = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)", _CARD: "var(--card)"}
_SEED: Final[Any] = {"markerfacecolor": _CARD, "markersize": 4.5, "markeredgewidth": 1.1, "zorder": 3}
_STYLE: Final[Any] = {  # Any, as the stubs want literal keys
    "svg.fonttype": "none",
    "svg.hashsalt": "attnzoo",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}


def colours(study: Study) -> dict[str, str]:
    """One colour a variant, in the order of the rows; plain is grey."""
    modules = [row.variant for row in study.rows if row.variant != PLAIN]
    return {PLAIN: _PLAIN_COLOUR} | {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(modules)}


@rc_context(_STYLE)
def differences(study: Study) -> str:
    """Difference to plain per module: its mean, its interval, and every seed as a ring."""
    colour = colours(study)
    plain = {outcome.seed: outcome.top1 for outcome in study.of(PLAIN)}
    rows = [(row.variant, row.difference) for row in study.rows if row.difference is not None]
    figure, axes = _canvas(10.8, 0.9 + 0.34 * len(rows))
    axes.axvline(0, color=_PLAIN_COLOUR, linewidth=1.4)
    for y, (variant, difference) in enumerate(rows):
        each = [outcome.top1 - plain[outcome.seed] for outcome in study.of(variant)]
        axes.plot(each, [y] * len(each), "o", color=colour[variant], **_SEED)
        axes.errorbar(
            difference.mean, y, xerr=difference.half_width, fmt="o", color=colour[variant], capsize=3, zorder=4
        )
    axes.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel="points of top-1, plain = 0")
    axes.set_yticklabels([variant for variant, _ in rows], color=_INK)
    axes.grid(visible=False, axis="y")
    return _svg(figure, "differences")


@rc_context(_STYLE)
def against(study: Study, what: str, label: str, cost: Callable[[Row], float]) -> str:
    """Top-1 against a cost: mean, interval, every seed as a ring, and plain's mean as a line.

    Args:
        study: the comparison.
        what: a word that names the chart, for its ids.
        label: of the axis, with the unit.
        cost: of a row.
    """
    colour = colours(study)
    figure, axes = _canvas(3.6, 3.3)
    axes.axhline(study.rows[0].top1.mean, color=_PLAIN_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
    costs = [cost(row) for row in study.rows]
    room = 0.2 * (max(costs) - min(costs)) or 0.05 * max(costs) or 1
    axes.set(xlim=(min(costs) - 1.5 * room, max(costs) + room), ylim=_top1_limits(study))
    axes.set(xlabel=label, ylabel="top-1 %")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    figure.draw_without_rendering()
    points = []
    for row, x in zip(study.rows, side_by_side(axes, costs), strict=True):
        mark, ink = ("s" if row.variant == PLAIN else "o"), colour[row.variant]
        each = [outcome.top1 for outcome in study.of(row.variant)]
        axes.plot([x] * len(each), each, mark, color=ink, **_SEED)
        axes.errorbar(x, row.top1.mean, yerr=row.top1.half_width, fmt=mark, color=ink, ecolor=(ink, 0.6), zorder=4)
        points.append(Point(row.variant, x, row.top1.mean, row.top1.half_width or 0, ink))
    figure.draw_without_rendering()
    name_points(axes, points)
    return _svg(figure, what)


@rc_context(_STYLE)
def curves(study: Study, what: str, label: str, value: Callable[[Epoch], float], logarithmic: bool = False) -> str:
    """A figure of every epoch: the mean over seeds, in a band from the least to the greatest.

    Args:
        study: the comparison.
        what: a word that names the chart, for its ids.
        label: of the axis, with the unit.
        value: of an epoch.
        logarithmic: make the axis so, if the values span more than a decade.
    """
    colour = colours(study)
    figure, axes = _canvas(5.3, 3.3)
    for row in study.rows:
        ink = colour[row.variant]
        runs = [[value(epoch) for epoch in outcome.epochs] for outcome in study.of(row.variant)]
        by_epoch = list(zip(*runs, strict=True))
        x = range(1, len(by_epoch) + 1)
        axes.fill_between(x, list(map(min, by_epoch)), list(map(max, by_epoch)), color=ink, alpha=0.13, linewidth=0)
        dashes = "--" if row.variant == PLAIN else "-"
        axes.plot(x, [sum(v) / len(v) for v in by_epoch], dashes, color=ink, linewidth=1.6, marker="o", markersize=2.5)
    everything = [value(epoch) for outcome in study.outcomes for epoch in outcome.epochs]
    if logarithmic and max(everything) > 10 * min(everything) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, what)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches, a pixel a point, and its empty axes."""
    figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.tick_params(length=0, which="both")
    return figure, axes


def _svg(figure: Figure, what: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1{what}-", svg)  # ids stay unique among the page's charts


def _top1_limits(study: Study) -> tuple[float, float]:
    """Room for all seeds and intervals, but for intervals no more than twice the spread of the seeds."""
    each = [outcome.top1 for outcome in study.outcomes]
    spread = max(max(each) - min(each), 0.2)
    ends = [row.top1.mean + side * (row.top1.half_width or 0) for row in study.rows for side in (-1, 1)]
    low = max(min(ends), min(each) - 2 * spread) - 0.1 * spread
    high = min(max(ends), max(each) + 2 * spread, 100) + 0.1 * spread
    return low, high
