"""Do dynamic convolutions start, cool down and come back as their authors train them?"""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attnzoo.lab.batches import scale_of
from attnzoo.lab.building import build
from attnzoo.lab.cooling import START, Cooling
from attnzoo.lab.data import Data, load
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.train import train
from attnzoo.lab.trained import load_trained, started
from attnzoo.lab.trial import Epoch, Trial, Variant
from attnzoo.surgery.temperature import annealed

ODCONV = Trial(Variant("odconv", at="block"), 0)
QUICK = Recipe(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", limit_train=64, limit_test=40)


def model_file(folder: Path, trial: Trial) -> Path:
    return folder / "models" / f"{trial.slug()}.safetensors"


def temperatures(module: str, steps: int) -> list[float]:
    """Of every step; all modules of a network and its copies have the same."""
    models = [build(Trial(Variant(module, at="block"), 0), (1, 8, 8), 10) for _ in range(2)]
    cooling, seen = Cooling(models, steps), []
    for step in range(steps):
        cooling.begin(step)
        (one,) = {part.temperature for model in models for part in annealed(model)}
        seen.append(one)
    return seen


def test_kernels_differ_from_scratch_and_are_equal_from_a_trained_network(data: Data, tmp_path: Path) -> None:
    base = Trial(Variant(start="base"), 0)
    train(base, data, QUICK, folder=tmp_path)
    tuned = Trial(replace(ODCONV.variant, start="trained"), 0)
    for model, equal in (
        (build(ODCONV, data.shape, 10), False),
        (started(tuned, data.shape, 10, model_file(tmp_path, base)), True),
    ):
        modules = annealed(model)
        assert len(modules) == 18
        for module in modules:
            pairs = itertools.combinations(module.weight, 2)
            assert [torch.equal(one, other) for one, other in pairs] == [equal] * 6


def test_the_temperature_falls_from_30_to_1_over_a_tenth_of_the_steps() -> None:
    falling = temperatures("odconv", 100)
    assert falling[:11] == pytest.approx([30 - 2.9 * step for step in range(11)])
    assert falling[10:] == [1.0] * 90
    assert temperatures("dynamic_conv", 4) == [30.0, 1.0, 1.0, 1.0]
    assert temperatures("odconv", 1) == [1.0]


def test_gates_that_are_hot_keep_a_fresh_network_from_chaos(data: Data) -> None:
    """At 1 a small change of the images changes the logits hundreds of times as much as at the first temperature."""
    model = build(ODCONV, data.shape, 10).train()
    x = scale_of(data.train.images)(data.train.images)
    change = {}
    for temperature in (1.0, START):
        for part in annealed(model):
            part.temperature = temperature
        with torch.no_grad():
            before, after = model(x), model(x * 1.001)
        change[temperature] = (after - before).norm() / before.norm()
    assert change[1.0] > 20 * change[START]


def test_an_interrupted_trial_continues_at_its_temperature(data: Data, tmp_path: Path) -> None:
    recipe = replace(QUICK, epochs=3, average=0.9)
    whole = train(ODCONV, data, recipe, folder=tmp_path / "a")

    def stop(number: int, _: Epoch) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ODCONV, data, recipe, folder=tmp_path / "b", on_epoch=stop)
    continued = train(ODCONV, data, recipe, folder=tmp_path / "b")
    assert [epoch.train_loss for epoch in continued.epochs] == [epoch.train_loss for epoch in whole.epochs]
    assert model_file(tmp_path / "a", ODCONV).read_bytes() == model_file(tmp_path / "b", ODCONV).read_bytes()


@pytest.mark.parametrize(("module", "held"), [("odconv", 1.0), ("dynamic_conv(temperature=5)", 5.0)])
def test_a_loaded_network_has_its_temperature_and_a_given_one_is_held(
    module: str, held: float, data: Data, tmp_path: Path
) -> None:
    trial = Trial(Variant(module, at="block"), 0)
    outcome = train(trial, data, QUICK, folder=tmp_path)
    model = load_trained(model_file(tmp_path, trial)).model
    assert {part.temperature for part in annealed(model)} == {held}
    with torch.no_grad():
        right = model(scale_of(data.train.images)(data.test.images)).argmax(1) == data.test.labels
    assert outcome.top1 == pytest.approx(100 * right.float().mean().item())
