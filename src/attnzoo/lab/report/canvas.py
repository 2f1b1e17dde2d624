"""A chart as SVG text whose ink follows the page: `var(--ink)`, `var(--muted)`, `var(--up)` and the others below.

Importing this file imports matplotlib, which takes a second; the rest of the laboratory does without.
"""

import io
import re
from html import escape
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PLAIN: Final = "#808892"
INK, MUTED, GRID, CARD, UP, DOWN = (f"#01020{number}" for number in range(3, 9))  # no line uses these colours
_VARIABLES: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    CARD: "var(--card)",
    UP: "var(--up)",
    DOWN: "var(--down)",
}
STYLE: Final[Any] = {  # Any, as the stubs want literal keys
    "svg.fonttype": "none",
    "svg.hashsalt": "attnzoo",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.parse_math": False,
}


class Canvas:
    """A figure, a pixel a point, with texts that show where the pointer rests on a mark.

    Args:
        width, height: in inches.
        panels: axes side by side, which share the vertical axis.
    """

    def __init__(self, width: float, height: float, panels: int = 1) -> None:
        self.figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
        FigureCanvasAgg(self.figure)
        grid = self.figure.subplots(1, panels, sharey=True, squeeze=False)
        self.panels: list[Axes] = list(grid[0])
        self.titles: list[str] = []
        for axes in self.panels:
            axes.tick_params(length=0, which="both")

    @property
    def axes(self) -> Axes:
        """The only, or first, panel."""
        return self.panels[0]

    def explain(self, artist: Artist, text: str) -> None:
        """Let a mark say `text` to who points at it."""
        artist.set_gid(f"mark{len(self.titles)}")
        self.titles.append(text)

    def svg(self, what: str) -> str:
        """The chart, its ids made unique among the page's charts by `what`."""
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :]
        for stand_in, variable in _VARIABLES.items():
            svg = svg.replace(stand_in, variable)
        svg = re.sub(r'(<g id="mark(\d+)">)', lambda found: found[1] + self._title(int(found[2])), svg)
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\1{what}-", svg)

    def _title(self, number: int) -> str:
        return f"<title>{escape(self.titles[number])}</title>"
