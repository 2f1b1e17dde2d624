"""Is a trial fair, exact in its numbers, and safe to interrupt?"""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import attnzoo
from attnzoo import AttnzooError
from attnzoo.lab import batches, building, recipes, trained
from attnzoo.lab.building import build
from attnzoo.lab.data import Data, Split, load
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.settling import settle
from attnzoo.lab.train import Run, train
from attnzoo.lab.trained import load_trained
from attnzoo.lab.trial import Epoch, Outcome, Trial, Variant

QUICK = Recipe(epochs=2, batch_size=32)
EVERYTHING = replace(recipes.FAST, epochs=3, batch_size=32, learning_rate=0.1)  # all that has a state
CUDA = torch.cuda.is_available()


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", limit_train=64, limit_test=20)


def trial(module: str = "plain", seed: int = 0, **changed: Any) -> Trial:
    return Trial(Variant(module, at="" if module == "plain" else "block", **changed), seed)


def scores(outcome: Outcome) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.top1) for epoch in outcome.epochs]


def weights(folder: Path, which: Trial) -> bytes:
    return (folder / "models" / f"{which.slug()}.safetensors").read_bytes()


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
    shape = data.shape
    plain, se, other = (build(trial(m, s), shape, 10).state_dict() for m, s in (("plain", 0), ("se", 0), ("plain", 1)))
    assert len(se) > len(plain)
    assert all(torch.equal(plain[key], se[key]) for key in plain)
    assert not torch.equal(plain["conv1.weight"], other["conv1.weight"])
    given, drawn = [], []  # drawn: from the generator that dropout uses
    for module, seed in (("plain", 0), ("se", 0), ("plain", 1)):
        with inputs_of_networks() as seen:
            train(trial(module, seed), data, QUICK, on_epoch=lambda *_: drawn.append(torch.rand(1).item()))
        given.append(torch.stack(seen))
    assert given[0].shape == (4, 32, 1, 8, 8)
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])
    assert drawn[:2] == drawn[2:4] != drawn[4:]


def test_inputs_are_normalised_and_digits_never_mirrored(data: Data) -> None:
    with inputs_of_networks() as seen:
        train(trial(), data, replace(QUICK, epochs=1, crop=0.0, flip="random"))
    given = torch.cat(seen)
    assert given.mean().abs() < 1e-5
    assert given.std(unbiased=False) == pytest.approx(1, abs=1e-4)
    pixels = data.train.images.float()
    expected = (pixels - pixels.mean()) / pixels.std(unbiased=False)
    distance = torch.cdist(given.flatten(1), expected.flatten(1))
    assert sorted(distance.argmin(1).tolist()) == list(range(64))
    assert distance.min(1).values.max() < 0.01


def coloured(images: int = 24, classes: int = 3) -> Data:
    """Images without any symmetry, of which `images` train and 12 test."""
    draws = torch.Generator().manual_seed(0)
    parts = [
        Split(
            torch.randint(256, (count, 3, 16, 16), generator=draws, dtype=torch.uint8),
            torch.arange(count) % classes,
        )
        for count in (images, 12)
    ]
    return Data("noise", classes, *parts, mirror=True)


def rows_of(given: Tensor, data: Data, scale: batches.Scale) -> list[tuple[int, bool]]:
    """Which training images were given, and which of them mirrored; exact, so nothing else was done to them."""
    known = scale(data.train.images)
    found = []
    for image in given:
        same = [(i, turned) for i, one in enumerate(known) for turned in (False, True)
                if torch.equal(one.flip(2) if turned else one, image)]  # fmt: skip
        assert len(same) == 1
        found += same
    return found


def test_alternating_flips_show_both_sides_in_two_epochs() -> None:
    data, scale = coloured(), batches.scale_of(coloured().train.images)
    source = batches.Batches(data, Recipe(batch_size=8, crop=0.0, flip="alternate"), scale, seed=0)
    epochs = [rows_of(torch.cat([x for x, _ in source.epoch(n)]), data, scale) for n in (1, 2, 3)]
    assert [sorted(row for row, _ in epoch) for epoch in epochs] == [list(range(24))] * 3
    assert epochs[0] != epochs[2]
    first, second, third = (dict(epoch) for epoch in epochs)
    assert first == third == {row: not turned for row, turned in second.items()}
    assert 4 < sum(first.values()) < 20


def test_ranks_share_every_batch() -> None:
    """Two ranks see together what one sees, in batches of the same images."""
    data, scale = coloured(), batches.scale_of(coloured().train.images)
    recipe = Recipe(batch_size=8, crop=0.0, flip="none")
    alone = [rows_of(x, data, scale) for x, _ in batches.Batches(data, recipe, scale, 0).epoch(1)]
    pair = [list(batches.Batches(data, recipe, scale, 0, rank, 2).epoch(1)) for rank in (0, 1)]
    for whole, one, other in zip(alone, *pair, strict=True):
        assert len(one[0]) == len(other[0]) == 4
        assert sorted(rows_of(torch.cat([one[0], other[0]]), data, scale)) == sorted(whole)
    tested = [list(batches.for_test(data.test, scale, False, rank, 2)) for rank in (0, 1)]
    assert [len(labels) for part in tested for _, labels in part] == [6, 6]


def test_cutout_and_margins_reach_the_network() -> None:
    """A quarter of 16 pixels is blanked to the mean level, and translation by 2 mirrors its margin."""
    data, scale = coloured(), batches.scale_of(coloured().train.images)
    recipe = Recipe(batch_size=8, crop=0.0, flip="none", cutout=0.25)
    blank = scale(scale.mean.round().expand(3, 1, 1))
    given = torch.cat([x for x, _ in batches.Batches(data, recipe, scale, 0).epoch(1)])
    holes = (given == blank).all(dim=1).sum(dim=(1, 2))
    assert holes.max() == 16
    assert holes.min() >= 4
    moved = Recipe(batch_size=8, crop=0.125, flip="none", margin="reflect")
    (image, *_), _ = next(batches.Batches(data, moved, scale, 0).epoch(1))
    padded = nn.functional.pad(scale(data.train.images), [2] * 4, mode="reflect")
    windows = padded.unfold(2, 16, 1).unfold(3, 16, 1)  # (24, 3, 5, 5, 16, 16)
    assert (windows == image[None, :, None, None]).all(dim=(1, 4, 5)).sum() == 1


def test_statistics_by_hand() -> None:
    images = torch.tensor([[0, 0], [10, 5]], dtype=torch.uint8)[:, :, None, None].expand(2, 2, 3, 3)
    scale = batches.scale_of(images)
    assert scale.mean.flatten().tolist() == [5.0, 2.5]
    assert scale.std.flatten().tolist() == [5.0, 2.5]
    assert batches.scale_of(torch.full((2, 1, 2, 2), 7, dtype=torch.uint8)).std.item() == 1


@pytest.mark.parametrize("recipe", [QUICK, EVERYTHING], ids=["quick", "everything"])
def test_training_is_deterministic_and_leaves_the_random_state_alone(recipe: Recipe) -> None:
    data, state = coloured(64), torch.get_rng_state()
    first = train(trial("weighted_channel_dropout"), data, recipe)
    torch.rand(1)
    assert scores(first) == scores(train(trial("weighted_channel_dropout"), data, recipe))
    assert scores(first) != scores(train(trial("weighted_channel_dropout", 1), data, recipe))
    torch.set_rng_state(state)
    build(trial("se"), data.shape, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_learns() -> None:
    data = load("digits", limit_train=640, limit_test=200)
    told: list[int] = []
    outcome = train(trial(), data, Recipe(epochs=4), on_epoch=lambda number, _: told.append(number))
    assert told == [1, 2, 3, 4]
    assert outcome.top1 == outcome.epochs[-1].top1 > 60
    assert outcome.top5 is None
    assert outcome.epochs[-1].train_loss < 0.8 < outcome.epochs[0].train_loss
    assert outcome.seconds == sum(epoch.seconds for epoch in outcome.epochs)


def test_the_fast_recipe_learns() -> None:
    data = load("digits", limit_train=640, limit_test=200)
    recipe = replace(recipes.FAST, epochs=6, batch_size=64, learning_rate=0.1, cutout=0.0)
    assert train(trial(), data, recipe).top1 > 60


def test_accuracies_are_those_of_the_saved_network(tmp_path: Path) -> None:
    """top-1 and top-5 of 30 classes, counted again from the model file; its mean and deviation are the pixels'."""
    data = coloured(60, classes=30)
    outcome = train(trial("se"), data, QUICK, folder=tmp_path)
    saved = load_trained(tmp_path / "models" / f"{trial('se').slug()}.safetensors")
    mean, std = (torch.tensor(values)[:, None, None] for values in (saved.about.mean, saved.about.std))
    assert saved.about.mean == pytest.approx(data.train.images.double().mean(dim=(0, 2, 3)).tolist())
    with torch.no_grad():
        ranked = saved.model((data.test.images.float() - mean) / std).argsort(dim=1, descending=True)
    hits = ranked == data.test.labels[:, None]
    assert outcome.top1 == pytest.approx(100 * hits[:, 0].float().mean().item())
    assert outcome.top5 == pytest.approx(100 * hits[:, :5].any(dim=1).float().mean().item())
    assert outcome.top5 > outcome.top1


def test_statistics_are_settled_when_the_training_is_over(tmp_path: Path) -> None:
    """Those of the saved network, an average of weights laid out channels last, are the means over an epoch more."""
    data, which = coloured(64), trial("cbam")  # whose gates have a BatchNorm of momentum 0.01
    train(which, data, EVERYTHING, folder=tmp_path)
    saved = load_trained(tmp_path / "models" / f"{which.slug()}.safetensors").model
    before = {key: value.clone() for key, value in saved.state_dict().items()}
    scale = batches.scale_of(data.train.images)
    source = batches.Batches(data, EVERYTHING, scale, which.seed)
    settle(building.laid_out(saved, channels_last=True), [x for x, _ in source.epoch(EVERYTHING.epochs + 1)])
    assert all(torch.equal(value, before[key]) for key, value in saved.state_dict().items())


def test_only_batchnorms_settle_and_at_any_momentum() -> None:
    """Their statistics become means over the batches; weights, other buffers, modes and momenta stay."""
    torch.manual_seed(0)
    module = attnzoo.create("em_attention", channels=8, num_bases=4)
    model = nn.Sequential(nn.BatchNorm2d(8, momentum=3e-4), module)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given = [torch.randn(16, 8, 4, 4) * 3 + 5 for _ in range(3)]
    settle(model, given)
    first = model[0]
    torch.testing.assert_close(first.running_mean, torch.stack([x.mean((0, 2, 3)) for x in given]).mean(0))
    torch.testing.assert_close(first.running_var, torch.stack([x.var((0, 2, 3)) for x in given]).mean(0))
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.rpartition(".")[2] for key in moved} == {"running_mean", "running_var", "num_batches_tracked"}
    assert first.momentum == 3e-4
    assert not any(part.training for part in model.modules())


def test_what_is_plugged_in_behind_a_batchnorm_does_not_train_while_it_settles() -> None:
    """It lives inside the BatchNorm, whose training mode must not reach it: this one would drop channels."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    model, images = copy.deepcopy(plain), torch.randn(16, 8, 4, 4)
    attnzoo.insert(model, "weighted_channel_dropout", at="0", identity=False, example_input=images)
    for network in (plain, model):
        settle(network, [images])
    assert torch.equal(model[2].running_mean, plain[2].running_mean)


def test_a_lost_loss_names_the_trial_and_keeps_the_rest(data: Data, tmp_path: Path) -> None:
    train(trial(), data, QUICK, folder=tmp_path)
    before = weights(tmp_path, trial())
    with pytest.raises(AttnzooError, match=r"simam at block in resnet20, seed 1: .* became (nan|inf) in epoch \d"):
        train(trial("simam", 1), data, replace(QUICK, learning_rate=1e20), folder=tmp_path)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{trial().slug()}.safetensors"]
    assert weights(tmp_path, trial()) == before


def test_broken_logits_are_no_accuracy(data: Data) -> None:
    """The loss of the last step was finite, the weights after it are not."""

    def spoil(optimizer: Any, *_: Any) -> None:
        optimizer.param_groups[0]["params"][0].data.fill_(torch.nan)

    from torch.optim.optimizer import register_optimizer_step_post_hook

    handle = register_optimizer_step_post_hook(spoil)
    try:
        with pytest.raises(AttnzooError, match="the test accuracy became nan in epoch 1"):
            train(trial(), data, replace(QUICK, epochs=1, batch_size=64))
    finally:
        handle.remove()


class StopError(Exception):
    pass


def stop_at(epoch: int) -> Callable[[int, Epoch], None]:
    def told(number: int, _: Epoch) -> None:
        if number == epoch:
            raise StopError

    return told


def test_an_interrupted_trial_continues_to_the_same_end(tmp_path: Path) -> None:
    data, which = coloured(64), trial("weighted_channel_dropout")
    whole = train(which, data, EVERYTHING, folder=tmp_path / "a")
    told: list[int] = []
    for epoch in (1, 2):
        with pytest.raises(StopError):
            train(which, data, EVERYTHING, folder=tmp_path / "b", on_epoch=stop_at(epoch))
    continued = train(which, data, EVERYTHING, folder=tmp_path / "b", on_epoch=lambda number, _: told.append(number))
    assert told == [3]
    assert scores(continued) == scores(whole)
    assert weights(tmp_path / "b", which) == weights(tmp_path / "a", which)
    again = train(which, data, EVERYTHING, folder=tmp_path / "b")  # killed before it was stored
    assert again == continued


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_files_of_networks_have_the_mode_of_others(data: Data, tmp_path: Path) -> None:
    train(trial(), data, replace(QUICK, epochs=1), folder=tmp_path)
    attnzoo.save(nn.Linear(2, 2), tmp_path / "saved.safetensors")
    (tmp_path / "other").touch()
    files = [tmp_path / "models" / f"{trial().slug()}.safetensors", tmp_path / "saved.safetensors", tmp_path / "other"]
    assert len({file.stat().st_mode for file in files}) == 1


def test_a_damaged_checkpoint_starts_again(data: Data, tmp_path: Path) -> None:
    whole = train(trial(), data, QUICK)
    with pytest.raises(StopError):
        train(trial(), data, QUICK, folder=tmp_path, on_epoch=stop_at(1))
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is damaged"):
        assert scores(train(trial(), data, QUICK, folder=tmp_path)) == scores(whole)


def test_a_checkpoint_made_otherwise_is_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(StopError):
        train(trial(), data, QUICK, folder=tmp_path, on_epoch=stop_at(1))
    lighter = replace(data, train=Split(data.train.images + 1, data.train.labels))
    for changed, complaint in (
        ({"recipe": replace(QUICK, epochs=3)}, "made with epochs=2, now epochs=3"),
        ({"data": lighter}, "made with pixels='.*', now pixels="),
        ({"run": Run(precision="bf16-mixed")}, "made with precision='32-true', now precision='bf16-mixed'"),
    ):
        given = {"trial": trial(), "data": data, "recipe": QUICK} | changed
        with pytest.raises(AttnzooError, match=rf"{trial().slug()}\.pt: {complaint}"):
            train(**given, folder=tmp_path)


def in_a_child(work: Callable[[], None]) -> int:
    """The exit status of a process that does the work: minus the signal that killed it, else 0."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_lab_train import EVERYTHING, coloured, in_a_child, trial
from attnzoo.lab.fabric import fabric_for
from attnzoo.lab.train import train
fabric_for(torch.device("cpu"), 1, "32-true")  # imported once, for all children
folder, which, data = Path(sys.argv[1]), trial("weighted_channel_dropout"), coloured(64)

def dies_in(step, times):
    def work():
        original, calls = getattr(os, step), []
        def step_or_death(*given):
            calls.append(1)
            if len(calls) == times:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given)
        setattr(os, step, step_or_death)
        train(which, data, EVERYTHING, folder=folder)
    return work

for step, times in (("replace", 1), ("fsync", 3), ("replace", 2), ("replace", 1)):
    assert in_a_child(dies_in(step, times)) == -signal.SIGKILL
assert in_a_child(lambda: train(which, data, EVERYTHING, folder=folder)) == 0
assert in_a_child(lambda: train(which, data, EVERYTHING, folder=folder.with_name("undisturbed"))) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_trial_killed_while_it_writes_continues_to_the_same_end(tmp_path: Path) -> None:
    """Killed before the first checkpoint is in place, while the second is flushed, and before the model is."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(here)})
    which = trial("weighted_channel_dropout")
    assert weights(tmp_path / "killed", which) == weights(tmp_path / "undisturbed", which)


def test_a_variant_starts_from_a_trained_network(data: Data, tmp_path: Path) -> None:
    """At first the network with the module computes what the trained one does, bit for bit."""
    source, tuned = trial(start="base"), trial("se", start="trained")
    train(source, data, QUICK, folder=tmp_path)
    file = tmp_path / "models" / f"{source.slug()}.safetensors"
    base = load_trained(file).model
    images = batches.scale_of(data.train.images)(data.test.images)
    model = trained.started(tuned, data.shape, 10, file).eval()
    assert torch.equal(model(images), base(images))
    convolves = trained.started(trial("odconv", start="trained"), data.shape, 10, file).eval()
    torch.testing.assert_close(convolves(images), base(images), rtol=1e-4, atol=1e-4)
    for which in (tuned, trial(start="trained")):
        train(which, data, replace(QUICK, learning_rate=1e-30, weight_decay=0.0), base=file, folder=tmp_path)
        after = load_trained(tmp_path / "models" / f"{which.slug()}.safetensors").model
        assert torch.equal(after.get_parameter("conv1.weight"), base.get_parameter("conv1.weight"))
    with pytest.raises(AttnzooError, match="expected the model file that it starts from, got base=None"):
        train(tuned, data, QUICK)
    for other in (trial("se", 1, start="trained"), trial("se", start="trained", backbone="resnet56")):
        with pytest.raises(AttnzooError, match="which is no base of"):
            train(other, data, QUICK, base=file)


@pytest.mark.parametrize(
    ("backbone", "complaint"),
    [
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224: cannot take images of 1x8x8"),
        ("resnet21", r"unknown backbone 'resnet21'; did you mean .*resnet20"),
    ],
)
def test_a_backbone_that_does_not_fit_is_named(backbone: str, complaint: str) -> None:
    with pytest.raises(AttnzooError, match=complaint):
        build(Trial(Variant(backbone=backbone), 0), (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (nn.Conv2d(1, 10, 3), r"\(2, 10, 6, 6\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), r"\(2, 9\)"),
        (nn.LSTM(8, 10), "tuple"),
    ],
    ids=["map", "classes", "tuple"],
)
def test_a_network_that_gives_no_logits_is_named(network: nn.Module, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = nn.Sequential(nn.Flatten(1, 2), network) if isinstance(network, nn.LSTM) else network
    monkeypatch.setattr(building.backbones, "build", lambda *_: flat)
    with pytest.raises(AttnzooError, match=rf"plain odd: expected logits \(2, 10\), got {got}; use a classifier"):
        build(Trial(Variant(backbone="odd"), 0), (1, 8, 8), 10)


def test_a_compiled_network_is_saved_under_its_own_names(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile without its code generator, which computes the same bits."""
    used: list[nn.Module] = []
    compiler = torch.compile

    def traced(model: nn.Module, **_: Any) -> Any:
        used.append(model)
        return compiler(model, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    compiled = train(trial("se"), data, QUICK, run=Run(compile=True), folder=tmp_path / "a")
    assert used
    plain = train(trial("se"), data, QUICK, folder=tmp_path / "b")
    assert scores(compiled) == scores(plain)
    assert weights(tmp_path / "a", trial("se")) == weights(tmp_path / "b", trial("se"))


def test_wrong_runs_are_named(data: Data, tmp_path: Path) -> None:
    for wrong, complaint in (
        ({"devices": 0}, "devices=0"),
        ({"precision": "64"}, "precision='64' is unknown"),
        ({"precision": "16-mixed"}, "precision='16-mixed' needs device='cuda'"),
    ):
        with pytest.raises(AttnzooError, match=complaint):
            Run(**wrong)
    for run, complaint in (
        (Run(devices=3), "devices=3 do not share batch_size=32 evenly"),
        (Run(device="tpu9"), "device='tpu9': not available here"),
        (Run(tensorboard=True), "tensorboard=True needs a folder"),
    ):
        with pytest.raises(AttnzooError, match=complaint):
            train(trial(), data, QUICK, run=run)


def test_half_precision_is_for_gpus(data: Data) -> None:
    assert Run().chosen(recipes.FAST).precision == "32-true"
    assert Run(precision="bf16-mixed").chosen(QUICK).precision == "bf16-mixed"
    full, half = (train(trial(), data, QUICK, run=Run(precision=p)) for p in ("32-true", "bf16-mixed"))
    assert scores(full) != scores(half)
    assert half.epochs[-1].train_loss == pytest.approx(full.epochs[-1].train_loss, rel=0.1)


def test_tensorboard(data: Data, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(StopError):
        train(trial(), data, QUICK, run=Run(tensorboard=True), folder=tmp_path, on_epoch=stop_at(1))
    outcome = train(trial(), data, QUICK, run=Run(tensorboard=True), folder=tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / trial().slug())).Reload()
    for name, field in (("loss/train", "train_loss"), ("accuracy/top1", "top1")):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        assert written == [(n, pytest.approx(getattr(e, field))) for n, e in enumerate(outcome.epochs, 1)]
    assert "accuracy/top5" not in events.Tags()["scalars"]


def test_tensorboard_is_asked_for_where_it_is_missing(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(AttnzooError, match=r"tensorboard=True: .*pip install 'attnzoo\[lab\]'"):
        train(trial(), data, QUICK, run=Run(tensorboard=True), folder=tmp_path)


def test_one_device_starts_no_process_group(data: Data) -> None:
    seen: list[bool] = []
    train(trial(), data, replace(QUICK, epochs=1), on_epoch=lambda *_: seen.append(torch.distributed.is_initialized()))
    assert seen == [False]


def test_several_processes_train_one_network(data: Data, tmp_path: Path) -> None:
    """Two share every batch; the second epoch continues from the checkpoint; its file is that of the first."""
    told: list[int] = []
    recipe = replace(QUICK, crop=0.0)
    outcome = train(
        trial("se"), data, recipe, run=Run(devices=2), folder=tmp_path, on_epoch=lambda number, _: told.append(number)
    )
    assert told == [1, 2]
    alone = train(trial("se"), data, recipe)
    assert outcome.epochs[0].train_loss == pytest.approx(alone.epochs[0].train_loss, rel=0.1)
    assert outcome.epochs[0].train_loss != alone.epochs[0].train_loss  # batch statistics are each process's own
    model = load_trained(tmp_path / "models" / f"{trial('se').slug()}.safetensors").model
    scale = batches.scale_of(data.train.images)
    with torch.no_grad():
        right = model(scale(data.test.images)).argmax(dim=1) == data.test.labels
    assert outcome.top1 == pytest.approx(100 * right.float().mean().item())


def test_the_last_epoch_counts_not_the_best() -> None:
    outcome = Outcome(trial(), (Epoch(1.0, 60.0, 2.0), Epoch(0.5, 50.0, 1.0)))
    assert (outcome.top1, outcome.seconds) == (50.0, 3.0)


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
def test_a_gpu_trains_in_half_precision() -> None:
    data = load("digits", limit_train=640, limit_test=200)
    recipe = replace(recipes.FAST, epochs=6, batch_size=64, learning_rate=0.1, cutout=0.0)
    assert Run("cuda").chosen(recipe).precision in ("bf16-mixed", "16-mixed")
    assert train(trial("se"), data, recipe, run=Run("cuda")).top1 > 60
