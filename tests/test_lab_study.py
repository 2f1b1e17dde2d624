"""Is a comparison fair, exact in its numbers, and safe to interrupt?"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from attnzoo import AttnzooError
from attnzoo.lab import augment, backbones, latency, stats, sweep
from attnzoo.lab.data import Data, load
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.store import write_atomically
from attnzoo.lab.study import Study
from attnzoo.lab.train import Epoch, Outcome, Trial, build, train

QUICK = Recipe(epochs=2, batch_size=32)
SITE = "layer*.*.bn2"


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", limit_train=64, limit_test=20)


def trial(variant: str = "plain", seed: int = 0) -> Trial:
    return Trial(variant, seed, "resnet20", SITE)


def scores(outcome: Outcome) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.top1) for epoch in outcome.epochs]


class Diary(sweep.Observer):
    """Writes down which trials start; interrupts the study before the trial number `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.started_trials: list[str] = []
        self.stop = stop

    def started(self, trial: Trial) -> None:
        if len(self.started_trials) == self.stop:
            raise KeyboardInterrupt
        self.started_trials.append(f"{trial.variant}{trial.seed}")


def compare(out: Path, names: Sequence[str] = ("se", "simam"), observer: Diary | None = None, **changed: Any) -> Study:
    given = {"seeds": 2, "limit_train": 64, "limit_test": 20, "recipe": QUICK} | changed
    return sweep.compare(names, out=out, observer=observer, **given)


def test_interval_by_hand() -> None:
    two = stats.interval([90.0, 92.0])  # s / sqrt(2) = 1, t(1 degree of freedom) = 12.706
    assert (two.mean, round(two.half_width or 0, 3)) == (91.0, 12.706)
    five = stats.interval([1.0, 2.0, 3.0, 4.0, 5.0])  # s = 1.5811, t(4) = 2.7764
    assert (five.mean, round(five.half_width or 0, 4)) == (3.0, 1.9632)
    assert stats.interval([90.0]) == stats.Interval(90.0, None)


def test_paired_difference_by_hand() -> None:
    """Pairs cancel what a seed shares: each number moves by 10, their differences only by 0.2."""
    difference = stats.paired_difference({1: 80.6, 0: 90.4}, {0: 90.0, 1: 80.0})  # 0.4 and 0.6
    assert difference.mean == pytest.approx(0.5)
    assert difference.half_width == pytest.approx(1.2706, abs=1e-4)
    assert not difference.excludes_zero
    assert stats.Interval(-2.0, 1.0).excludes_zero
    assert not stats.Interval(2.0, None).excludes_zero
    assert not stats.Interval(2.0, 0.0).excludes_zero


def test_sampling_error_by_hand() -> None:
    assert stats.sampling_error(50.0, 100) == pytest.approx(9.617, abs=1e-3)  # 196.0 * sqrt(0.25 / 103.84)
    assert stats.sampling_error(100.0, 500) == pytest.approx(0.538, abs=1e-3)  # of 501.92 in 503.84


def test_interval_in_words() -> None:
    assert f"{stats.Interval(0.5, 1.25):+.1f}" == "+0.5 ± 1.2"
    assert f"{stats.Interval(-0.001, None):+.2f}" == "+0.00 ± -"


def test_recipe() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    recipe = Recipe(learning_rate=1.0, warmup=0.25, weight_decay=0.1)
    optimizer = recipe.optimizer(model)
    decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decays[p] for name, p in model.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }
    schedule, rates = recipe.schedule(optimizer, 8), []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:2] == [0.5, 1.0]
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert rates[4] == pytest.approx(0.6113, abs=1e-4)  # (1 + cos(pi * 3 / 7)) / 2
    assert rates[-1] > 0
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}, {"crop": -0.1}):
        with pytest.raises(AttnzooError, match=next(iter(wrong))):
            Recipe(**wrong)


def test_augmentation() -> None:
    images = torch.arange(1, 1 + 40 * 12).reshape(40, 1, 3, 4)
    moved = augment.shift(images, 1, torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(images, moved, strict=True):
        padded = nn.functional.pad(before, [1, 1, 1, 1])
        found = [(i, j) for i in range(3) for j in range(3) if torch.equal(padded[:, i : i + 3, j : j + 4], after)]
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) == 9
    mirrored = augment.mirror(images, torch.Generator().manual_seed(0))
    flipped = [torch.equal(a, b.flip(2)) for a, b in zip(images, mirrored, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(images, mirrored, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 10 < sum(flipped) < 30


@contextmanager
def inputs_of_networks() -> Iterator[list[Tensor]]:
    """Every batch of images that any network gets to see in training."""
    seen: list[Tensor] = []

    def watch(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if type(module).__name__ == "CifarResNet" and module.training and torch.is_grad_enabled():
            seen.append(given[0].clone())

    handle = register_module_forward_pre_hook(watch)
    yield seen
    handle.remove()


def test_variants_of_a_seed_are_paired(data: Data) -> None:
    """The same backbone weights, batches, augmentation and dropout draws; another seed has others."""
    plain, se, other = (build(trial(v, s), data).state_dict() for v, s in (("plain", 0), ("se", 0), ("plain", 1)))
    assert len(se) > len(plain)
    assert all(torch.equal(plain[key], se[key]) for key in plain)
    assert not torch.equal(plain["conv1.weight"], other["conv1.weight"])
    batches, drawn = [], []  # drawn: from the generator that dropout uses
    for variant, seed in (("plain", 0), ("se", 0), ("plain", 1)):
        with inputs_of_networks() as seen:
            train(trial(variant, seed), data, QUICK, on_epoch=lambda *_: drawn.append(torch.rand(1).item()))
        batches.append(torch.stack(seen))
    assert batches[0].shape == (4, 32, 1, 8, 8)
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert drawn[:2] == drawn[2:4] != drawn[4:]


def test_inputs_are_normalised_and_digits_never_mirrored(data: Data) -> None:
    with inputs_of_networks() as seen:
        train(trial(), data, replace(QUICK, epochs=1, crop=0.0, flip=True))
    given = torch.cat(seen)
    assert given.mean().abs() < 1e-5
    assert given.std(unbiased=False) == pytest.approx(1, abs=1e-4)
    pixels = data.train.images.float()
    expected = (pixels - pixels.mean()) / pixels.std(unbiased=False)
    distance = torch.cdist(given.flatten(1), expected.flatten(1))
    assert sorted(distance.argmin(1).tolist()) == list(range(64))
    assert distance.min(1).values.max() < 0.01


def test_training_is_deterministic_and_leaves_the_random_state_alone(data: Data) -> None:
    state = torch.get_rng_state()
    first = train(trial("se"), data, QUICK)
    torch.rand(1)
    assert scores(first) == scores(train(trial("se"), data, QUICK))
    assert scores(first) != scores(train(trial("se", 1), data, QUICK))
    torch.set_rng_state(state)
    build(trial("se"), data)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_learns() -> None:
    data = load("digits", limit_train=640, limit_test=200)
    told: list[int] = []
    outcome = train(trial(), data, Recipe(epochs=4), on_epoch=lambda number, _: told.append(number))
    assert told == [1, 2, 3, 4]
    assert outcome.top1 == outcome.epochs[-1].top1 > 60
    assert outcome.epochs[-1].train_loss < 0.8 < outcome.epochs[0].train_loss
    assert outcome.seconds == sum(epoch.seconds for epoch in outcome.epochs)


def test_a_lost_loss_names_the_trial(data: Data) -> None:
    with pytest.raises(AttnzooError, match=r"trial simam, seed 1: the training loss became (nan|inf) in epoch \d"):
        train(trial("simam", 1), data, replace(QUICK, learning_rate=1e20))


def test_latency_is_measured_in_turns() -> None:
    calls: list[str] = []

    class Named(nn.Module):
        def __init__(self, name: str, work: int) -> None:
            super().__init__()
            self.name, self.work = name, work

        def forward(self, x: Tensor) -> Tensor:
            calls.append(self.name)
            for _ in range(self.work):
                x = x.exp().log()
            return x

    found = latency.measure({"a": Named("a", 20), "b": Named("b", 200)}, (3, 32, 32), rounds=20)
    assert calls == ["a", "b"] * (20 + 3)
    assert found["a"].ratio == 1
    assert 4 < found["b"].ratio < 25
    assert found["b"].milliseconds > found["a"].milliseconds > 0


def test_small_batches_train_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads would share 4,096 pixels; and the caller's setting comes back."""
    now = [16]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)
    used: list[int] = []
    observer = sweep.Observer()
    monkeypatch.setattr(observer, "epoch", lambda *_: used.append(now[-1]))
    given = {"names": ["se"], "seeds": 1, "limit_train": 64, "limit_test": 20, "observer": observer}
    sweep.compare(out=tmp_path / "a", recipe=replace(QUICK, batch_size=64, epochs=1), **given)
    sweep.compare(out=tmp_path / "b", recipe=replace(QUICK, batch_size=1024, epochs=1), **given)
    assert used == [1, 1, 4, 4]
    assert now[-1] == 16


def test_study(tmp_path: Path) -> None:
    study = compare(tmp_path, ["se", "plain", "se", "simam"])
    assert [row.variant for row in study.rows] == ["plain", "se", "simam"]
    assert (study.seeds, len(study.outcomes), len(study.made_on)) == (2, 6, 6)
    plain, se, simam = study.rows
    assert plain.difference is None
    gains = [a.top1 - b.top1 for a, b in zip(study.of("se"), study.of("plain"), strict=True)]
    assert se.difference == stats.interval(gains)
    assert se.top1 == stats.interval([outcome.top1 for outcome in study.of("se")])
    assert plain.cost.parameters == simam.cost.parameters == 269_434
    added = 3 * 2 * (16 * 1 + 32 * 2 + 64 * 4)  # two matrices C x C/16 after each of nine blocks
    assert se.cost.parameters == plain.cost.parameters + added
    assert (plain.latency.ratio, plain.cost.macs > 2_000_000) == (1, True)
    epochs = [epoch.seconds for outcome in study.of("se") for epoch in outcome.epochs]
    assert se.train_seconds == pytest.approx(sum(sorted(epochs)[1:3]))  # 2 epochs x the median of 4
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == [
        f"{name}-seed{seed}.json" for name in ("plain", "se", "simam") for seed in (0, 1)
    ]


def test_an_interrupted_study_continues(tmp_path: Path) -> None:
    undisturbed = compare(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "b", observer=(first := Diary(stop=4)))
    assert first.started_trials == ["plain0", "se0", "simam0", "plain1"]
    continued = compare(tmp_path / "b", observer=(second := Diary()))
    assert second.started_trials == ["se1", "simam1"]
    assert [scores(o) for o in continued.outcomes] == [scores(o) for o in undisturbed.outcomes]
    assert [row.difference for row in continued.rows] == [row.difference for row in undisturbed.rows]


def test_a_study_is_extended_but_not_changed(tmp_path: Path) -> None:
    compare(tmp_path, ["se"], seeds=1)
    compare(tmp_path, ["eca", "se"], observer=(diary := Diary()))
    assert diary.started_trials == ["eca0", "plain1", "eca1", "se1"]
    for changed, complaint in (
        ({"recipe": replace(QUICK, epochs=1)}, "made with epochs=2, now epochs=1"),
        ({"recipe": replace(QUICK, learning_rate=0.2)}, "made with learning_rate=0.05, now learning_rate=0.2"),
        ({"at": "layer*.*.bn1"}, r"made with at='block', now at='layer\*\.\*\.bn1'"),
        ({"limit_train": 50}, "made with train_images=64, now train_images=50"),
        ({"backbone": "resnet18d", "at": "layer*.*.bn2"}, "made with backbone='resnet20', now backbone='resnet18d'"),
    ):
        with pytest.raises(AttnzooError, match=f"{complaint}.*another --out"):
            compare(tmp_path, ["se"], observer=(diary := Diary()), **changed)
        assert not diary.started_trials


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"variant": "se"', '"variant": "eca"'),
        lambda text: re.sub(r'"top1": [\d.]+', '"top1": NaN', text),
        lambda text: json.dumps(json.loads(text) | {"settings": {"epochs": 3}}),
    ],
)
def test_a_damaged_trial_is_named(tmp_path: Path, damage: Any) -> None:
    compare(tmp_path, ["se"], seeds=1, recipe=replace(QUICK, epochs=1))
    file = tmp_path / "trials" / "se-seed0.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(AttnzooError, match=r"se-seed0\.json: expected a finished trial.*delete it and run again"):
        compare(tmp_path, ["se"], seeds=1, recipe=replace(QUICK, epochs=1), observer=(diary := Diary()))
    assert not diary.started_trials


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.json"
    write_atomically(file, "old")

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(AttnzooError, match=r"results\.json: cannot be written \(no space left\)"):
        write_atomically(file, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_wrong_requests_fail_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for names, changed, complaint in (
        (["see"], {}, r"unknown module 'see'; did you mean .*se"),
        ([], {}, "give at least one"),
        (["se"], {"seeds": 0}, "seeds=0"),
        (["se"], {"at": "layerX"}, "layerX"),
        (["se"], {"backbone": "resnet21"}, "unknown backbone 'resnet21'; did you mean .*resnet20"),
        (["se"], {"backbone": "torchvision:resnet19"}, "did you mean torchvision:resnet1"),
        (["se"], {"backbone": "torchvision:resnet18", "at": "layer*.*.bn2"}, "takes images of 3 channels, got 1"),
        (["se"], {"backbone": "cifar_googlenet"}, "no sum of a branch"),
        (["se"], {"device": "tpu9"}, "device='tpu9': not available here"),
        (["se"], {"data": "mnist"}, "'mnist' is unknown"),
        (["se"], {"out": tmp_path / "file"}, "expected a folder to write to"),
    ):
        with pytest.raises(AttnzooError, match=complaint):
            compare(**{"out": tmp_path / "out", "names": names, "observer": (diary := Diary())} | changed)
        assert not diary.started_trials
    assert not (tmp_path / "out").exists()


def test_backbones() -> None:
    for name, shape in (
        ("resnet20", (2, 1, 8, 8)),
        ("resnet18d", (2, 1, 32, 32)),
        ("timm:resnet18", (2, 1, 32, 32)),
        ("torchvision:resnet18", (2, 3, 32, 32)),
    ):
        assert backbones.build(name, num_classes=7, in_channels=shape[1])(torch.rand(shape)).shape == (2, 7)


def test_a_backbone_that_does_not_fit_is_named(data: Data) -> None:
    with pytest.raises(AttnzooError, match="vit_tiny_patch16_224: cannot take images of 1x8x8"):
        build(Trial("plain", 0, "vit_tiny_patch16_224", "blocks.*"), data)


def test_the_last_epoch_counts_not_the_best() -> None:
    outcome = Outcome("se", 0, (Epoch(1.0, 60.0, 2.0), Epoch(0.5, 50.0, 1.0)))
    assert (outcome.top1, outcome.seconds) == (50.0, 3.0)
