"""Explanations as one figure: a band for each image, a row for each thing its modules show, a column for each stage.

Importing this file imports matplotlib.
"""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnzoo.errors import AttnzooError
from attnzoo.lab.explain import panels
from attnzoo.lab.explain.explanation import Explanation
from attnzoo.lab.explain.rows import Row, inserted, rows_of

# In inches.
_CELL: Final = 1.62
_GAP: Final = 0.22
_EDGE: Final = 0.25
_BAR: Final = 0.8  # the colour bar and its numbers, right of the panels
_HEADING: Final = 0.46  # of a row and of its panels, above them
_BELOW: Final = 0.24  # the numbers under an axis
_NAMES: Final = 0.62  # of classes, left of the bars
_TITLE: Final = 0.55
_FOOT: Final = 0.32
_TALLEST: Final = 400.0
_LEAST_COLUMNS: Final = 4
_STYLE: Final = {"font.size": 8.0, "text.color": panels.INK}


@rc_context(_STYLE)  # type: ignore[arg-type] # the stubs want literal keys
def figure(explanations: Sequence[Explanation]) -> Figure:
    """One figure of all; save it with its own `savefig`.

    Raises:
        AttnzooError: there is none, or there are more than a figure holds.
    """
    if not explanations:
        raise AttnzooError("figure: expected an explanation or more, got none.")
    bands = [(one, rows_of(one)) for one in explanations]
    columns = max([_LEAST_COLUMNS, *(len(row.panels) for _, rows in bands for row in rows)])
    width = 2 * _EDGE + (columns + 1) * (_CELL + _GAP) + _BAR
    height = _EDGE + sum(_height(rows) for _, rows in bands) + _FOOT
    if height > _TALLEST:
        raise AttnzooError(
            f"figure: {len(bands)} images make a figure of {height:.0f} inches, above {_TALLEST:.0f}; "
            "draw fewer images or maps at once."
        )
    page = _Page(width, height)
    y = _EDGE
    for one, rows in bands:
        _band(page, one, rows, y)
        y += _height(rows)
    page.text(_EDGE, height - _FOOT / 2, _foot(explanations), size=6.5, color=panels.MUTED, va="center")
    return page.figure


def _height(rows: Sequence[Row]) -> float:
    return _TITLE + max(len(rows), 2) * (_HEADING + _CELL + _BELOW)


class _Page:
    """A figure with axes and texts at inches from its left upper corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self.figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose left upper corner is at x, y."""
        bottom = 1 - (y + height) / self.height
        axes: Axes = self.figure.add_axes((x / self.width, bottom, width / self.width, height / self.height))
        return axes

    def text(self, x: float, y: float, text: str, *, size: float, color: str = panels.INK, **style: Any) -> None:
        """A line of text at x, y."""
        self.figure.text(x / self.width, 1 - y / self.height, text, size=size, color=color, **style)


def _band(page: _Page, one: Explanation, rows: Sequence[Row], y: float) -> None:
    """All of one image, from y on downward."""
    page.text(_EDGE, y + 0.16, panels.shortened(one.title, 90), size=11, weight="bold", va="center")
    page.text(_EDGE, y + 0.38, _outcome(one), size=8, color=panels.MUTED, va="center")
    first = y + _TITLE
    step = _HEADING + _CELL + _BELOW
    page.text(_EDGE, first + _HEADING - 0.07, f"input, {_size(one)}", size=7, color=panels.MUTED)
    panels.image(page.axes(_EDGE, first + _HEADING, _CELL, _CELL), one)
    _key(page, one, first + step)
    panels.probabilities(page.axes(_EDGE + _NAMES, first + step + _HEADING, _CELL - _NAMES, _CELL), one)
    for number, row in enumerate(rows):
        _row(page, row, first + number * step)


def _key(page: _Page, one: Explanation, y: float) -> None:
    """What the colours of the probabilities mean."""
    page.text(_EDGE, y + 0.13, panels.shortened(inserted(one), 28), size=7, color=panels.ACCENT, weight="bold")
    if one.plain is not None:
        page.text(_EDGE, y + _HEADING - 0.12, "without", size=7, color=panels.MUTED, weight="bold")


def _row(page: _Page, row: Row, y: float) -> None:
    left = _EDGE + _CELL + _GAP
    page.text(left, y + 0.13, row.heading, size=8, weight="bold", va="center")
    top = y + _HEADING
    for number, panel in enumerate(row.panels):
        x = left + number * (_CELL + _GAP)
        page.text(x, top - 0.07, panel.caption, size=7, color=panels.MUTED)
        axes = page.axes(x, top, _CELL, _CELL)
        panel.draw(axes)
        axes.tick_params(labelleft=number == 0)
    cax = page.axes(left + len(row.panels) * (_CELL + _GAP) - 0.04, top, 0.1, _CELL)
    opacity = panels.OPACITY if row.over_image else 1.0
    bar = page.figure.colorbar(ScalarMappable(row.scale, row.colours), cax=cax, ticks=MaxNLocator(5), alpha=opacity)
    panels.behind(cax)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, width=0.5, labelsize=6.5, labelcolor=panels.MUTED, color=panels.PALE)
    bar.set_label(row.label, size=6.5, color=panels.MUTED)


def _size(one: Explanation) -> str:
    return " x ".join(str(number) for number in reversed(one.pixels.shape[1:]))


def _outcome(one: Explanation) -> str:
    """Both predictions and the class that is explained."""
    said = [f"{inserted(one)}: {_prediction(one, one.probabilities)}"]
    if one.plain is not None:
        said.append(f"without: {_prediction(one, one.plain)}")
    if one.cams:
        said.append(f"Grad-CAM explains: {one.class_name(one.target)}")
    return "   ·   ".join(said)


def _prediction(one: Explanation, probabilities: object) -> str:
    best = int(probabilities.argmax())  # type: ignore[attr-defined]
    return f"{one.class_name(best)} ({float(probabilities[best]):.1%})"  # type: ignore[index]


def _foot(explanations: Sequence[Explanation]) -> str:
    notes = list(dict.fromkeys(f"Without: {one.without}." for one in explanations if one.without))
    if any(one.cams for one in explanations):
        notes.append(
            "Each Grad-CAM map is scaled from its own least to its own greatest value: compare where, not how much."
        )
    return "   ".join(notes)
