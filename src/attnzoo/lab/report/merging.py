"""Several studies as one leaderboard: what may be compared is merged, what may not is told apart by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from attnzoo.lab import words
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.study import MISSING, Measured, Study, summarise
from attnzoo.lab.trial import Outcome, Trial, Variant

_MOST: Final = 4  # settings that a name holds


def merge(folders: Mapping[str, Study]) -> dict[str, Study]:
    """The studies of some folders, those of the same settings and device as one, by names that tell them apart.

    A trial that two folders hold counts once, as in the first; where its numbers differ, a note says so.
    Costs, latencies and controls are those of the first folder that has them. On CPUs, whose speed changes from run to
    run, times from a later folder are their ratios to the plain network beside them, times what that takes in the
    first; a note says so.
    """
    groups: dict[str, dict[str, Study]] = {}
    for folder, study in folders.items():
        key = json.dumps([study.settings, study.environment.get("device")], sort_keys=True)
        groups.setdefault(key, {})[folder] = study
    studies = [_join(group) for group in groups.values()]
    return dict(zip(_names(studies), studies, strict=True))


def _join(group: Mapping[str, Study]) -> Study:
    outcomes: dict[Trial, tuple[Outcome, Mapping[str, str], str]] = {}
    measured: dict[Variant, Measured] = {}
    earlier: dict[str, tuple[str, Measured]] = {}  # of a backbone the first folder with its plain network, and that
    controls: dict[Variant, Mapping[str, Variant]] = {}
    reached: dict[Variant, Mapping[str, float]] = {}
    notes = dict.fromkeys(note for study in group.values() for note in study.notes)
    for folder, study in group.items():
        for outcome, made_on in zip(study.outcomes, study.made_on, strict=True):
            first, _, where = outcomes.setdefault(outcome.trial, (outcome, made_on, folder))
            if _scores(first) != _scores(outcome):
                text = f"{outcome.trial}: top-1 {first.top1:.2f}% in {where}, {outcome.top1:.2f}% in {folder}"
                notes[f"{text}; the first counts, though settings and device are the same."] = None
        new = {row.variant: row.measured for row in study.rows if row.variant not in measured}
        known_plain = earlier if study.settings["device"] == "cpu" else {}
        for variant, costs in new.items():
            place, plain = known_plain.get(variant.backbone, (folder, None))
            measured[variant] = _beside(costs, plain) if plain else costs
            if plain:
                note = f"Times of {folder} are ratios to its own plain network, times what that takes in {place}."
                notes[note] = None
        earlier |= {v.backbone: (folder, costs) for v, costs in new.items() if v == Variant(backbone=v.backbone)}
        for row in study.rows:
            controls[row.variant] = {**row.controls, **controls.get(row.variant, {})}
            reached[row.variant] = {**row.reached, **reached.get(row.variant, {})}
    found = [MISSING.format(trial) for study in group.values() for trial in study.failed if trial in outcomes]
    notes = {note: None for note in notes if not note.startswith(tuple(f"{text} (" for text in found))}
    first_study = next(iter(group.values()))
    trials = list(outcomes.values())
    failed = tuple(dict.fromkeys(t for study in group.values() for t in study.failed if t not in outcomes))
    return Study(
        settings=first_study.settings,
        environment=first_study.environment,
        date=max(study.date for study in group.values()),
        outcomes=tuple(outcome for outcome, _, _ in trials),
        made_on=tuple(made_on for _, made_on, _ in trials),
        rows=summarise([outcome for outcome, _, _ in trials], measured, controls, reached, failed),
        notes=tuple(notes),
        failed=failed,
    )


def _beside(found: Measured, plain: Measured) -> Measured:
    """The same with times as on the machine that measured `plain`, as far as their ratios tell."""

    def scaled(one: Latency | None, other: Latency | None) -> Latency | None:
        if one is None or other is None:
            return one
        factor = one.ratio * other.milliseconds / one.milliseconds
        low, high = one.quartiles
        return replace(one, milliseconds=factor * one.milliseconds, quartiles=(factor * low, factor * high))

    forward = scaled(found.forward, plain.forward) or found.forward
    return replace(found, forward=forward, batch=scaled(found.batch, plain.batch), step=scaled(found.step, plain.step))


def _scores(outcome: Outcome) -> list[tuple[float, float, float | None]]:
    """What the same trial must give again on the same device."""
    return [(epoch.train_loss, epoch.top1, epoch.top5) for epoch in outcome.epochs]


def _names(studies: Sequence[Study]) -> list[str]:
    """'resnet20 on digits', with the settings that tell it from others of that name; each its own."""
    names: list[str] = []
    for study in studies:
        namesakes = [_facts(other) for other in studies if words.title(other) == words.title(study)]
        differing = [
            f"{key}={value}"
            for key, value in _facts(study).items()
            if any(key not in other or other[key] != value for other in namesakes)
        ]
        name = ", ".join([words.title(study), *differing[:_MOST], *(["…"] if len(differing) > _MOST else [])])
        number = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({number + 1})" if number else name)
    return names


def _facts(study: Study) -> dict[str, Any]:
    """What may tell two studies apart, but for the pixels' fingerprint, which says nothing to a reader."""
    facts = {key: value for key, value in study.settings.items() if key != "pixels"}
    return {**facts, "device": study.environment.get("device", facts["device"])}
