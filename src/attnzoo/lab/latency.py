"""Forward latency of several models, measured in turns so that a busy machine slows them alike."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from attnzoo.lab.environment import threads


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one forward pass at batch 1, and the median ratio to the first model."""

    milliseconds: float
    ratio: float


def measure(
    models: Mapping[str, nn.Module],
    shape: tuple[int, int, int],
    device: str | torch.device = "cpu",
    rounds: int = 60,
) -> dict[str, Latency]:
    """Run every model once a round, one after the other; a ratio compares passes of the same round.

    On a CPU in one thread: at batch 1 several wait for each other more than they help.

    Args:
        models: by name; the first is what the others are compared with. They are put in eval mode.
        shape: (C, H, W) of the image.
        device: where.
        rounds: how often, after a tenth as many to warm up.
    """
    image = torch.rand(1, *shape, device=device)
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.to(device).eval()
    with torch.inference_mode(), threads(1):
        for number in range(-(rounds // 10) - 1, rounds):
            for name, model in models.items():
                seconds = _seconds(model, image)
                if number >= 0:
                    times[name].append(seconds)
    first = next(iter(times.values()))
    return {
        name: Latency(1000 * median(taken), median(a / b for a, b in zip(taken, first, strict=True)))
        for name, taken in times.items()
    }


def _seconds(model: nn.Module, image: torch.Tensor) -> float:
    _finish(image.device)
    start = time.perf_counter()
    model(image)
    _finish(image.device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    """Wait for an accelerator's queue; a CPU has none."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
