"""What a comparison found: its trials, and one row of a table per variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from attnzoo.lab.cost import Cost
from attnzoo.lab.latency import Latency
from attnzoo.lab.stats import Interval, interval, paired_difference
from attnzoo.lab.train import PLAIN, Epoch, Outcome


@dataclass(frozen=True)
class Row:
    """One variant over all seeds.

    Attributes:
        variant: the module's name, or `plain`.
        top1: after the last epoch, in percent.
        difference: of top1 to plain, in points, paired by seed; None for plain itself.
        cost: of the network for one image.
        latency: of one forward pass at batch 1, its ratio to plain.
        train_seconds: training time of a trial, testing excluded: its epochs times the median epoch of all seeds,
            which neither a cold start nor a busy moment moves.
    """

    variant: str
    top1: Interval
    difference: Interval | None
    cost: Cost
    latency: Latency
    train_seconds: float


@dataclass(frozen=True)
class Study:
    """A finished comparison.

    Attributes:
        settings: everything that decides the numbers, as recorded with each trial.
        environment: what the latencies were measured on; `made_on` of a trial says where it was trained.
        date: when it was finished, ISO 8601 in UTC.
        outcomes: the trials, by variant in the order of rows, then by seed.
        made_on: the environment of each outcome, in the same order.
        rows: plain first.
    """

    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    date: str
    outcomes: tuple[Outcome, ...]
    made_on: tuple[Mapping[str, str], ...]
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> int:
        """How many seeds every variant was trained with."""
        return len(self.outcomes) // len(self.rows)

    def of(self, variant: str) -> tuple[Outcome, ...]:
        """The trials of one variant, by seed."""
        return tuple(outcome for outcome in self.outcomes if outcome.variant == variant)


def summarise(
    outcomes: Sequence[Outcome], costs: Mapping[str, Cost], latencies: Mapping[str, Latency]
) -> tuple[Row, ...]:
    """One row per variant, in the order of `costs`; every variant has the same seeds, one of them is plain."""
    top1 = {
        variant: {outcome.seed: outcome.top1 for outcome in outcomes if outcome.variant == variant} for variant in costs
    }
    return tuple(
        Row(
            variant=variant,
            top1=interval(list(top1[variant].values())),
            difference=None if variant == PLAIN else paired_difference(top1[variant], top1[PLAIN]),
            cost=cost,
            latency=latencies[variant],
            train_seconds=_train_seconds([o.epochs for o in outcomes if o.variant == variant]),
        )
        for variant, cost in costs.items()
    )


def _train_seconds(runs: Sequence[Sequence[Epoch]]) -> float:
    return len(runs[0]) * median(epoch.seconds for epochs in runs for epoch in epochs)
