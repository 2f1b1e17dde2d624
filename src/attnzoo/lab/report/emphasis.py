"""Which variants of a study a chart tells apart by colour and shape; with many, the rest stay grey."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from attnzoo.lab.study import Row, Study
from attnzoo.lab.trial import PLAIN, Variant

_MOST: Final = 8


class Mark(NamedTuple):
    """A colour, a shape as matplotlib names it, and the same as a path in a square from 0 to 10."""

    colour: str
    shape: str
    path: str


PLAIN_MARK: Final = Mark("#808892", "s", "M1.5 1.5H8.5V8.5H1.5Z")
_MARKS: Final = (  # after Tol's vibrant colours, on light and dark; shapes tell them apart to all eyes
    Mark("#2b8bd6", "o", "M5 1A4 4 0 0 1 5 9A4 4 0 0 1 5 1Z"),
    Mark("#e8772e", "^", "M5 1L9.5 9H.5Z"),
    Mark("#11a08d", "D", "M5 .3L9.7 5L5 9.7L.3 5Z"),
    Mark("#d9472b", "v", "M5 9L.5 1H9.5Z"),
    Mark("#9b6fd0", "P", "M3.5 .8H6.5V3.5H9.2V6.5H6.5V9.2H3.5V6.5H.8V3.5H3.5Z"),
    Mark("#2fb3e0", "X", "M2.8 .8L5 3L7.2 .8L9.2 2.8L7 5L9.2 7.2L7.2 9.2L5 7L2.8 9.2L.8 7.2L3 5L.8 2.8Z"),
    Mark("#e8488a", "*", "M5 .2L6.2 3.7H9.8L6.9 5.9L8 9.5L5 7.3L2 9.5L3.1 5.9L.2 3.7H3.8Z"),
    Mark("#9a9a35", "<", "M1 5L9 .5V9.5Z"),
)


def latency(row: Row) -> float:
    """Milliseconds of a forward pass at batch 1."""
    return row.measured.forward.milliseconds


def parameters(row: Row) -> float:
    """Millions of the whole network."""
    return row.measured.cost.parameters / 1e6


def memory(row: Row) -> float:
    """Activations of a training step, in 10⁶ bytes an image."""
    return row.measured.cost.activation_bytes / 1e6


def front(rows: Sequence[Row], cost: Callable[[Row], float]) -> list[Row]:
    """The Pareto front from the cheapest: those that no other equals in top-1 at the same or a lower cost."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (cost(row), -row.top1.mean)):
        if not best or row.top1.mean > best[-1].top1.mean:
            best.append(row)
    return best


def marks(study: Study) -> dict[Variant, Mark]:
    """Of the plain networks, and of at most eight variants with a module.

    Where there are more, those that are better or worse than plain come first, then those on a Pareto front.
    """
    plain = {row.variant: PLAIN_MARK for row in study.rows if row.variant.plain}
    modules = [row.variant for row in study.rows if row.variant.module != PLAIN]
    if len(modules) > _MOST:
        ranked = sorted(study.rows, key=lambda row: -row.top1.mean)
        claimed = [row for row in ranked if PLAIN in row.differences and row.differences[PLAIN].claimed]
        leading = [row for cost in (latency, parameters, memory) for row in front(ranked, cost)]
        chosen = [row.variant for row in [*claimed, *leading]]
        modules = [variant for variant in dict.fromkeys(chosen) if variant in modules][:_MOST]
    return plain | dict(zip(modules, _MARKS, strict=False))


def shape(variant: Variant) -> str:
    """Of a grey mark: a dot; of a control a cross, upright if widened to the same parameters, else oblique."""
    if not variant.matches:
        return "."
    return "+" if variant.matches.startswith("parameters") else "x"
