"""Times of several models, measured in turns so that a busy machine slows them alike."""

import copy
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from attnzoo import checks
from attnzoo.lab.environment import threads


@dataclass(frozen=True)
class Latency:
    """How long one pass or step takes.

    Attributes:
        milliseconds: the median over all rounds.
        quartiles: the first and the third, in milliseconds.
        ratio: to the first model, the median over the rounds' own ratios.
        batch: images in it.
    """

    milliseconds: float
    quartiles: tuple[float, float]
    ratio: float
    batch: int = 1

    @property
    def images_per_second(self) -> float:
        """Images a second at the median."""
        return 1000 * self.batch / self.milliseconds


def forward(
    models: Mapping[str, nn.Module],
    shape: Sequence[int],
    device: str | torch.device = "cpu",
    *,
    batch: int = 1,
    rounds: int = 60,
    dtype: torch.dtype | None = None,
) -> dict[str, Latency]:
    """Time forward passes in eval mode without gradients.

    At batch 1 a CPU uses one thread: several wait for each other more than they help.

    Args:
        models: by name; the first is what the others are compared with. They are put on the device, in eval mode.
        shape: (C, H, W) of an image.
        device: where; a GPU is timed by its own events.
        batch: images a pass.
        rounds: how often, after a tenth as many to warm up.
        dtype: run under autocast to it; None computes as the models are.

    Raises:
        AttnzooError: batch is below 1, or rounds below 2.
    """
    place = torch.device(device)
    images = torch.rand(batch, *shape, device=place)
    for model in models.values():
        model.to(place).eval()

    def run(model: nn.Module) -> None:
        with torch.inference_mode(), torch.autocast(place.type, dtype, enabled=dtype is not None):
            model(images)

    with threads(1) if batch == 1 else nullcontext():
        return _in_turns({name: partial(run, model) for name, model in models.items()}, place, batch, rounds)


def training_step(
    models: Mapping[str, nn.Module],
    shape: Sequence[int],
    classes: int,
    device: str | torch.device = "cpu",
    *,
    batch: int = 128,
    rounds: int = 10,
    dtype: torch.dtype | None = None,
) -> dict[str, Latency]:
    """Time training steps: forward, cross-entropy, backward, and SGD with momentum.

    Args:
        models: by name, giving logits (B, classes); the first is what the others are compared with. Copies are
            trained; the models stay as they are.
        shape, device, rounds, dtype: as in `forward`.
        classes: K.
        batch: images a step.

    Raises:
        AttnzooError: batch is below 1, or rounds below 2.
    """
    place = torch.device(device)
    images = torch.rand(batch, *shape, device=place)
    labels = torch.arange(batch, device=place) % classes
    return _in_turns({name: _step(m, images, labels, dtype) for name, m in models.items()}, place, batch, rounds)


def _step(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype | None
) -> Callable[[], None]:
    model = copy.deepcopy(model).to(images.device).train()
    optimizer = SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def _in_turns(
    runs: Mapping[str, Callable[[], None]], device: torch.device, batch: int, rounds: int
) -> dict[str, Latency]:
    """Time every run once a round, in an order drawn anew each time."""
    checks.positive("latency", batch=batch)
    checks.at_least("latency", 2, rounds=rounds)
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for number in range(-(rounds // 10) - 1, rounds):
        for name in order.sample(list(runs), len(runs)):
            taken = _milliseconds(runs[name], device)
            if number >= 0:
                times[name].append(taken)
    first = next(iter(times.values()))
    return {name: _latency(taken, first, batch) for name, taken in times.items()}


def _latency(taken: Sequence[float], first: Sequence[float], batch: int) -> Latency:
    low, middle, high = quantiles(taken, n=4, method="inclusive")
    return Latency(middle, (low, high), median(a / b for a, b in zip(taken, first, strict=True)), batch)


def _milliseconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        return _by_events(run, device)
    finish(device)
    start = time.perf_counter()
    run()
    finish(device)
    return 1000 * (time.perf_counter() - start)


def _by_events(run: Callable[[], None], device: torch.device) -> float:
    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)


def finish(device: torch.device) -> None:
    """Wait for an accelerator's queue; a CPU has none."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
