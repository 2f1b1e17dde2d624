"""The trials that a study lacks, trained in an order in which an interruption costs least."""

from collections.abc import Sequence
from dataclasses import replace

from attnzoo.lab.engines import Engine, Failed, Task
from attnzoo.lab.layout import model_file
from attnzoo.lab.observer import Observer
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.store import Store, epochs_of
from attnzoo.lab.study import base
from attnzoo.lab.trial import Trial


def train_missing(
    trials: Sequence[Trial],
    recipe: Recipe,
    engine: Engine,
    store: Store,
    observer: Observer,
) -> list[Failed]:
    """Train what the store lacks, seed by seed, so that an interrupted study has whole pairs; first what others need.

    Returns:
        The trials that failed, and those whose start did.
    """
    missing = [trial for trial in trials if store.find(trial) is None]
    needed = {_base(trial) for trial in missing if trial.variant.start == "trained"}
    again = [trial for trial in needed - set(missing) if not model_file(store.out, trial).exists()]
    bases = [trial for trial in trials if trial in needed and (trial in missing or trial in again)]
    others = [trial for trial in missing if trial not in bases]
    epochs = {trial: epochs_of(trial.variant, store.settings) for trial in trials}
    observer.planned(epochs, set(trials).difference(bases, others))
    failed: dict[Trial, Failed] = {}
    for group in (bases, others):
        tasks = []
        for trial in sorted(group, key=lambda trial: trial.seed):
            if trial.variant.start == "trained" and _base(trial) in failed:
                failed[trial] = Failed(trial, f"{_base(trial)}, from which it starts, failed")
                observer.failed(trial, failed[trial].reason)
            else:
                tasks.append(_task(trial, recipe, store))
        for told in engine.run(tasks, observer):
            if isinstance(told, Failed):
                failed[told.trial] = told
                observer.failed(told.trial, told.reason)
            else:
                store.add(told.outcome, told.environment)
                observer.finished(told.outcome.trial, told.outcome)
    return list(failed.values())


def _task(trial: Trial, recipe: Recipe, store: Store) -> Task:
    """The trial with its share of the epochs, and the model file that it starts from."""
    start = model_file(store.out, _base(trial)).resolve() if trial.variant.start == "trained" else None
    return Task(trial, replace(recipe, epochs=epochs_of(trial.variant, store.settings)), start)


def _base(trial: Trial) -> Trial:
    return Trial(base(trial.variant), trial.seed)
