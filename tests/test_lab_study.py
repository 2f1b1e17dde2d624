"""Is a comparison fair, complete, and safe to interrupt, to extend and to fail in parts?"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from attnzoo import AttnzooError, cli, registry
from attnzoo.lab import backbones, cost, environment, recipes, stats, sweep
from attnzoo.lab.assessment import measure
from attnzoo.lab.building import build
from attnzoo.lab.engines import tasks
from attnzoo.lab.measure import Latency
from attnzoo.lab.measure.site import Site
from attnzoo.lab.planning import plan
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.study import Measured, Study
from attnzoo.lab.train import Run
from attnzoo.lab.trial import Outcome, Trial, Variant

QUICK = Recipe(epochs=2, batch_size=32)
PLAIN, SE, SIMAM, ECA = (Variant(), *(Variant(name, at="block") for name in ("se", "simam", "eca")))


class Diary(sweep.Observer):
    """Writes down which trials start and fail; interrupts the study before the trial number `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.started_trials: list[str] = []
        self.failures: dict[str, str] = {}
        self.plans: list[tuple[int, int, int]] = []
        self.stop = stop

    def planned(self, epochs: Mapping[Trial, int], finished: Collection[Trial]) -> None:
        self.plans.append((len(epochs), len(finished), sum(epochs.values())))

    def started(self, trial: Trial) -> None:
        if len(self.started_trials) == self.stop:
            raise KeyboardInterrupt
        self.started_trials.append(name(trial))

    def failed(self, trial: Trial, reason: str) -> None:
        self.failures[name(trial)] = reason


def name(trial: Trial) -> str:
    start = {"scratch": "", "base": "base-", "trained": "trained-"}[trial.variant.start]
    return f"{start}{trial.variant.matches or trial.variant.module}{trial.seed}"


def scores(outcome: Outcome) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.top1) for epoch in outcome.epochs]


def compare(out: Path, names: Sequence[str] = ("se", "simam"), observer: Diary | None = None, **changed: Any) -> Study:
    given = {"seeds": 2, "limit_train": 64, "limit_test": 20, "recipe": QUICK} | changed
    return sweep.compare(names, out=out, observer=observer, **given)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds that costs and latencies take, where they are not in question."""
    nothing = Measured(cost.Cost(1, 1, 1), Latency(1.0, (1.0, 1.0), 1.0), None, None)
    monkeypatch.setattr(sweep, "measure", lambda variants, *_: dict.fromkeys(variants, nothing))


def test_study(tmp_path: Path) -> None:
    study = compare(tmp_path, ["se", "plain", "se", "simam"])
    assert [row.variant for row in study.rows] == [PLAIN, SE, SIMAM]
    assert (study.seeds, len(study.outcomes), len(study.made_on), study.failed) == (2, 6, 6, ())
    plain, se, simam = study.rows
    assert plain.differences == {}
    gains = [a.top1 - b.top1 for a, b in zip(study.of(SE), study.of(PLAIN), strict=True)]
    assert se.differences["plain"].interval == stats.interval(gains)
    assert se.top1 == stats.interval([outcome.top1 for outcome in study.of(SE)])
    assert plain.measured.cost.parameters == simam.measured.cost.parameters == 269_434
    added = 3 * 2 * (16 * 1 + 32 * 2 + 64 * 4)  # two matrices C x C/16 after each of nine blocks
    assert se.measured.cost.parameters == plain.measured.cost.parameters + added
    assert plain.measured.forward.ratio == 1
    assert plain.measured.step is not None
    assert plain.measured.step.batch == 32
    assert plain.measured.step.milliseconds > plain.measured.forward.milliseconds
    files = sorted(path.name for path in (tmp_path / "trials").iterdir())
    assert files == sorted(f"{Trial(variant, s).slug()}.json" for variant in (PLAIN, SE, SIMAM) for s in (0, 1))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_every_network_is_measured_once_and_beside_its_own_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnzoo.lab import assessment

    seen: list[list[str]] = []

    def timed(models: Any, *_: Any, batch: int = 1, **__: Any) -> dict[str, Latency]:
        seen.append(list(models))
        return {key: Latency(1.0 + i, (1.0, 1.0), 1.0 + i, batch) for i, key in enumerate(models)}

    monkeypatch.setattr(assessment, "forward", timed)
    monkeypatch.setattr(assessment, "training_step", lambda models, shape, classes, *_, **more: timed(models, **more))
    monkeypatch.setattr(assessment, "_TOGETHER", 2)
    small, large = Variant(backbone="resnet20"), Variant(backbone="resnet56")
    others = [Variant(module, "resnet20", "last") for module in ("se", "eca", "simam")]
    trained = replace(others[0], start="trained")
    again = replace(small, start="trained")
    found = measure([small, *others, trained, again, large], Site((1, 8, 8), 10, torch.device("cpu"), 1), 16)
    assert list(found) == [small, *others, trained, again, large]
    assert found[again] == found[small]
    assert found[trained].cost.parameters == found[others[0]].cost.parameters + 1  # alpha
    groups = [[small, *others[:2]], [small, others[2], trained], [large]]
    assert seen[::3] == seen[1::3] == seen[2::3] == [[variant.slug() for variant in group] for group in groups]
    assert [found[variant].forward.ratio for variant in (small, *others, large)] == [1, 2, 3, 2, 1]
    assert found[large].step == Latency(1.0, (1.0, 1.0), 1.0, 16)
    assert found[large].cost.parameters > 3 * found[small].cost.parameters


@pytest.mark.usefixtures("unmeasured")
def test_an_interrupted_study_continues(tmp_path: Path) -> None:
    undisturbed = compare(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "b", observer=(first := Diary(stop=4)))
    assert first.started_trials == ["plain0", "se0", "simam0", "plain1"]
    continued = compare(tmp_path / "b", observer=(second := Diary()))
    assert second.started_trials == ["se1", "simam1"]
    assert (first.plans, second.plans) == ([(6, 0, 12)], [(6, 4, 12)])
    assert [scores(o) for o in continued.outcomes] == [scores(o) for o in undisturbed.outcomes]
    assert [row.differences for row in continued.rows] == [row.differences for row in undisturbed.rows]


@pytest.mark.usefixtures("unmeasured")
def test_a_study_is_extended_but_not_changed(tmp_path: Path) -> None:
    compare(tmp_path, ["se"], seeds=1)
    study = compare(tmp_path, ["eca", "se"], at="block,last", observer=(diary := Diary()))
    assert diary.started_trials == ["eca0", "eca0", "se0", "plain1", "eca1", "eca1", "se1", "se1"]
    assert [(row.variant.module, row.variant.at) for row in study.rows] == [
        *[("plain", ""), ("eca", "block"), ("eca", "last"), ("se", "block"), ("se", "last")]
    ]
    fewer = compare(tmp_path, ["eca"], seeds=1, observer=(diary := Diary()))
    assert (diary.started_trials, len(fewer.outcomes)) == ([], len(study.outcomes))
    assert {row.variant: row.seeds for row in fewer.rows} == {row.variant: row.seeds for row in study.rows}
    for changed, complaint in (
        ({"recipe": replace(QUICK, epochs=4)}, "made with epochs=2, now epochs=4"),
        ({"recipe": replace(QUICK, learning_rate=0.2)}, "made with learning_rate=0.05, now learning_rate=0.2"),
        ({"limit_train": 50}, "made with train_images=64, now train_images=50"),
        ({"run": Run(precision="bf16-mixed")}, "made with precision='32-true', now precision='bf16-mixed'"),
    ):
        with pytest.raises(AttnzooError, match=f"{complaint}.*another --out"):
            compare(tmp_path, ["se"], observer=(diary := Diary()), **changed)
        assert not diary.started_trials


@pytest.mark.usefixtures("unmeasured")
def test_factors_are_multiplied(tmp_path: Path) -> None:
    study = compare(tmp_path, ["se"], backbone="resnet20, resnet56", at="last,stage", seeds=1, recipe=Recipe(epochs=1))
    assert [row.variant for row in study.rows] == [
        variant
        for backbone in ("resnet20", "resnet56")
        for variant in (Variant(backbone=backbone), *(Variant("se", backbone, at) for at in ("last", "stage")))
    ]
    assert all(("plain" in row.differences) == (row.variant.module == "se") for row in study.rows)


def test_all_modules_are_tried_and_misfits_told_at_once() -> None:
    every = registry.names(plug_in=True)
    made = plan(["all"], ["resnet20"], ["last"], (1, 8, 8), 10, skip_unfit=True)
    assert {variant.module for variant in (*made.parameters, *made.misfits)} == {"plain", *every}
    assert next(iter(made.parameters)).plain
    assert len(made.parameters) > 40
    misfits = [variant.module for variant in made.misfits]
    with pytest.raises(AttnzooError, match=f"{len(misfits)} of {len(misfits) + 1} variants .*--skip-unfit") as caught:
        plan([*misfits, "se"], ["resnet20"], ["last"], (1, 8, 8), 10)
    assert all(f"{module} at last in resnet20: " in str(caught.value) for module in misfits[:12])


@pytest.mark.usefixtures("unmeasured")
def test_misfits_are_left_out_on_request(tmp_path: Path) -> None:
    given = {"at": "block,layerX", "seeds": 1, "recipe": Recipe(epochs=1)}
    with pytest.raises(AttnzooError, match=r"1 of 2 variants do not fit; .*se at layerX in resnet20: .*layerX"):
        compare(tmp_path / "out", ["se"], **given)
    assert not (tmp_path / "out").exists()
    study = compare(tmp_path / "out", ["se"], skip_unfit=True, **given)
    assert [row.variant for row in study.rows] == [PLAIN, SE]
    (note,) = study.notes
    assert note.startswith("Left out: se at layerX in resnet20 (")
    with pytest.raises(AttnzooError, match="nothing is left to compare"):
        compare(tmp_path / "out", ["se"], skip_unfit=True, **{**given, "at": "layerX"})


def broken(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Trial], bool]) -> None:
    """Let the training of some trials run out of memory."""
    real = tasks.train

    def train(trial: Trial, *given: Any, **options: Any) -> Outcome:
        if fails(trial):
            raise torch.OutOfMemoryError("Tried to allocate 9 GiB")
        return real(trial, *given, **options)

    monkeypatch.setattr(tasks, "train", train)


@pytest.mark.usefixtures("unmeasured")
def test_a_failing_trial_is_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, lambda trial: trial == Trial(SE, 1) or trial.variant == SIMAM)
    study = compare(tmp_path, ["se", "simam", "eca"], observer=(diary := Diary()))
    assert [(row.variant, row.seeds) for row in study.rows] == [(PLAIN, (0, 1)), (SE, (0,)), (ECA, (0, 1))]
    assert study.failed == (Trial(SIMAM, 0), Trial(SE, 1), Trial(SIMAM, 1))
    assert diary.failures == dict.fromkeys(["simam0", "se1", "simam1"], "OutOfMemoryError: Tried to allocate 9 GiB")
    assert study.notes[1] == (
        "Failed, and so missing here: se at block in resnet20, seed 1 (OutOfMemoryError: Tried to allocate 9 GiB)."
    )
    monkeypatch.undo()
    monkeypatch.setattr(sweep, "measure", lambda variants, *_: dict.fromkeys(variants, study.rows[0].measured))
    again = compare(tmp_path, ["se", "simam", "eca"], observer=(diary := Diary()))
    assert (diary.started_trials, again.failed, again.notes) == (["simam0", "se1", "simam1"], (), ())


def test_a_lost_loss_fails_its_own_trials_only(tmp_path: Path) -> None:
    with pytest.raises(AttnzooError, match=r"no trial could be finished. .*plain resnet20, seed 0: the training loss"):
        compare(tmp_path, ["se"], recipe=replace(QUICK, learning_rate=1e20), observer=(diary := Diary()))
    assert list(diary.failures) == ["plain0", "se0", "plain1", "se1"]
    assert not list((tmp_path / "trials").iterdir())


@pytest.mark.usefixtures("unmeasured")
def test_a_damaged_checkpoint_is_told_in_the_report(tmp_path: Path) -> None:
    """Not by a warning alone: those of Ray's workers are not heard."""
    file = tmp_path / "checkpoints" / f"{Trial(SE, 0).slug()}.pt"
    file.parent.mkdir()
    file.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="the checkpoint is damaged"):
        study = compare(tmp_path, ["se"], seeds=1)
    (note,) = study.notes
    assert note.startswith(f"These checkpoints were damaged, so their trials started again: {file.name}.damaged;")


@pytest.mark.usefixtures("unmeasured")
def test_workers_that_died_are_told_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnzoo.lab.engines.serial import Serial

    whole = Serial.run

    def run(engine: Serial, *given: Any) -> Any:
        engine.deaths += [Trial(SE, 0)] * 2
        return whole(engine, *given)

    monkeypatch.setattr(Serial, "run", run)
    (note,) = set(compare(tmp_path, ["se"], seeds=1).notes)
    assert note.startswith("Workers died ")
    assert note.endswith("in others: se at block in resnet20, seed 0.")


@pytest.mark.usefixtures("unmeasured")
def test_from_trained(tmp_path: Path) -> None:
    """At equal total epochs; a base is trained once, and again only where its network is lost and needed."""
    given = {"from_trained": True, "recipe": replace(QUICK, epochs=3)}
    study = compare(tmp_path, ["se"], observer=(diary := Diary()), **given)
    scratch = ["plain0", "trained-plain0", "se0", "trained-se0"]
    assert diary.started_trials == ["base-plain0", "base-plain1", *scratch, *[n.replace("0", "1") for n in scratch]]
    assert [(row.variant.module, row.variant.start) for row in study.rows] == [
        *[("plain", "scratch"), ("plain", "trained"), ("se", "scratch"), ("se", "trained")]
    ]
    epochs = {outcome.trial.variant.start: len(outcome.epochs) for outcome in study.outcomes}
    assert epochs == {"base": 1, "scratch": 3, "trained": 2}
    assert study.rows[3].differences.keys() == {"plain", "scratch"}
    base = Trial(Variant(start="base"), 0)
    (tmp_path / "models" / f"{base.slug()}.safetensors").unlink()
    compare(tmp_path, ["se"], observer=(diary := Diary()), **given)
    assert diary.started_trials == []
    compare(tmp_path, ["se", "eca"], observer=(diary := Diary()), **given)
    assert diary.started_trials == ["base-plain0", "eca0", "trained-eca0", "eca1", "trained-eca1"]


@pytest.mark.usefixtures("unmeasured")
def test_what_its_method_adds_to_its_input_starts_as_the_identity(tmp_path: Path) -> None:
    """From scratch, too, and a note says so of those modules, and of no other."""
    plain, gated, bare = (build(Trial(v, 0), (1, 8, 8), 10).eval() for v in (PLAIN, Variant("gn_conv", at="block"), SE))
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(gated(x), plain(x))
    assert not torch.equal(bare(x), plain(x))
    study = compare(tmp_path, ["gn_conv", "se", "s2_attention"], seeds=1, recipe=Recipe(epochs=1))
    (note,) = study.notes
    assert note.endswith("as their methods add them to their input: gn_conv, s2_attention.")


@pytest.mark.usefixtures("unmeasured")
def test_a_failing_base_fails_what_starts_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, lambda trial: trial == Trial(Variant(start="base"), 1))
    study = compare(tmp_path, ["se"], from_trained=True, observer=(diary := Diary()))
    assert list(diary.failures) == ["base-plain1", "trained-plain1", "trained-se1"]
    assert diary.failures["trained-se1"] == "plain resnet20, the base of others, seed 1, from which it starts, failed"
    assert [row.seeds for row in study.rows] == [(0, 1), (0,), (0, 1), (0,)]


@pytest.mark.usefixtures("unmeasured")
def test_controls_stand_beside_their_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnzoo.lab import controls

    monkeypatch.setattr(controls, "_ratio", lambda wider, *_: 1.1 if wider.widths else 0.9)
    told: list[str] = []
    observer = Diary()
    monkeypatch.setattr(observer, "matching", told.append)
    given = {"controls": True, "seeds": 1, "recipe": Recipe(epochs=1)}
    study = compare(tmp_path, ["se", "simam"], observer=observer, **given)
    wider = Variant(widths=((16, 17),), matches="parameters of se")
    assert [row.variant for row in study.rows][:4] == [PLAIN, SE, SIMAM, wider]
    by_module = {row.variant: row.controls for row in study.rows}
    assert by_module[SE]["parameters"] == wider
    assert by_module[SIMAM]["parameters"] == PLAIN
    assert by_module[SE]["latency"] == by_module[SIMAM]["latency"]
    assert set(told) == {"se at block in resnet20", "simam at block in resnet20"}
    assert any("than the plain one itself to simam" in note for note in study.notes)
    monkeypatch.setattr(controls, "_ratio", lambda *_: 1.0)
    again = compare(tmp_path, ["se", "simam"], observer=(diary := Diary()), **given)
    assert diary.started_trials == []
    assert [row.variant for row in again.rows] == [row.variant for row in study.rows]


@pytest.mark.parametrize("compiled", [False, True])
def test_networks_are_timed_compiled_if_they_were_trained_so(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    from attnzoo.lab import assessment

    seen: list[str] = []

    def timed(models: Any, *_: Any, **__: Any) -> dict[str, Latency]:
        seen.extend(type(model).__name__ for model in models.values())
        return dict.fromkeys(models, Latency(1.0, (1.0, 1.0), 1.0))

    monkeypatch.setattr(assessment, "forward", timed)
    monkeypatch.setattr(assessment, "training_step", timed)
    measure([PLAIN], Site((1, 8, 8), 10, torch.device("cpu"), 1), 16, compiled)
    assert set(seen) == {"OptimizedModule" if compiled else "CifarResNet"}


def test_networks_are_timed_as_they_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the precision and the layout of the study, for the table and for the controls."""
    from attnzoo.lab import assessment, controls

    seen: set[tuple[str, torch.dtype | None, bool]] = set()

    def timed(by: str) -> Callable[..., dict[str, Latency]]:
        def run(models: Any, *_: Any, dtype: torch.dtype | None, **__: Any) -> dict[str, Latency]:
            weights = [model.layer1[0].conv1.weight for model in models.values()]
            last = {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights}
            seen.update((by, dtype, one) for one in last)
            return dict.fromkeys(models, Latency(1.0, (1.0, 1.0), 1.0))

        return run

    monkeypatch.setattr(controls, "forward", timed("controls"))
    monkeypatch.setattr(assessment, "forward", timed("forward"))
    monkeypatch.setattr(assessment, "training_step", timed("step"))
    recipe = Recipe(epochs=1, channels_last=True)
    compare(tmp_path, ["simam"], controls=True, seeds=1, recipe=recipe, run=Run(precision="bf16-mixed"))
    assert seen == {(by, torch.bfloat16, True) for by in ("controls", "forward", "step")}


@pytest.mark.usefixtures("unmeasured")
def test_convolutions_are_replaced(tmp_path: Path) -> None:
    """At block all above 1 x 1 but the first; what has no meaning for a convolution is refused."""
    study = compare(tmp_path, ["do_conv", "se(reduction=4)"], seeds=1, recipe=Recipe(epochs=1))
    assert [row.label for row in study.rows] == ["plain", "do_conv", "se(reduction=4)"]
    model = build(Trial(study.rows[1].variant, 0), (1, 8, 8), 10)
    kinds = [type(part).__name__ for part in model.modules() if hasattr(part, "kernel_size")]
    assert (kinds[0], kinds.count("DOConv")) == ("Conv2d", 18)
    (last,) = [v for v in plan(["do_conv"], ["resnet20"], ["layer3.*.conv2"], (1, 8, 8), 10).parameters if not v.plain]
    assert sum(type(part).__name__ == "DOConv" for part in build(Trial(last, 0), (1, 8, 8), 10).modules()) == 3
    with pytest.raises(AttnzooError, match=r"do_conv: stands in for convolutions; place it at block .* not at 'stage'"):
        plan(["do_conv"], ["resnet20"], ["stage"], (1, 8, 8), 10)


@pytest.mark.usefixtures("unmeasured")
def test_broken_images_are_left_out_by_name(tmp_path: Path) -> None:
    place = tmp_path / "pets"
    for split, kind, number in itertools.product(("train", "test"), ("cat", "dog"), range(3)):
        file = place / split / kind / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(file)
    for broken_file in (place / "train/cat/1.png", place / "test/dog/0.png"):
        broken_file.write_bytes(b"nothing")
    given = {"limit_train": None, "limit_test": None, "recipe": Recipe(epochs=1, batch_size=2), "seeds": 1}
    with pytest.raises(AttnzooError, match="2 of 12 images cannot be used") as caught:
        compare(tmp_path / "out", ["se"], data=f"folder:{place}", **given)
    first, second = str(caught.value).splitlines()[1:]
    assert ("cat/1.png: expected an image" in first, "dog/0.png: expected an image" in second) == (True, True)
    study = compare(tmp_path / "out", ["se"], data=f"folder:{place}", skip_broken=True, **given)
    assert study.notes == ("2 broken images were left out; broken.txt names each.",)
    named = (tmp_path / "out" / "broken.txt").read_text().splitlines()
    assert [("cat/1.png" in named[0], "dog/0.png" in named[1], len(named))] == [(True, True, 2)]


@pytest.mark.usefixtures("unmeasured")
def test_the_command_tells_of_failures_and_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "se", "--out", str(tmp_path), "--seeds", "1", "--limit-train", "64", "--limit-test", "20"]
    command += ["--epochs", "1", "--batch-size", "32", "--flip", "none"]
    with monkeypatch.context() as within:
        broken(within, lambda trial: trial.variant == SE)
        assert cli.run(command) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "Failed, and so missing here: se at block in resnet20, seed 0 (OutOfMemoryError" in told
    assert (tmp_path / "results.json").exists()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as within:
        within.setattr(tasks, "train", interrupted)
        assert cli.run(command) == 130
    assert "interrupted; what is finished is kept, and compare continues there" in capsys.readouterr().err
    assert cli.run(command) == 0


def test_recipes_are_printed_as_they_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recipe", "fast"]) == 0
    file = tmp_path / "mine.toml"
    file.write_text(capsys.readouterr().out)
    assert recipes.find(str(file)) == recipes.find("fast")
    assert cli.run(["recipe", "slow"]) == 2


def test_small_batches_train_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmeasured: None) -> None:
    """Sixteen threads would share 4,096 pixels; and the caller's setting comes back."""
    now = [16]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)
    used: list[int] = []
    observer = Diary()
    monkeypatch.setattr(observer, "epoch", lambda *_: used.append(now[-1]))
    given = {"names": ["se"], "seeds": 1, "observer": observer}
    compare(tmp_path / "a", recipe=replace(QUICK, batch_size=64, epochs=1), **given)
    compare(tmp_path / "b", recipe=replace(QUICK, batch_size=1024, epochs=1), **given)
    assert used == [1, 1, 4, 4]
    assert now[-1] == 16


def test_wrong_requests_fail_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for names, changed, complaint in (
        (["see"], {}, r"unknown module 'see'; did you mean .*se"),
        ([], {}, "give at least one"),
        (["plain"], {}, "give at least one"),
        (["se"], {"seeds": 0}, "seeds=0"),
        (["se"], {"at": "layerX"}, "layerX"),
        (["se"], {"at": "block,"}, r"at=\['block', ''\] holds nothing or an empty word"),
        (["se"], {"backbone": "resnet21"}, "unknown backbone 'resnet21'; did you mean .*resnet20"),
        (["se"], {"backbone": "torchvision:resnet18"}, "takes images of 3 channels, got 1"),
        (["dual_attention"], {}, "does not plug in"),
        (["se"], {"data": "digit"}, "'digit' is unknown"),
        (["se"], {"run": Run(device="abacus")}, "abacus"),
        (["se"], {"engine": "slurm"}, "engine='slurm'"),
        (["se"], {"workers": 2}, "are for engine='ray'"),
        (["se"], {"from_trained": True, "recipe": Recipe(epochs=1)}, "trained_epochs=0 leaves no epochs"),
        (["se"], {"trained_epochs": 1}, "trained_epochs needs from_trained"),
        (["se"], {"from_trained": True, "trained_epochs": 2}, "trained_epochs=2 leaves no epochs on both sides of 2"),
        (["se"], {"out": tmp_path / "file"}, "expected a folder to write to"),
    ):
        with pytest.raises(AttnzooError, match=complaint):
            compare(**{"out": tmp_path / "out", "names": names, "observer": (diary := Diary())} | changed)
        assert not diary.started_trials
    assert not (tmp_path / "out").exists()


def test_backbones() -> None:
    for network, shape in (
        ("resnet20", (2, 1, 8, 8)),
        ("resnet18d", (2, 1, 32, 32)),
        ("timm:resnet18", (2, 1, 32, 32)),
        ("torchvision:resnet18", (2, 3, 32, 32)),
    ):
        assert backbones.build(network, num_classes=7, in_channels=shape[1])(torch.rand(shape)).shape == (2, 7)


def test_environment_names_what_decides() -> None:
    told = environment.describe(torch.device("cpu"))
    assert told.keys() == {"device", "system", "python", "torch", "attnzoo"}
    assert told["device"].startswith("CPU ")
