"""What a comparison found: its trials, and one row of a table per variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final

from attnzoo.lab.cost import Cost
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.stats import Difference, Interval, correct, difference, interval
from attnzoo.lab.trial import PLAIN, Epoch, Outcome, Trial, Variant

KINDS: Final = (PLAIN, "parameters", "latency", "scratch")  # what a variant may be compared with, see Row.differences
CONTROLS: Final = ("parameters", "latency")
FAR: Final = 0.9  # of a module's parameters or latency: a control that has less does not equal it
MISSING: Final = "Failed, and so missing here: {}"  # begins a note about a trial


@dataclass(frozen=True)
class Measured:
    """What a variant's network costs, on the device of the study; ratios are to the plain network of its backbone.

    Attributes:
        cost: for one image.
        forward: of one image.
        batch: of a forward pass of a training batch; None where it was not measured.
        step: of a training step; None where it was not measured.
        peak: operations a second that the device promises in the study's precision; None where that is not known.
    """

    cost: Cost
    forward: Latency
    batch: Latency | None = None
    step: Latency | None = None
    peak: float | None = None

    @property
    def used(self) -> float | None:
        """The share of the peak that training steps use: two operations a multiply-add, three passes as long as one."""
        if self.step is None or self.peak is None:
            return None
        return 6 * self.cost.macs * self.step.images_per_second / self.peak


@dataclass(frozen=True)
class Row:
    """One variant over all its seeds.

    Attributes:
        variant: what was trained.
        label: its name in this study, which says only what varies in it.
        seeds: those that were trained to the end.
        top1: after the last epoch, in percent.
        top5: the same; None where it was not measured.
        differences: of top1, in points, paired by seed, to PLAIN (the plain network of the same backbone and start),
            "parameters" and "latency" (its controls), "scratch" (the same trained from scratch); those there are.
        measured: what the network costs.
        controls: the plain networks widened to equal it in "parameters" or "latency"; may be the plain network itself.
        train_seconds: training time of a trial with all it starts from, testing excluded: its epochs times the median
            epoch of all seeds, which neither a cold start nor a busy moment moves.
        joules: that the device drew in an epoch, median; None where it does not say.
        reached: of each of the controls, its parameters or latency over the module's, as measured when it was chosen.
        failed: seeds that were not trained to the end.
    """

    variant: Variant
    label: str
    seeds: tuple[int, ...]
    top1: Interval
    top5: Interval | None
    differences: Mapping[str, Difference]
    measured: Measured
    controls: Mapping[str, Variant]
    train_seconds: float
    joules: float | None
    reached: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[int, ...] = ()

    @property
    def failures(self) -> str:
        """'failed 1 of 3', or "" where none did."""
        return f"failed {len(self.failed)} of {len(self.failed) + len(self.seeds)}" if self.failed else ""

    def untested(self, kind: str) -> str:
        """Why a difference is shown but not tested: it would favour what lost seeds, or what costs more; or ""."""
        if self.failed:
            return self.failures
        return f"at ×{self.reached[kind]:.2f} only" if self.reached.get(kind, 1.0) < FAR else ""


@dataclass(frozen=True)
class Study:
    """A finished comparison.

    Attributes:
        settings: everything that decides the numbers, as recorded with each trial.
        environment: what the latencies were measured on; `made_on` of a trial says where it was trained.
        date: when it was finished, ISO 8601 in UTC.
        outcomes: the trials, by variant, then by seed; with those that others start from.
        made_on: the environment of each outcome, in the same order.
        rows: one a variant, but for those that others start from.
        notes: what a reader must know besides, a sentence each: what was left out and why.
        failed: trials that could not be finished; `notes` tell why.
    """

    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    date: str
    outcomes: tuple[Outcome, ...]
    made_on: tuple[Mapping[str, str], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    failed: tuple[Trial, ...] = ()

    @property
    def seeds(self) -> int:
        """The most seeds that a variant was trained with."""
        return max(len(row.seeds) for row in self.rows)

    @property
    def backbones(self) -> tuple[str, ...]:
        """Each once, in the order of rows."""
        return tuple(dict.fromkeys(row.variant.backbone for row in self.rows))

    @property
    def lost(self) -> dict[str, int]:
        """Variants of which no seed was trained to the end, by label, and how many failed."""
        kept = [row.variant for row in self.rows]
        gone = [t.variant for t in self.failed if t.variant not in kept and t.variant.start != "base"]
        names = labels([*kept, *dict.fromkeys(gone)])
        return {names[variant]: gone.count(variant) for variant in gone}

    def of(self, variant: Variant | None) -> tuple[Outcome, ...]:
        """The trials of one variant, by seed; none of None."""
        return tuple(outcome for outcome in self.outcomes if outcome.trial.variant == variant)

    def differences(self, kind: str) -> list[Difference]:
        """All differences of a kind, see Row, in the order of rows."""
        return [row.differences[kind] for row in self.rows if kind in row.differences]


def summarise(
    outcomes: Sequence[Outcome],
    measured: Mapping[Variant, Measured],
    controls: Mapping[Variant, Mapping[str, Variant]] | None = None,
    reached: Mapping[Variant, Mapping[str, float]] | None = None,
    failed: Sequence[Trial] = (),
) -> tuple[Row, ...]:
    """One row per variant that has trials, in the order of `measured`; what others start from ("base") has none.

    Args:
        outcomes: finished trials; a difference pairs the seeds that both sides have.
        measured: of every variant that is to be a row.
        controls: of a module's variant, its controls by what they equal, see Row.
        reached: how nearly they do.
        failed: trials that could not be finished.
    """
    trained: dict[Variant, dict[int, Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.trial.seed):
        trained.setdefault(outcome.trial.variant, {})[outcome.trial.seed] = outcome
    variants = [variant for variant in measured if variant in trained and variant.start != "base"]
    names, controls, reached = labels(variants), controls or {}, reached or {}
    rows = tuple(
        Row(
            variant=variant,
            label=names[variant],
            seeds=tuple(trained[variant]),
            top1=interval([outcome.top1 for outcome in trained[variant].values()]),
            top5=_top5(list(trained[variant].values())),
            differences={},
            measured=measured[variant],
            controls=controls.get(variant, {}),
            train_seconds=sum(_train_seconds(list(trained[stage].values())) for stage in _stages(variant, trained)),
            joules=_joules(list(trained[variant].values())),
            reached=reached.get(variant, {}),
            failed=tuple(sorted(trial.seed for trial in failed if trial.variant == variant)),
        )
        for variant in variants
    )
    found = _differences(rows, trained)
    return tuple(replace(row, differences=found[row.variant]) for row in rows)


def labels(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Short names, each its own, that say only what varies: 'se', 'resnet56: se @ stage (from trained)'."""
    backbones = {variant.backbone for variant in variants}
    places = {variant.at for variant in variants if variant.at}
    starts = {variant.start for variant in variants}
    names: dict[Variant, str] = {}
    for variant in variants:
        name = f"wider ({variant.matches})" if variant.matches else variant.module
        name = f"{variant.backbone}: {name}" if len(backbones) > 1 else name
        name += f" @ {variant.at}" if variant.at and len(places) > 1 else ""
        name += " (from trained)" if variant.start == "trained" and len(starts) > 1 else ""
        if name in names.values():
            name += " " + ", ".join(f"{narrow}→{wide}" for narrow, wide in variant.widths)
        names[variant] = name
    return names


def opposite(variant: Variant, kind: str, controls: Mapping[str, Variant]) -> Variant | None:
    """What a variant with these controls is compared with, or None for a kind that does not concern it."""
    if kind == PLAIN:
        return None if variant.plain else Variant(backbone=variant.backbone, start=variant.start)
    if kind == "scratch":
        return replace(variant, start="scratch") if variant.start == "trained" else None
    return controls.get(kind)


def family(variant: Variant) -> tuple[str, bool]:
    """What a variant is corrected with: modules from scratch, modules in trained networks, and widened networks.

    Each of them is a question of its own: a control added to a study takes no module's finding away.
    """
    return variant.start, bool(variant.widths)


def base(variant: Variant) -> Variant:
    """The plain network whose trained weights a variant may start from."""
    return Variant(backbone=variant.backbone, start="base")


def _differences(
    rows: Sequence[Row], trained: Mapping[Variant, Mapping[int, Outcome]]
) -> dict[Variant, dict[str, Difference]]:
    """By variant and kind, Holm-corrected over the differences of a kind in each family; see `Row.untested`."""
    found: dict[Variant, dict[str, Difference]] = {row.variant: {} for row in rows}
    for kind in KINDS:
        families: dict[tuple[str, bool], dict[Variant, Difference]] = {}
        for row in rows:
            other = opposite(row.variant, kind, row.controls)
            one = difference(_top1(trained[row.variant]), _top1(trained.get(other, {}))) if other else None
            if one is not None and row.untested(kind):
                found[row.variant][kind] = replace(one, p=None)
            elif one is not None:
                families.setdefault(family(row.variant), {})[row.variant] = one
        for members in families.values():
            for variant, one in zip(members, correct(list(members.values())), strict=True):
                found[variant][kind] = one
    return found


def _stages(variant: Variant, trained: Mapping[Variant, Any]) -> list[Variant]:
    """What the variant starts from, where that was trained, and the variant."""
    return [base(variant), variant] if variant.start == "trained" and base(variant) in trained else [variant]


def _top1(outcomes: Mapping[int, Outcome]) -> dict[int, float]:
    return {seed: outcome.top1 for seed, outcome in outcomes.items()}


def _top5(outcomes: Sequence[Outcome]) -> Interval | None:
    values = [outcome.top5 for outcome in outcomes if outcome.top5 is not None]
    return interval(values) if len(values) == len(outcomes) else None


def _epochs(outcomes: Sequence[Outcome]) -> list[Epoch]:
    return [epoch for outcome in outcomes for epoch in outcome.epochs]


def _train_seconds(outcomes: Sequence[Outcome]) -> float:
    return len(outcomes[0].epochs) * median(epoch.seconds for epoch in _epochs(outcomes))


def _joules(outcomes: Sequence[Outcome]) -> float | None:
    values = [epoch.joules for epoch in _epochs(outcomes)]
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None
