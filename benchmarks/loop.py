"""What the laboratory's training loop costs beside the network: input pipeline, overhead, start of a trial.

    python benchmarks/loop.py                   on the CPU; writes results/loop-cpu.json
    python benchmarks/loop.py --device cuda     on a GPU; writes results/loop-cuda.json

ResNet-20 on 32 x 32 images, by the recipe `fast` at its own batch size. All in one process, in turns, medians:
the input pipeline is an epoch's batches drawn, augmented and normalised without a network; the bare loop is forward,
backward and torch's SGD step on one batch that is there already, in the same precision and memory layout. A trial
starts when `train` is called and has started when its first step is over. The first trial of a process also imports
Fabric and what torch's optimizers need, torch._dynamo, which alone takes seconds. So it is measured in processes of its
own, in turns with the first step of a bare loop, and what it takes beyond that is held to the limit.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from attnzoo.lab import environment, recipes
from attnzoo.lab.batches import scale_of
from attnzoo.lab.building import build
from attnzoo.lab.data import Data, Split
from attnzoo.lab.fabric import fabric_for
from attnzoo.lab.loop import Loop
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.train import Run, train
from attnzoo.lab.trial import Trial, Variant

TRIAL = Trial(Variant(backbone="resnet20"), 0)
RESULTS = Path(__file__).parents[1] / "results"
LIMITS = {"pipeline": 0.05, "rate": 0.90, "start": 3.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="of an epoch; 2 on a CPU, 50 on a GPU")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--start", choices=["trial", "bare"], help="only print the seconds to a first step, for itself")
    given = parser.parse_args()
    if given.start:
        print(start(given.device) if given.start == "trial" else bare_start(given.device))
        return 0
    steps = given.steps or (2 if given.device == "cpu" else 50)
    found = measure(given.device, steps, given.rounds)
    place = torch.device(given.device)
    page = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "environment": environment.describe(place),
        "machine": platform.machine(),
        "backbone": "resnet20",
        "images": "3x32x32",
        "recipe": "fast",
        "batch_size": recipes.FAST.batch_size,
        "steps": steps,
        "rounds": given.rounds,
        **found,
        "limits": LIMITS,
    }
    (RESULTS / f"loop-{place.type}.json").write_text(json.dumps(page, indent=1) + "\n")
    Console().print(table(found))
    starts = found["start"] < LIMITS["start"] and found["first_start"] - found["first_bare"] < LIMITS["start"]
    return 0 if found["pipeline"] < LIMITS["pipeline"] and found["rate"] >= LIMITS["rate"] and starts else 1


def measure(device: str, steps: int, rounds: int) -> dict[str, Any]:
    """The figures, as the keys of LIMITS and what they are made of, in seconds."""
    recipe = replace(recipes.FAST, epochs=rounds + 1)
    data = images(steps * recipe.batch_size)
    run = Run(device).chosen(recipe)
    torch.backends.cudnn.benchmark = True
    fabric = fabric_for(torch.device(device), 1, run.precision)
    loop = Loop(fabric, network(), data, recipe, scale_of(data.train.images), 0, compiled=False)
    bare = bare_loop(loop, recipe)
    seconds: dict[str, list[float]] = {"loop": [], "bare": [], "pipeline": []}
    for number in range(1, rounds + 2):  # the first is for warming up
        seconds["loop"].append(loop.epoch(number).seconds)
        seconds["bare"].append(timed(lambda: [bare() for _ in range(steps)], device))
        seconds["pipeline"].append(timed(lambda n=number: [None for _ in loop.batches.epoch(n)], device))
    epochs, bares, pipelines = (statistics.median(values[1:]) for values in seconds.values())
    rate = statistics.median(b / e for e, b in zip(seconds["loop"][1:], seconds["bare"][1:], strict=True))
    command = [sys.executable, __file__, "--device", device, "--start"]
    firsts: dict[str, list[float]] = {"bare": [], "trial": []}
    for what in 3 * list(firsts):
        told = subprocess.run([*command, what], capture_output=True, text=True, check=True).stdout
        firsts[what].append(float(told))
    start(device)
    return {
        "pipeline": pipelines / epochs,
        "rate": rate,
        "start": statistics.median(start(device) for _ in range(5)),
        "first_start": statistics.median(firsts["trial"]),
        "first_bare": statistics.median(firsts["bare"]),
        "epoch_seconds": epochs,
        "bare_seconds": bares,
    }


def network() -> nn.Module:
    return build(TRIAL, (3, 32, 32), 10)


def images(count: int) -> Data:
    draws = torch.Generator().manual_seed(0)
    train, test = (
        Split(torch.randint(256, (n, 3, 32, 32), generator=draws, dtype=torch.uint8), torch.arange(n) % 10)
        for n in (count, 10)
    )
    return Data("noise", 10, train, test, mirror=True)


def bare_loop(loop: Loop, recipe: Recipe) -> Callable[[], None]:
    """One step of a loop that anyone would write."""
    device = loop.fabric.device
    model = network().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    batch, labels = next(loop.batches.epoch(1))

    def step() -> None:
        with loop.fabric.autocast():
            logits: Tensor = model(batch)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def timed(work: Callable[[], object], device: str) -> float:
    begin = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def start(device: str) -> float:
    """Seconds from the call of `train` to the end of the first step of a batch of 128."""
    data, recipe = images(128), replace(recipes.FAST, epochs=1, batch_size=128)
    ends: list[float] = []
    handle = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    begin = time.perf_counter()
    train(TRIAL, data, recipe, run=Run(device))
    handle.remove()
    return ends[0] - begin


def bare_start(device: str) -> float:
    """Seconds in which a loop without the laboratory builds the same network and its optimizer and makes a step."""
    images, labels = torch.rand(128, 3, 32, 32, device=device), torch.arange(128, device=device) % 10
    begin = time.perf_counter()
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()
    return time.perf_counter() - begin


def table(found: dict[str, Any]) -> Table:
    rows = Table("measure", "found", "limit", title="The training loop, ResNet-20, 32 x 32")
    rows.add_row("input pipeline, share of an epoch", f"{found['pipeline']:.1%}", f"below {LIMITS['pipeline']:.0%}")
    rows.add_row("rate, of the bare loop's", f"{found['rate']:.1%}", f"{LIMITS['rate']:.0%} or more")
    rows.add_row("start of a trial", f"{found['start']:.2f} s", f"below {LIMITS['start']:.0f} s")
    beyond = found["first_start"] - found["first_bare"]
    rows.add_row("start of a process's first trial, imports included", f"{found['first_start']:.2f} s", "")
    rows.add_row("the same of a bare loop", f"{found['first_bare']:.2f} s", "")
    rows.add_row("what the laboratory adds to that", f"{beyond:.2f} s", f"below {LIMITS['start']:.0f} s")
    return rows


if __name__ == "__main__":
    sys.exit(main())
