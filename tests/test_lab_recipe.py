"""Do recipes say what is trained: in their fields, their files, their optimizer and schedule?"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from attnzoo import AttnzooError
from attnzoo.lab import recipes
from attnzoo.lab.averaging import EVERY, Average
from attnzoo.lab.optimizer import optimizer_of, rate
from attnzoo.lab.recipe import Recipe


def rates(recipe: Recipe, steps: int) -> list[float]:
    return [rate(recipe, step, steps) for step in range(steps)]


def test_names() -> None:
    assert recipes.names() == ["demo", "classic", "fast"]
    assert recipes.recipe("demo") == Recipe()
    with pytest.raises(AttnzooError, match=r"unknown recipe 'clasic'; did you mean classic\?"):
        recipes.recipe("clasic")


def test_classic_is_the_usual_cifar_recipe() -> None:
    """torch's own SGD and cosine over 200 epochs, stepped once an epoch."""
    classic = recipes.recipe("classic")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    (group,) = optimizer_of(classic, model).param_groups
    assert len(group["params"]) == 4
    assert {key: group[key] for key in ("lr", "momentum", "weight_decay", "nesterov")} == {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": False,
    }
    theirs = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=200)
    for share in rates(classic, 200):
        assert share * 0.1 == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-12)
        theirs.step()
        schedule.step()
    assert (classic.stepped, classic.epochs, classic.batch_size, classic.crop * 32) == ("epoch", 200, 128, 4)


def test_decay_spares_what_is_no_weight() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model[0].bias.requires_grad_(False)
    optimizer = optimizer_of(Recipe(weight_decay=0.1), model)
    decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    names = {name: decays[p] for name, p in model.named_parameters() if p.requires_grad}
    assert names == {"0.weight": 0.1, "1.weight": 0.0, "1.bias": 0.0}


@pytest.mark.parametrize("decoupled", [False, True])
def test_steps_by_hand(decoupled: bool) -> None:
    """Nesterov's momentum on w = 2 with gradient 1, at rate 0.5: through the momentum decay counts, beside it not."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    recipe = Recipe(learning_rate=0.5, momentum=0.8, weight_decay=0.1, decoupled=decoupled)
    optimizer = optimizer_of(recipe, layer)
    w, velocity = 2.0, 0.0
    for _ in range(3):
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        gradient = 1.0 if decoupled else 1.0 + 0.1 * w
        w = w * (1 - 0.5 * 0.1) if decoupled else w
        velocity = 0.8 * velocity + gradient
        w -= 0.5 * (gradient + 0.8 * velocity)
        assert layer.weight.item() == pytest.approx(w, rel=1e-5)


def test_schedules() -> None:
    cosine = rates(Recipe(warmup=0.25), 8)
    assert cosine[:2] == [0.5, 1.0]
    assert cosine[4] == pytest.approx(0.6113, abs=1e-4)  # (1 + cos(pi * 3 / 7)) / 2
    assert rates(Recipe(schedule="triangle", warmup=0.25), 8) == pytest.approx(
        [1 / 2, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    )
    for schedule in ("cosine", "triangle"):
        for steps in (1, 2, 7, 100):
            assert all(0 < share <= 1 for share in rates(Recipe(schedule=schedule), steps))


def test_average_by_hand() -> None:
    """It follows at first, remembers at the end, and takes whole numbers as they are."""
    model = nn.BatchNorm1d(1)
    average = Average(model, remains=0.9)
    model.weight.data.fill_(3.0)
    model.running_mean.fill_(2.0)
    model.num_batches_tracked.fill_(7)
    average.update(model, gone=0.0)
    assert average.model.weight.item() == 3.0
    model.weight.data.fill_(5.0)
    model.running_mean.fill_(4.0)
    average.update(model, gone=0.5)
    kept = 0.9**EVERY * 0.125
    assert average.model.weight.item() == pytest.approx(kept * 3 + (1 - kept) * 5)
    assert average.model.running_mean.item() == pytest.approx(kept * 2 + (1 - kept) * 4)
    assert average.model.num_batches_tracked.item() == 7
    assert not average.model.weight.requires_grad


@pytest.mark.parametrize("name", recipes.names())
def test_text_is_read_back_exactly(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    odd = replace(recipes.recipe(name), learning_rate=0.1 + 0.2, weight_decay=1e-17)
    for recipe in (recipes.recipe(name), odd):
        file.write_text(recipes.text(recipe))
        assert recipes.find(str(file)) == recipe


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('recipe = "classic"\nepochs = 3\nlearning_rate = 1\n')
    read = recipes.load(file)
    assert read == replace(recipes.recipe("classic"), epochs=3, learning_rate=1.0)
    assert isinstance(read.learning_rate, float)
    file.write_text("")
    assert recipes.load(file) == Recipe()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("epoch = 3", r"unknown field 'epoch'; did you mean epochs\?"),
        ("epochs = 3.0", "epochs=3.0 is not a whole number"),
        ("epochs = true", "epochs=True is not a whole number"),
        ('nesterov = "yes"', "nesterov='yes' is not true or false"),
        ("flip = true", "flip=True is not a word in quotes"),
        ('flip = "always"', "flip='always' is unknown; use one of none, random, alternate"),
        ("learning_rate = nan", "learning_rate=nan is not a number above 0"),
        ("warmup = 1", "warmup=1.0 is no probability"),
        ("momentum = 0", "nesterov needs a momentum above 0"),
        ("[sgd]\nepochs = 3", "unknown field 'sgd'"),
        ('recipe = "slow"', "unknown recipe 'slow'"),
        ("epochs 3", "expected a recipe in TOML"),
        (None, "expected a recipe in TOML"),
    ],
)
def test_a_wrong_file_is_named(content: str | None, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(AttnzooError, match=rf"mine\.toml: .*{complaint}"):
        recipes.load(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"crop": -0.1},
        {"cutout": 1.5},
        {"average": 1.0},
        {"schedule": "step"},
        {"stepped": "day"},
        {"decay": "none"},
        {"margin": "wrap"},
    ],
    ids=str,
)
def test_a_wrong_value_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(AttnzooError, match=next(iter(wrong))):
        Recipe(**wrong)
