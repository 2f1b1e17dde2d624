"""The charts of accuracy against a cost, each with its Pareto front."""

import math
from collections.abc import Callable
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from attnzoo.lab import words
from attnzoo.lab.report.canvas import CARD, MUTED, STYLE, Canvas
from attnzoo.lab.report.emphasis import Mark, front, marks, shape
from attnzoo.lab.report.labels import Point, name_points, side_by_side
from attnzoo.lab.report.limits import usual
from attnzoo.lab.study import Row, Study
from attnzoo.lab.trial import Variant

_LETTERS: Final = 100  # of all labels: above it a chart takes a whole line of the page
SEED: Final[Any] = {"markerfacecolor": CARD, "markersize": 4.5, "markeredgewidth": 1.1, "zorder": 3}
REST: Final[Any] = {"color": MUTED, "alpha": 0.6, "markersize": 5, "markeredgewidth": 0.9, "zorder": 2}


def crowded(study: Study) -> bool:
    """Whether so much is to be named that a chart needs a whole line of the page."""
    return sum(len(row.label) for row in study.rows) > _LETTERS


@rc_context(STYLE)
def against(study: Study, what: str, label: str, cost: Callable[[Row], float]) -> str:
    """Top-1 against a cost: means, and of emphasised variants the interval and every seed as a ring.

    These have names, and what is on the front; but for widened controls where it is crowded. What lies far from all
    else is an arrow at the frame, with its name and number: one bad network must not squeeze the others.

    Args:
        study: the comparison.
        what: a word that names the chart, for its ids.
        label: of the axis, with the unit.
        cost: of a row.
    """
    canvas = Canvas(*((10.8, 4.6) if crowded(study) else (3.6, 3.4)))
    axes, chosen, best = canvas.axes, marks(study), front(study.rows, cost)
    axes.set(xlabel=label, ylabel="top-1 %", ylim=_top1_limits(study, chosen))
    x = _places(canvas, study, cost)
    stairs = [[x[row.variant] for row in best], [row.top1.mean for row in best]]
    axes.step(*stairs, where="post", color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)), zorder=1)
    points = []
    for row in study.rows:
        mark, at = chosen.get(row.variant), x[row.variant]
        arrow, beyond = _beyond(axes, row, cost(row))
        if mark is not None and not arrow:
            _emphasise(axes, study, row, mark, at)
        style = {"color": mark.colour, "zorder": 4} if mark else REST
        y = max(row.top1.mean, axes.get_ylim()[0])
        [point] = axes.plot(at, y, arrow or (mark.shape if mark else shape(row.variant)), clip_on=False, **style)
        canvas.explain(point, f"{row.label}: top-1 {row.top1:.2f}%, {label} {words.count(cost(row))}")
        if mark is not None or arrow or (row in best and not (crowded(study) and row.variant.matches)):
            half = (row.top1.half_width or 0) if mark and not arrow else 0
            points.append(Point(row.label + beyond, at, y, half, mark.colour if mark else MUTED))
    canvas.figure.draw_without_rendering()
    name_points(axes, points)
    return canvas.svg(what)


def _beyond(axes: Axes, row: Row, cost: float) -> tuple[str, str]:
    """The arrow of a mark that lies beyond the frame, and its number there; both "" of others."""
    if row.top1.mean < axes.get_ylim()[0]:
        return "v", f" {row.top1.mean:.1f}%"
    return (">", f" {words.count(cost)}") if cost > axes.get_xlim()[1] else ("", "")


def _emphasise(axes: Axes, study: Study, row: Row, mark: Mark, x: float) -> None:
    each = [outcome.top1 for outcome in study.of(row.variant)]
    axes.plot([x] * len(each), each, mark.shape, color=mark.colour, **SEED)
    axes.errorbar(x, row.top1.mean, yerr=row.top1.half_width, fmt="none", ecolor=(mark.colour, 0.6), zorder=3)


def _places(canvas: Canvas, study: Study, cost: Callable[[Row], float]) -> dict[Variant, float]:
    """Where each row stands on the axis, whose limits are set; few that would cover one another stand side by side."""
    axes, costs = canvas.axes, [cost(row) for row in study.rows]
    low, high = min(costs), math.exp(usual([math.log(cost) for cost in costs])[1]) if min(costs) > 0 else max(costs)
    if high > 5 * low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low * (high / low) ** -0.1, high * (high / low) ** 0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.2 * (high - low) or 0.05 * high or 1
        axes.set_xlim(low - 1.5 * room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        if not crowded(study):
            canvas.figure.draw_without_rendering()
            costs = side_by_side(axes, costs)
    end = axes.get_xlim()[1]
    return {row.variant: min(x, end) for row, x in zip(study.rows, costs, strict=True)}


def _top1_limits(study: Study, chosen: dict[Variant, Mark]) -> tuple[float, float]:
    """Room for what is drawn, but for intervals no more than its spread."""
    least, _ = usual([row.top1.mean for row in study.rows])
    shown = [row for row in study.rows if row.top1.mean >= least]
    each = [outcome.top1 for row in shown if row.variant in chosen for outcome in study.of(row.variant)]
    each += [row.top1.mean for row in shown]
    spread = max(max(each) - min(each), 0.2)
    drawn = [row.top1 for row in shown if row.variant in chosen]
    ends = [one.mean + side * (one.half_width or 0) for one in drawn for side in (-1, 1)] + each
    low = max(min(ends), min(each) - spread) - 0.1 * spread
    high = min(max(ends), max(each) + spread, 100) + 0.1 * spread
    return low, high
