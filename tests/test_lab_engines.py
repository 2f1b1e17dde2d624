"""Does an engine run every trial, the same under each, and outlive what fails?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnzoo import AttnzooError
from attnzoo.lab import engines, environment
from attnzoo.lab.data import Data, load
from attnzoo.lab.engines import Failed, Finished, Shared, Task
from attnzoo.lab.observer import Observer
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.train import Run
from attnzoo.lab.trained import read
from attnzoo.lab.trial import Epoch, Trial, Variant

PLAIN, SE, ECA = (Trial(variant, 0) for variant in (Variant(), Variant("se", at="block"), Variant("eca", at="block")))
RECIPE = Recipe(epochs=6)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", limit_train=192, limit_test=50)


def shared(data: Data, folder: Path, device: str = "cpu") -> Shared:
    return Shared(data, Run(device=device).chosen(RECIPE), folder, threads=1)


def run(
    name: str,
    trials: list[Trial],
    given: Shared,
    observer: Observer,
    workers: int | None = None,
    recipe: Recipe = RECIPE,
) -> dict[Trial, Finished | Failed]:
    found: dict[Trial, Finished | Failed] = {}
    with engines.choose(name, given, None, workers) as engine:
        for told in engine.run([Task(trial, recipe) for trial in trials], observer):
            found[told.trial if isinstance(told, Failed) else told.outcome.trial] = told
    return found


def scores(told: Finished | Failed) -> list[tuple[float, float]]:
    assert isinstance(told, Finished)
    return [(epoch.train_loss, epoch.top1) for epoch in told.outcome.epochs]


class Killer(Observer):
    """Kills the process of a trial, by its title, after one of its epochs, so many times."""

    def __init__(self, **times: int) -> None:
        self.left = times
        self.starts: list[Trial] = []
        self.epochs: list[tuple[Trial, int]] = []
        self.deaths: list[Trial] = []

    def died(self, trial: Trial) -> None:
        self.deaths.append(trial)

    def started(self, trial: Trial) -> None:
        self.starts.append(trial)

    def epoch(self, trial: Trial, number: int, epoch: Epoch) -> None:
        self.epochs.append((trial, number))
        if self.left.get(trial.variant.module, 0):
            self.left[trial.variant.module] -= 1
            (process,) = (int(p.name) for p in Path("/proc").glob("[0-9]*") if title(p) == f"ray::{trial.slug()}")
            os.kill(process, signal.SIGKILL)


def title(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().strip("\0 ")
    except OSError:  # it has ended meanwhile
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_ray_gives_what_one_process_gives_though_workers_die(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker dies once and another takes over from the checkpoint; one dies too often and is given up."""
    pytest.importorskip("ray")
    assert engines.ray.RETRIES == 2
    monkeypatch.setattr(engines.ray, "RETRIES", 1)  # a new worker takes seconds to start
    killer = Killer(plain=1, se=2)
    found = run("ray", [PLAIN, SE, ECA], shared(data, tmp_path / "ray"), killer, workers=2)
    alone = run("serial", [PLAIN, ECA], shared(data, tmp_path / "serial"), Observer())
    assert isinstance(found[PLAIN], Finished)
    assert found[PLAIN].environment[environment.AT_ONCE] == "2"
    assert [killer.starts.count(trial) for trial in (PLAIN, SE, ECA)] == [2, 2, 1]
    assert sorted(killer.deaths, key=str) == [PLAIN, SE]
    for trial in (PLAIN, ECA):
        assert scores(found[trial]) == scores(alone[trial])
        files = (tmp_path / engine / "models" / f"{trial.slug()}.safetensors" for engine in ("ray", "serial"))
        one, other = (read(file)[2] for file in files)
        assert all((one[key] == other[key]).all() for key in other)
    assert [number for trial, number in killer.epochs if trial == ECA] == [1, 2, 3, 4, 5, 6]
    failed = found[SE]
    assert isinstance(failed, Failed)
    assert "the process that trained it died 2 times" in failed.reason
    assert (tmp_path / "ray" / "checkpoints" / f"{SE.slug()}.pt").exists()
    again = run("serial", [SE], shared(data, tmp_path / "ray"), Observer())
    fresh = run("serial", [SE], shared(data, tmp_path / "fresh"), Observer())
    assert scores(again[SE]) == scores(fresh[SE])


def where(*given: object) -> tuple[int, int]:
    """The process that computes, and its threads."""
    if given == ("fail",):
        raise AttnzooError("it failed")
    return os.getpid(), torch.get_num_threads()


def test_other_work_runs_where_trials_run(data: Data, tmp_path: Path) -> None:
    """A driver may lack the devices of the workers, so that they measure."""
    pytest.importorskip("ray")
    for name, here in (("serial", True), ("ray", False)):
        with engines.choose(name, shared(data, tmp_path), None, None if here else 1) as engine:
            process, threads = engine.call(where)
            assert (process == os.getpid(), threads) == (here, 1)
            with pytest.raises(AttnzooError, match="it failed"):
                engine.call(where, "fail")


def test_a_trial_that_fails_does_not_stop_the_others(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnzoo.lab.engines import tasks

    def train(trial: Trial, *_: object, **options: object) -> object:
        if trial == SE:
            raise MemoryError("out of it")
        if trial == ECA:
            raise AttnzooError(f"trial {trial}: the training loss became nan")
        return real(trial, *_, **options)  # type: ignore[arg-type]

    real = tasks.train
    monkeypatch.setattr(tasks, "train", train)
    found = run("serial", [SE, ECA, PLAIN], shared(data, tmp_path), Observer(), recipe=Recipe(epochs=1))
    assert found[SE] == Failed(SE, "MemoryError: out of it")
    assert found[ECA] == Failed(ECA, "the training loss became nan")
    assert len(scores(found[PLAIN])) == 1


def test_wrong_requests(data: Data, tmp_path: Path) -> None:
    given = shared(data, tmp_path)
    for name, address, workers, complaint in (
        ("dask", None, None, "engine='dask'"),
        ("serial", "auto", None, "are for engine='ray'"),
        ("serial", None, 2, "are for engine='ray'"),
        ("ray", None, 0, "workers=0"),
    ):
        with pytest.raises(AttnzooError, match=complaint):
            engines.choose(name, given, address, workers)


def test_ray_deals_out_devices_itself(data: Data, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(AttnzooError, match="give device='cuda', not 'cuda:1'"):
        engines.choose("ray", shared(data, tmp_path, "cuda:1"))


def test_a_missing_ray_is_named() -> None:
    code = """
import sys; sys.modules["ray"] = None
from attnzoo.lab import sweep
sweep.compare(["se"], out="nowhere", engine="ray", limit_train=64, limit_test=20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("engine='ray' needs Ray: pip install 'attnzoo[ray]'.")
