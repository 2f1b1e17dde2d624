"""The columns of a study's table, the same on the terminal, on a page and in a paper."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from attnzoo.lab import words
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.study import Row
from attnzoo.lab.trial import PLAIN

TOP1: Final = "top-1 %"
HEADINGS: Final = {
    PLAIN: "to plain",
    "parameters": "to same params",
    "latency": "to same latency",
    "scratch": "to scratch",
}
_MARKS: Final = {"better": " ↑", "worse": " ↓", "no evidence": ""}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: short, with the unit.
        meaning: a sentence.
        text: of a row, for people; "" where there is nothing.
        number: of a row, to sort by; None where there is none.
        rank: 1 for what no table leaves out, up to 4 for what only a wide one has.
        kind: of a difference, see `Row.differences`; "" of others.
    """

    heading: str
    meaning: str
    text: Callable[[Row], str]
    number: Callable[[Row], float | None]
    rank: int
    kind: str = ""


def columns(rows: Iterable[Row]) -> list[Column]:
    """Those in which any of the rows has a number; the label stands before them."""
    rows = list(rows)
    return [column for column in _COLUMNS if any(column.number(row) is not None for row in rows)]


def lost(number: int, shown: Iterable[Column]) -> list[str]:
    """The cells of a variant whose `number` trials all failed."""
    return [f"failed {number} of {number}" if column.heading == TOP1 else "" for column in shown]


def reached(row: Row, kind: str) -> str:
    """'at ×0.97': the latency of the widened network over the row's, where that is what they are equal in."""
    return f"at ×{row.reached[kind]:.2f}" if kind == "latency" and kind in row.reached else ""


def verdict(row: Row, kind: str) -> str:
    """'better, p 0.003', 'worse, p 0.03', 'no evidence', "" where there is no difference."""
    if kind not in row.differences:
        return ""
    found = row.differences[kind]
    if why := row.untested(kind):
        return f"not tested, {why}"
    said = [found.verdict]
    if found.corrected is not None and found.verdict != "no evidence":
        said.append("p < 0.001" if found.corrected < 0.001 else f"p {found.corrected:.3f}")
    return ", ".join([*said, *filter(None, [reached(row, kind)])])


def _difference(kind: str) -> Column:
    def text(row: Row) -> str:
        if kind not in row.differences:
            return ""
        found = row.differences[kind]
        how = row.untested(kind) or reached(row, kind)
        return f"{found.interval:+.2f}{_MARKS[found.verdict]}" + (f" ({how})" if how else "")

    def number(row: Row) -> float | None:
        return row.differences[kind].interval.mean if kind in row.differences else None

    meaning = (
        f"Points of top-1 above {words.OPPONENTS[kind]}, paired by seed, mean ± 95% interval; "
        "↑ better, ↓ worse, where the corrected p is below 0.05."
    )
    return Column(HEADINGS[kind], meaning, text, number, 1, kind)


def _counted(heading: str, meaning: str, number: Callable[[Row], float | None], rank: int) -> Column:
    def text(row: Row) -> str:
        value = number(row)
        return "" if value is None else words.count(value)

    return Column(heading, meaning, text, number, rank)


def _latency(heading: str, meaning: str, of: Callable[[Row], Latency | None], rank: int) -> list[Column]:
    """The median, and the interquartile range."""

    def median(row: Row) -> float | None:
        found = of(row)
        return found.milliseconds if found else None

    def spread(row: Row) -> float | None:
        found = of(row)
        return found.quartiles[1] - found.quartiles[0] if found else None

    def text(row: Row) -> str:
        found = of(row)
        return f"{found.milliseconds:.2f} (×{found.ratio:.2f})" if found else ""

    def spread_text(row: Row) -> str:
        value = spread(row)
        return "" if value is None else f"{value:.2f}"

    return [
        Column(f"{heading} ms", f"{meaning}, median; in brackets its ratio to plain.", text, median, rank),
        Column(f"{heading} IQR", "Interquartile range of that, in ms.", spread_text, spread, 4),
    ]


def _images_a_second(of: Callable[[Row], Latency | None]) -> Callable[[Row], float | None]:
    def rate(row: Row) -> float | None:
        found = of(row)
        return found.images_per_second if found else None

    return rate


_COLUMNS: Final = (
    Column("seeds", "Trainings of the variant.", lambda row: str(len(row.seeds)), lambda row: len(row.seeds), 4),
    Column(
        TOP1,
        "After the last epoch, mean ± 95% interval over seeds.",
        lambda row: f"{row.top1:.2f}" + (f" ({row.failures})" if row.failed else ""),
        lambda row: row.top1.mean,
        1,
    ),
    Column(
        "top-5 %",
        "The right class among the five likeliest, mean ± 95% interval.",
        lambda row: f"{row.top5:.2f}" if row.top5 else "",
        lambda row: row.top5.mean if row.top5 else None,
        3,
    ),
    *map(_difference, HEADINGS),
    Column(
        "parameters",
        "Of the whole network.",
        lambda row: f"{row.measured.cost.parameters:,}",
        lambda row: row.measured.cost.parameters,
        2,
    ),
    _counted("MACs", "Multiply-adds for one image, attention's included.", lambda row: row.measured.cost.macs, 3),
    Column(
        "memory MB",
        "Activations that a training step keeps for each image, in 10⁶ bytes, counted as float32 in every precision.",
        lambda row: f"{row.measured.cost.activation_bytes / 1e6:.2f}",
        lambda row: row.measured.cost.activation_bytes,
        3,
    ),
    *_latency("latency", "A forward pass at batch 1 (on a CPU in one thread)", lambda row: row.measured.forward, 2),
    *_latency("step", "A training step at the recipe's batch", lambda row: row.measured.step, 3),
    _counted("train img/s", "Images a second in such steps.", _images_a_second(lambda row: row.measured.step), 4),
    _counted(
        "infer img/s",
        "Images a second in forward passes at the recipe's batch.",
        _images_a_second(lambda row: row.measured.batch),
        4,
    ),
    Column(
        "of peak %",
        "Share of the device's peak arithmetic that training steps use: 6 operations a multiply-add.",
        lambda row: f"{100 * row.measured.used:.1f}" if row.measured.used else "",
        lambda row: row.measured.used,
        4,
    ),
    _counted("J/epoch", "Energy of a training epoch as the device reports it, median.", lambda row: row.joules, 4),
    Column(
        "training",
        "One trial with all it starts from: its epochs times the median epoch, testing excluded.",
        lambda row: words.duration(row.train_seconds),
        lambda row: row.train_seconds,
        3,
    ),
)
