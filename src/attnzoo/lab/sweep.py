"""Compare modules on backbones and a data set, fairly: same seeds, same recipe, plain networks beside them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.lab import engines, environment
from attnzoo.lab.assessment import dtype_of, measure
from attnzoo.lab.checkpoint import SET_ASIDE
from attnzoo.lab.controls import Control, Controls, notes
from attnzoo.lab.data import Data, load
from attnzoo.lab.engines import Engine, Failed, Shared
from attnzoo.lab.files import write_atomically
from attnzoo.lab.measure.site import Site
from attnzoo.lab.missing import train_missing
from attnzoo.lab.observer import Observer as Observer
from attnzoo.lab.placing import gated
from attnzoo.lab.planning import Plan, plan
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.store import Store
from attnzoo.lab.study import MISSING, Study, summarise
from attnzoo.lab.train import METHOD, Run
from attnzoo.lab.trial import PLAIN, Trial, Variant

_Fact = TypeVar("_Fact")
_BROKEN: Final = "broken.txt"  # in a study's folder: which images were left out, and why


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
    image_size: int | None = None,
    skip_broken: bool = False,
    skip_unfit: bool = False,
    controls: bool = False,
    from_trained: bool = False,
    trained_epochs: int | None = None,
    run: Run | None = None,
    engine: str = "serial",
    address: str | None = None,
    workers: int | None = None,
    observer: Observer | None = None,
) -> Study:
    """Train plain backbones and every module in them, with every seed, and measure what each costs.

    A finished trial is saved at once under `out`; with the same settings it is not trained again, so that
    an interrupted study continues, and one with other names, places, backbones or seeds extends it: the folder is
    the study, and all that was finished in it is reported. A trial that
    fails, by a loss that is no number for instance, is told to the observer and in `Study.failed`; the others go on.
    Small images take fewer CPU threads than torch offers, which makes them faster on a busy machine and equal on
    machines of any size.

    Args:
        names: modules that plug in, with arguments where wanted, "se(reduction=8)"; "all" of them.
        out: the folder of the study.
        backbone: networks as in `attnzoo.lab.backbones`, with commas between them.
        data: images as in `attnzoo.lab.data.load`.
        at: where, by meaning or as globs, see `attnzoo.insert`, with commas between them: each is compared.
        recipe: how to train; None is `Recipe()`.
        seeds: how many, counted from 0.
        limit_train, limit_test, image_size, skip_broken: see `attnzoo.lab.data.load`.
        skip_unfit: leave out modules that do not fit somewhere, and say so, instead of refusing.
        controls: also train the plain backbone widened to the parameters of each module's network, and to its
            latency.
        from_trained: also put each module into a plain network that was trained for `trained_epochs`, as the identity,
            and train it for the rest of the epochs.
        trained_epochs: None is half of the recipe's.
        run: where and how a trial is computed; None is `Run()`, a CPU.
        engine: `serial`, or `ray` for trials at once.
        address, workers: of Ray, see `attnzoo.lab.engines.choose`.
        observer: told of the progress.

    Raises:
        AttnzooError: wrong arguments, data or earlier trials, before anything is trained; no trial could be finished.
    """
    checks.positive("compare", seeds=seeds)
    recipe, observer, out = recipe or Recipe(), observer or Observer(), Path(out)
    run = run or Run()
    if engine == engines.SERIAL:
        environment.device(run.device)  # before the images are read
    before = _trained_epochs(recipe, trained_epochs, from_trained)
    images = load(data, limit_train=limit_train, limit_test=limit_test, image_size=image_size, skip_broken=skip_broken)
    with environment.threads(_worthwhile_threads(images, recipe)):
        planned = plan(
            names, backbone.split(","), at.split(","), images.shape, images.classes, from_trained, skip_unfit
        )
        shared = Shared(images, run, out, torch.get_num_threads())
        with engines.choose(engine, shared, address, workers) as opened:
            return _compare(planned, shared, recipe, opened, observer, seeds, controls, before)


def _compare(
    planned: Plan,
    shared: Shared,
    recipe: Recipe,
    engine: Engine,
    observer: Observer,
    seeds: int,
    controls: bool,
    before: int,
) -> Study:
    """Train and measure on an engine that is open."""
    images, out = shared.data, shared.folder
    engine.call(environment.device, shared.run.device)
    run = engine.call(shared.run.chosen, recipe)
    place = torch.device(run.device)
    batch = min(recipe.batch_size, len(images.train.labels))
    timed = 1 if place.type == "cpu" else batch  # images of a pass for controls: one leaves a GPU idle
    site = Site(images.shape, images.classes, place, timed, dtype_of(run.precision), recipe.channels_last)
    with Store(out, _settings(images, recipe, run, before)) as store:
        known = Controls(out / "controls.json", site, store.settings, engine.call)
        rows = list(planned.rows)
        if controls:
            found = known.of(planned.parameters, lambda variant: observer.matching(str(variant)))
            rows = list(dict.fromkeys([*rows, *(control.variant for control in found)]))
        trials = [Trial(variant, seed) for variant in [*planned.bases, *rows] for seed in range(seeds)]
        failed = train_missing(trials, recipe, engine, store, observer)
        observer.measuring()
        records = store.sorted([*planned.bases, *rows])
        rows = list(dict.fromkeys(v for record in records if (v := record.outcome.trial.variant).start != "base"))
        if not rows:
            raise AttnzooError(
                "compare: no trial could be finished. " + " | ".join(f"{one.trial}: {one.reason}" for one in failed)
            )
        beside = [control for control in known if control.module in rows]
        outcomes, lost = tuple(record.outcome for record in records), tuple(one.trial for one in failed)
        return Study(
            settings=store.settings,
            environment=engine.call(environment.describe, place),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            outcomes=outcomes,
            made_on=tuple(record.environment for record in records),
            rows=summarise(
                outcomes,
                engine.call(measure, rows, site, batch, run.compile),
                _by_module(beside, lambda control: control.variant),
                _by_module(beside, lambda control: control.reached),
                lost,
            ),
            notes=(*_notes(planned, rows, images, failed, out), *_deaths(engine.deaths), *notes(beside, timed)),
            failed=lost,
        )


def _trained_epochs(recipe: Recipe, wanted: int | None, used: bool) -> int:
    """How many of the epochs come before a module is put into a trained network."""
    checks.only_with("compare", used or wanted is None, "trained_epochs", "from_trained")
    epochs = recipe.epochs // 2 if wanted is None else wanted
    if used and not 0 < epochs < recipe.epochs:
        raise AttnzooError(
            f"compare: trained_epochs={epochs} leaves no epochs on both sides of {recipe.epochs} in all; "
            "choose more epochs, or fewer before."
        )
    return epochs


def _by_module(controls: Sequence[Control], what: Callable[[Control], _Fact]) -> dict[Variant, dict[str, _Fact]]:
    found: dict[Variant, dict[str, _Fact]] = {}
    for control in controls:
        found.setdefault(control.module, {})[control.kind] = what(control)
    return found


def _notes(planned: Plan, rows: Sequence[Variant], images: Data, failed: Sequence[Failed], out: Path) -> list[str]:
    """What was left out, done again or done otherwise, and why."""
    found = [f"{MISSING.format(one.trial)} ({one.reason.rstrip('.')})." for one in failed]
    found += [f"Left out: {variant} ({reason.rstrip('.')})." for variant, reason in planned.misfits.items()]
    modules = (variant for variant in rows if variant.module != PLAIN and variant.start == "scratch")
    summed = dict.fromkeys(variant.module for variant in modules if gated(variant))
    if summed:
        found.append(
            "From scratch, too, plugged in under a learnt gate that starts as the identity, as their methods add them "
            f"to their input: {', '.join(summed)}."
        )
    if images.skipped:
        write_atomically(out / _BROKEN, "".join(f"{sentence}\n" for sentence in images.skipped))
        found.append(f"{len(images.skipped):,} broken images were left out; {_BROKEN} names each.")
    damaged = ", ".join(sorted(file.name for file in out.glob(f"checkpoints/*{SET_ASIDE}")))
    if damaged:
        found.append(
            f"These checkpoints were damaged, so their trials started again: {damaged}; delete them when you like."
        )
    return found


def _deaths(trials: Sequence[Trial]) -> list[str]:
    """A note where workers died."""
    if not trials:
        return []
    names = ", ".join(map(str, dict.fromkeys(trials)))
    return [f"Workers died {len(trials)} times; these trials went on from their last epochs in others: {names}."]


def _worthwhile_threads(images: Data, recipe: Recipe) -> int:
    """A CPU thread for every 16,384 pixels of a batch: less would wait longer for the others than it works."""
    pixels = recipe.batch_size * images.shape[1] * images.shape[2]
    return min(torch.get_num_threads(), max(1, pixels // 16_384))


def _settings(images: Data, recipe: Recipe, run: Run, before: int) -> dict[str, Any]:
    """All that decides a trial's numbers besides variant and seed, flat."""
    return {
        "data": images.name,
        "shape": list(images.shape),
        "classes": images.classes,
        "train_images": len(images.train.labels),
        "test_images": len(images.test.labels),
        "pixels": images.fingerprint(),
        "device": torch.device(run.device).type,
        "devices": run.devices,
        "precision": run.precision,
        "compile": run.compile,
        "method": METHOD,
        **asdict(recipe),
        "trained_epochs": before,
    }
