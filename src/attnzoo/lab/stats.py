"""Means over seeds, with 95% intervals of Student's t."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev
from typing import Final

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95% interval; None where a single value leaves none."""

    mean: float
    half_width: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists, is wider than nothing, and lies on one side of 0."""
        return self.half_width is not None and 0 < self.half_width < abs(self.mean)

    def __format__(self, spec: str) -> str:
        """'98.40 ± 1.27', each number by `spec`; '98.40 ± -' without an interval."""
        mean = format(self.mean, spec)
        if float(mean) == 0:
            mean = format(0.0, spec)  # never '-0.00'
        half = "-" if self.half_width is None else format(self.half_width, spec.lstrip("+"))
        return f"{mean} ± {half}"


def quantile(count: int) -> float:
    """By how much Student's t stretches the standard error of `count` values, at least 2."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1))


def interval(values: Sequence[float]) -> Interval:
    """The mean of one or more values and its interval, t * s / sqrt(n)."""
    count = len(values)
    if count < 2:
        return Interval(mean(values), None)
    return Interval(mean(values), quantile(count) * stdev(values) / math.sqrt(count))


def sampling_error(percent: float, count: int) -> float:
    """Half the 95% interval, in points, of a share measured on `count` cases, by Agresti and Coull."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = (percent / 100 * count + z**2 / 2) / (count + z**2)
    return 100 * z * math.sqrt(share * (1 - share) / (count + z**2))


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Interval:
    """The mean of value minus baseline over the seeds (the keys, the same in both), and its interval."""
    return interval([values[seed] - baseline[seed] for seed in sorted(values)])
