"""Compare modules on one backbone and one data set, fairly: same seeds, same recipe, plain beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attnzoo import checks, registry
from attnzoo.errors import AttnzooError
from attnzoo.lab import environment, latency
from attnzoo.lab.cost import cost
from attnzoo.lab.data import Data, load
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.store import Store
from attnzoo.lab.study import Study, summarise
from attnzoo.lab.train import PLAIN, Epoch, Outcome, Trial, build, train


class Observer:
    """Told how a comparison goes; does nothing by itself."""

    def planned(self, trials: Sequence[Trial], finished: int, epochs: int) -> None:
        """The trials of the study, how many of them were found finished, and the epochs of each."""

    def started(self, trial: Trial) -> None:
        """A trial begins."""

    def epoch(self, trial: Trial, number: int, epoch: Epoch) -> None:
        """An epoch, counted from 1, is over."""

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """A trial is over and saved."""

    def measuring(self) -> None:
        """All trials are there; cost and latency follow."""


def compare(
    names: Sequence[str],
    *,
    out: str | Path,
    backbone: str = "resnet20",
    data: str = "digits",
    at: str = "block",
    recipe: Recipe | None = None,
    seeds: int = 2,
    limit_train: int | None = None,
    limit_test: int | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Study:
    """Train the plain backbone and one variant per module, with every seed, and measure what each costs.

    A finished trial is saved at once under `out`; with the same settings it is not trained again, so that
    an interrupted study continues, and one with more names or seeds extends it. Small images take fewer CPU
    threads than torch offers, which makes them faster on a busy machine and equal on machines of any size.

    Args:
        names: modules that plug in.
        out: the folder of the study.
        backbone: a network as in `attnzoo.lab.backbones`.
        data: images as in `attnzoo.lab.data.load`.
        at: where, by meaning or as a glob, see `attnzoo.insert`.
        recipe: how to train; None is `Recipe()`.
        seeds: how many, counted from 0.
        limit_train, limit_test: use so many images of a split.
        device: where to train and to measure.
        observer: told of the progress.

    Raises:
        AttnzooError: wrong arguments, data or earlier trials, before anything is trained; a loss that is
            no number.
    """
    checks.positive("compare", seeds=seeds)
    recipe, observer, place = recipe or Recipe(), observer or Observer(), environment.device(device)
    variants = _variants(names)
    images = load(data, limit_train=limit_train, limit_test=limit_test)
    trials = [Trial(variant, seed, backbone, at) for variant in variants for seed in range(seeds)]
    with environment.threads(_worthwhile_threads(images, recipe)):
        models = {trial.variant: build(trial, images) for trial in trials if trial.seed == 0}
        store = Store(Path(out), _settings(images, recipe, backbone, at, place.type))
        _train_missing(trials, images.to(place), recipe, place, store, observer)
        observer.measuring()
        costs = {variant: cost(model, images.shape) for variant, model in models.items()}
        latencies = latency.measure(models, images.shape, place)
        records = [record for trial in trials if (record := store.find(trial)) is not None]
        outcomes = tuple(record.outcome for record in records)
        return Study(
            settings=store.settings,
            environment=environment.describe(place),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            outcomes=outcomes,
            made_on=tuple(record.environment for record in records),
            rows=summarise(outcomes, costs, latencies),
        )


def _train_missing(
    trials: Sequence[Trial], images: Data, recipe: Recipe, place: torch.device, store: Store, observer: Observer
) -> None:
    """Train what the store lacks, seed by seed, so that an interrupted study has whole pairs."""
    missing = sorted((trial for trial in trials if store.find(trial) is None), key=lambda trial: trial.seed)
    observer.planned(trials, len(trials) - len(missing), recipe.epochs)
    for trial in missing:
        observer.started(trial)
        outcome = train(trial, images, recipe, place, partial(observer.epoch, trial))
        store.add(outcome, environment.describe(place))
        observer.finished(trial, outcome)


def _worthwhile_threads(images: Data, recipe: Recipe) -> int:
    """A CPU thread for every 16,384 pixels of a batch: less would wait longer for the others than it works."""
    pixels = recipe.batch_size * images.shape[1] * images.shape[2]
    return min(torch.get_num_threads(), max(1, pixels // 16_384))


def _variants(names: Sequence[str]) -> list[str]:
    """Plain and the modules, each once, or AttnzooError where a name is unknown."""
    modules = [name for name in dict.fromkeys(names) if name != PLAIN]
    for name in modules:
        registry.card(name)
    if not modules:
        raise AttnzooError("compare: names is empty; give at least one of attnzoo.names(plug_in=True).")
    return [PLAIN, *modules]


def _settings(images: Data, recipe: Recipe, backbone: str, site: str, device: str) -> dict[str, Any]:
    """All that decides a trial's numbers besides variant and seed, flat."""
    return {
        "backbone": backbone,
        "at": site,
        "data": images.name,
        "shape": list(images.shape),
        "classes": images.classes,
        "train_images": len(images.train.labels),
        "test_images": len(images.test.labels),
        "pixels": images.fingerprint(),
        "device": device,
        **asdict(recipe),
    }
