"""Means over seeds with 95% intervals, and paired t-tests of differences, corrected by Holm for their number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, mean, stdev
from typing import Final

LEVEL: Final = 0.05  # the chance of a false alarm that a claim may have; intervals hold 1 - LEVEL
_NO_SPREAD: Final = 1e-9  # of percentages: what is left of equal differences after rounding


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95% interval; None where a single value leaves none."""

    mean: float
    half_width: float | None

    def __format__(self, spec: str) -> str:
        """'98.40 ± 1.27', each number by `spec`; '98.40 ± -' without an interval."""
        mean = format(self.mean, spec)
        if float(mean) == 0:
            mean = format(0.0, spec)  # never '-0.00'
        half = "-" if self.half_width is None else format(self.half_width, spec.lstrip("+"))
        return f"{mean} ± {half}"


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds, and whether it can be chance.

    Attributes:
        interval: the mean of the paired differences, and its own 95% interval.
        seeds: how many pairs.
        p: of the two-sided paired t-test; None for one pair, or for pairs that all differ by the same.
        corrected: p after Holm's correction; None where p is.
        family: over how many differences it was corrected.
    """

    interval: Interval
    seeds: int
    p: float | None
    corrected: float | None = None
    family: int = 1

    @property
    def claimed(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.corrected is not None and self.corrected < LEVEL

    @property
    def verdict(self) -> str:
        """'better' or 'worse' where the difference is claimed, 'no evidence' everywhere else."""
        if not self.claimed:
            return "no evidence"
        return "better" if self.interval.mean > 0 else "worse"


def quantile(count: int, tests: int = 1) -> float:
    """How many standard errors a mean of `count` values, at least 2, must exceed to be no chance in any of `tests`."""
    from scipy.stats import t

    return float(t.isf(LEVEL / 2 / tests, count - 1))


def interval(values: Sequence[float]) -> Interval:
    """The mean of one or more values and its interval, t * s / sqrt(n)."""
    count = len(values)
    if count < 2:
        return Interval(mean(values), None)
    return Interval(mean(values), quantile(count) * stdev(values) / math.sqrt(count))


def difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Value minus baseline, paired over the seeds (the keys) that both have; None if they share none."""
    pairs = [values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())]
    return Difference(interval(pairs), len(pairs), p_value(pairs)) if pairs else None


def p_value(values: Sequence[float]) -> float | None:
    """How likely a mean at least so far from 0 is by chance, by Student's t; None where the values have no spread."""
    from scipy.stats import t

    if len(values) < 2 or stdev(values) < _NO_SPREAD:
        return None
    statistic = abs(mean(values)) / (stdev(values) / math.sqrt(len(values)))
    return float(2 * t.sf(statistic, len(values) - 1))


def holm(p: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the order given: step-down, after Holm (1979)."""
    corrected, floor = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        floor = max(floor, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = floor
    return corrected


def correct(family: Sequence[Difference]) -> list[Difference]:
    """The differences with Holm's correction over all of them; one without a p counts as if its p were 1."""
    corrected = holm([1.0 if one.p is None else one.p for one in family])
    return [
        replace(one, corrected=None if one.p is None else p, family=len(family))
        for one, p in zip(family, corrected, strict=True)
    ]


def sampling_error(percent: float, count: int) -> float:
    """Half the 95% interval, in points, of a share measured on `count` cases, by Agresti and Coull."""
    z = NormalDist().inv_cdf(1 - LEVEL / 2)
    share = (percent / 100 * count + z**2 / 2) / (count + z**2)
    return 100 * z * math.sqrt(share * (1 - share) / (count + z**2))
