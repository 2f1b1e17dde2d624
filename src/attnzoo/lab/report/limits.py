"""How far an axis reaches, so that a few bad networks do not squeeze the others."""

from collections.abc import Sequence
from statistics import quantiles


def usual(values: Sequence[float]) -> tuple[float, float]:
    """The least and greatest of the values that are no further than three interquartile ranges from the quartiles."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    room = 3 * (third - first)
    kept = [value for value in values if first - room <= value <= third + room] if room else values
    return min(kept), max(kept)
