"""One trial: one variant of a backbone, one seed, trained and tested after every epoch, on Lightning Fabric."""

import logging
import math
import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.lab import environment, trained
from attnzoo.lab.batches import Scale, scale_of, seed_of
from attnzoo.lab.building import build, seeded
from attnzoo.lab.checkpoint import Checkpoint
from attnzoo.lab.cooling import cools
from attnzoo.lab.data import Data
from attnzoo.lab.fabric import fabric_for
from attnzoo.lab.layout import checkpoint_file, model_file
from attnzoo.lab.loop import Loop
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.tensorboard import Board
from attnzoo.lab.trial import Epoch, Outcome, Trial

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from lightning_fabric import Fabric

PRECISIONS: Final = ("auto", "32-true", "bf16-mixed", "16-mixed")
METHOD: Final = 3  # of training and testing; raised when the same trial comes to give other numbers
OnEpoch = Callable[[int, Epoch], None]


@dataclass(frozen=True)
class Run:
    """Where and how a trial is computed.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`, `mps`; with several devices the first of them.
        devices: how many; each takes its share of every batch and has its own batch statistics.
        precision: Fabric's `32-true`, `bf16-mixed` or `16-mixed`; `auto` is bf16-mixed on a GPU if the recipe
            wants half, 16-mixed where that has no bfloat16; else 32-true.
        compile: run the network through `torch.compile`.
        tensorboard: write `tensorboard/` in the study's folder.

    Raises:
        AttnzooError: a precision that is unknown or that the device lacks, or devices below 1.
    """

    device: str = "cpu"
    devices: int = 1
    precision: str = "auto"
    compile: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        checks.positive("run", devices=self.devices)
        checks.choice("run", PRECISIONS, precision=self.precision)
        holds = self.precision != "16-mixed" or self.device.startswith("cuda")
        checks.only_with("run", holds, "precision='16-mixed'", "device='cuda'; use bf16-mixed or 32-true")

    def chosen(self, recipe: Recipe) -> "Run":
        """The same with the precision that `auto` stands for under a recipe."""
        if self.precision != "auto":
            return self
        if not recipe.half or not self.device.startswith("cuda"):
            return replace(self, precision="32-true")
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return replace(self, precision="bf16-mixed" if bf16 else "16-mixed")


def train(
    trial: Trial,
    data: Data,
    recipe: Recipe,
    *,
    run: Run = Run(),
    folder: Path | None = None,
    base: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Outcome:
    """Train and test one trial; on a CPU the same trial gives the same numbers, bit for bit, interrupted or not.

    Backbone weights, batch order and augmentation depend on the seed alone, so that variants of one seed are
    compared in pairs; one that starts "trained" draws other batches than its base did, by a schedule of its own.
    With several devices, batches are dealt out among processes of their own: guard what a script runs by
    `if __name__ == "__main__"`.

    Args:
        trial: what to train.
        data: the images; kept on the device as uint8.
        recipe: how to train.
        run: where.
        folder: of the study: every epoch is kept in `checkpoints/`, from where an interrupted trial continues
            (`Store.add` drops that file), and the trained network comes into `models/`. None keeps nothing.
        base: of a trial that starts "trained", the model file that it starts from.
        on_epoch: called after each epoch with its number, from 1, and its figures; not for epochs of the checkpoint.

    Raises:
        AttnzooError: as `build`; a device that is not there; a loss or logits that are no finite numbers; a checkpoint
            of something else; a file that cannot be written; a process of several that died.
    """
    run = run.chosen(recipe)
    device = environment.device(run.device)
    if recipe.batch_size % run.devices:
        raise AttnzooError(f"devices={run.devices} do not share batch_size={recipe.batch_size} evenly; change one.")
    if run.tensorboard and folder is None:
        raise AttnzooError("run: tensorboard=True needs a folder to write to.")
    fabric = fabric_for(device, run.devices, run.precision)
    job = _Job(trial, data, recipe, run, folder, base)
    if run.devices == 1:
        return job.train(fabric, on_epoch)
    return _on_several(fabric, replace(job, data=data.to("cpu")), on_epoch)


@dataclass(frozen=True)
class _Job:
    trial: Trial
    data: Data
    recipe: Recipe
    run: Run
    folder: Path | None
    base: Path | None

    def train(self, fabric: "Fabric", on_epoch: OnEpoch | None) -> Outcome:
        """Train on the devices that Fabric has launched; only the first writes and tells."""
        scale = scale_of(self.data.train.images)
        writes = fabric.is_global_zero
        board = Board(self.folder, self.trial) if self.folder and self.run.tensorboard and writes else None
        with seeded(self.trial.seed, fabric.device), torch.backends.cudnn.flags(benchmark=True):
            model = self._model()
            cooled = cools(self.trial.variant)
            loop = Loop(fabric, model, self.data, self.recipe, scale, self._draws(), self.run.compile, cooled)
            checkpoint, epochs = self._continued(fabric, loop)
            for number in range(len(epochs) + 1, self.recipe.epochs + 1):
                epochs.append(self._finite(loop.epoch(number), number))
                if checkpoint and writes:
                    checkpoint.save({**loop.state(), "epochs": [asdict(epoch) for epoch in epochs]})
                if board:
                    board.write(number, epochs[-1])
                if on_epoch and writes:
                    on_epoch(number, epochs[-1])
            if self.folder and writes:
                file = model_file(self.folder, self.trial)
                trained.save_trained(file, loop.tested, self.trial, self._about(scale))
        return Outcome(self.trial, tuple(epochs))

    def work(self, fabric: "Fabric", writer: "Connection[Any, Any]", threads: int) -> list[dict[str, Any]]:
        """What each process of several does; gives the epochs as Fabric can hand them over."""
        torch.set_num_threads(threads)
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        outcome = self.train(fabric, lambda number, epoch: writer.send((number, epoch)))
        return [asdict(epoch) for epoch in outcome.epochs]

    def _model(self) -> nn.Module:
        if self.trial.variant.start == "trained":
            return trained.started(self.trial, self.data.shape, self.data.classes, self.base)
        return build(self.trial, self.data.shape, self.data.classes)

    def _draws(self) -> int:
        """The seed of order and augmentation: what goes on from a trained network must not see its batches again."""
        start, seed = self.trial.variant.start, self.trial.seed
        return seed_of(seed, start) if start == "trained" else seed

    def _continued(self, fabric: "Fabric", loop: Loop) -> tuple[Checkpoint | None, list[Epoch]]:
        """The trial's checkpoint and the epochs that the loop now has behind it."""
        if self.folder is None:
            return None, []
        checkpoint = Checkpoint(checkpoint_file(self.folder, self.trial), self._made())
        state = checkpoint.load() if fabric.is_global_zero else None
        if fabric.world_size > 1:
            fabric.barrier()  # a damaged file is out of the way
            state = state if fabric.is_global_zero else checkpoint.load()
        if state is None:
            return checkpoint, []
        loop.load(state)
        return checkpoint, [Epoch(**epoch) for epoch in state["epochs"]]

    def _made(self) -> dict[str, Any]:
        """All that decides the trial's numbers."""
        return {
            "trial": str(self.trial),
            "variant": self.trial.variant.slug(),
            "base": None if self.base is None else trained.digest_of(self.base),
            "data": self.data.name,
            "pixels": self.data.fingerprint(),
            "device": torch.device(self.run.device).type,
            "devices": self.run.devices,
            "precision": self.run.precision,
            "compile": self.run.compile,
            "method": METHOD,
            **asdict(self.recipe),
        }

    def _about(self, scale: Scale) -> trained.About:
        mean, std = (tuple(value.flatten().tolist()) for value in (scale.mean, scale.std))
        data = self.data
        return trained.About(data.name, data.shape, data.classes, data.class_names, mean, std)

    def _finite(self, epoch: Epoch, number: int) -> Epoch:
        for name, value in (("the training loss", epoch.train_loss), ("the test accuracy", epoch.top1)):
            if not math.isfinite(value):
                raise AttnzooError(
                    f"trial {self.trial}: {name} became {value} in epoch {number}; "
                    f"lower the learning rate of {self.recipe.learning_rate:g}, or warm up longer."
                )
        return epoch


def _on_several(fabric: "Fabric", job: _Job, on_epoch: OnEpoch | None) -> Outcome:
    """Launch a process a device; what the first of them tells comes through a pipe."""
    reader, writer = multiprocessing.get_context("spawn").Pipe(duplex=False)
    listener = threading.Thread(target=_listen, args=(reader, on_epoch), daemon=True)
    listener.start()
    threads = max(1, torch.get_num_threads() // job.run.devices)
    try:
        epochs = fabric.launch(job.work, writer, threads)  # type: ignore[arg-type]
    except (ProcessRaisedException, ProcessExitedException) as error:
        _, ours, told = str(error).strip().rpartition(f"{AttnzooError.__module__}.{AttnzooError.__name__}: ")
        told = told if ours else f"trial {job.trial}: a training process died ({told.splitlines()[-1]}); run again."
        raise AttnzooError(told) from error
    finally:
        writer.close()
        listener.join()
    return Outcome(job.trial, tuple(Epoch(**epoch) for epoch in epochs))


def _listen(reader: "Connection[Any, Any]", on_epoch: OnEpoch | None) -> None:
    """Pass on numbers and epochs until the last process has closed the pipe."""
    with suppress(EOFError, OSError):
        while True:
            told = reader.recv()
            if on_epoch:
                on_epoch(*told)
