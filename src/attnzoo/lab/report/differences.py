"""The chart of differences: a line a variant, a panel for each thing that it is compared with."""

from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from attnzoo.lab import words
from attnzoo.lab.columns import HEADINGS, verdict
from attnzoo.lab.report.canvas import CARD, DOWN, INK, MUTED, STYLE, UP, Canvas
from attnzoo.lab.report.emphasis import PLAIN_MARK
from attnzoo.lab.report.limits import usual
from attnzoo.lab.study import KINDS, Row, Study, opposite

_MOST_CONTROLS: Final = 24  # rows up to which widened controls have lines of their own
_INKS: Final = {"better": UP, "worse": DOWN, "no evidence": MUTED}
_RING: Final[Any] = {"markerfacecolor": CARD, "markersize": 4, "markeredgewidth": 0.9, "alpha": 0.8, "zorder": 3}


def compared(study: Study) -> list[Row]:
    """The rows of the chart, the greatest difference first; without widened controls where there are many."""
    rows = [row for row in study.rows if row.differences]
    if len(rows) > _MOST_CONTROLS:
        rows = [row for row in rows if not row.variant.matches]
    return sorted(rows, key=lambda row: -next(iter(row.differences.values())).interval.mean)


@rc_context(STYLE)
def differences(study: Study, what: str) -> str:
    """Means and intervals, coloured where a test calls them better or worse, and every seed as a ring.

    What lies far from all else is an arrow at the frame with its number, so that the others fill the chart.
    """
    rows = compared(study)
    kinds = [kind for kind in KINDS if any(kind in row.differences for row in rows)]
    canvas = Canvas(10.8, 0.95 + 0.27 * len(rows), len(kinds))
    for axes, kind in zip(canvas.panels, kinds, strict=True):
        axes.axvline(0, color=PLAIN_MARK.colour, linewidth=1.4)
        lines = {y: row for y, row in enumerate(rows) if kind in row.differences}
        least, greatest = usual([row.differences[kind].interval.mean for row in lines.values()])
        seen = [0.1]  # points of top-1: the least that a panel shows to both sides
        beyond = {}
        for y, row in lines.items():
            if least <= row.differences[kind].interval.mean <= greatest:
                seen += _line(canvas, axes, study, row, kind, y)
            else:
                beyond[y] = row
        low, high = axes.get_xlim()
        axes.set(xlim=(max(low, 2 * min(seen) - max(seen)), min(high, 2 * max(seen) - min(seen))))
        for y, row in beyond.items():
            _arrow(canvas, axes, row, kind, y)
        axes.set_xlabel("points of top-1")
        axes.set_title(HEADINGS[kind])
        axes.grid(visible=False, axis="y")
    canvas.axes.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    canvas.axes.set_yticklabels([row.label for row in rows], color=INK)
    return canvas.svg(what)


def _line(canvas: Canvas, axes: Axes, study: Study, row: Row, kind: str, y: int) -> list[float]:
    """Draw one difference; give those of the seeds."""
    found, ink = row.differences[kind], _INKS[row.differences[kind].verdict]
    other = {outcome.trial.seed: outcome.top1 for outcome in study.of(opposite(row.variant, kind, row.controls))}
    each = [o.top1 - other[o.trial.seed] for o in study.of(row.variant) if o.trial.seed in other]
    axes.plot(each, [y] * len(each), "o", color=ink, **_RING)
    axes.errorbar(found.interval.mean, y, xerr=found.interval.half_width, fmt="none", ecolor=ink, capsize=3, zorder=4)
    [mean] = axes.plot(found.interval.mean, y, "o", color=ink, markersize=6, zorder=5)
    canvas.explain(mean, _told(row, kind))
    return each


def _arrow(canvas: Canvas, axes: Axes, row: Row, kind: str, y: int) -> None:
    """Mark a difference beyond the limits of the panel, which are set, on that side."""
    found = row.differences[kind]
    side, ink = (1 if found.interval.mean > 0 else -1), _INKS[found.verdict]
    edge = axes.get_xlim()[side > 0]
    within = offset_copy(axes.transData, canvas.figure, x=-5 * side, units="points")
    [mark] = axes.plot(edge, y, ">" if side > 0 else "<", color=ink, markersize=6, zorder=5, transform=within)
    canvas.explain(mark, _told(row, kind))
    number = f"{found.interval.mean:+.0f}"
    inward = "right" if side > 0 else "left"
    axes.annotate(number, (edge, y), (-13 * side, 0), textcoords="offset points", ha=inward, va="center", color=ink)


def _told(row: Row, kind: str) -> str:
    """A difference in words."""
    found = row.differences[kind]
    over = words.plural(found.seeds, "pair")
    return f"{row.label}: {found.interval:+.2f} points over {over}, {verdict(row, kind)}"
