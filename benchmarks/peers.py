"""Our modules against their peers in timm and fightingcv-attention: time and memory, side by side in one process.

At (8, 256, 56, 56) in float32 on one CPU thread; all versions of a module take turns, and the median counts.
Writes results/peers-DEVICE.json and .csv and prints the table. `--modules` measures only some.
"""

import argparse
import csv
import gc
import importlib
import json
import math
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import attnzoo
from attnzoo import examples

SHAPE = (8, 256, 56, 56)
C, H, W = SHAPE[1:]
RESULTS = Path(__file__).parent.parent / "results"
GOALS = ("cbam", "triplet", "coord", "shuffle_attention", "simam", "bam", "sge", "polarized")
Peer = Callable[[], nn.Module]


def timm_attn(name: str, **arguments: object) -> Peer:
    """A module that timm's factory makes."""
    return lambda: importlib.import_module("timm.layers").create_attn(name, C, **arguments)


def timm_layer(name: str, *arguments: object, **named: object) -> Peer:
    """A class of timm's layers."""
    return lambda: getattr(importlib.import_module("timm.layers"), name)(*arguments, **named)


def fighting(file: str, name: str, *arguments: object, **named: object) -> Peer:
    """A class of fightingcv-attention."""
    return lambda: getattr(importlib.import_module(f"fightingcv_attention.attention.{file}"), name)(*arguments, **named)


# Ours with the arguments that make it compute as much as the peers do; the peers by where they come from.
# Theirs of BAM runs on this map with dilation 1 only; their S2 attention runs with 512 channels only.
VERSIONS: dict[str, tuple[dict[str, object], dict[str, Peer]]] = {
    "se": ({"channels": C}, {"timm": timm_attn("se"), "fightingcv": fighting("SEAttention", "SEAttention", C)}),
    "eca": ({"channels": C}, {"timm": timm_attn("eca"), "fightingcv": fighting("ECAAttention", "ECAAttention", 5)}),
    "ese": ({"channels": C}, {"timm": timm_attn("ese")}),
    "cbam": (
        {"channels": C},
        {"timm": timm_attn("cbam"), "fightingcv": fighting("CBAM", "CBAMBlock", C, kernel_size=7)},
    ),
    "bam": ({"channels": C}, {"fightingcv": fighting("BAM", "BAMBlock", C, dia_val=1)}),
    "coord": (
        {"channels": C},
        {"timm": timm_attn("coord"), "fightingcv": fighting("CoordAttention", "CoordAtt", C, C)},
    ),
    "simam": ({}, {"fightingcv": fighting("SimAM", "SimAM")}),
    "sge": ({"groups": 8}, {"fightingcv": fighting("SGE", "SpatialGroupEnhance", 8)}),
    "triplet": ({}, {"fightingcv": fighting("TripletAttention", "TripletAttention")}),
    "shuffle_attention": (
        {"channels": C, "groups": 8},
        {"fightingcv": fighting("ShuffleAttention", "ShuffleAttention", C, G=8)},
    ),
    "polarized": (
        {"channels": C},
        {"fightingcv": fighting("PolarizedSelfAttention", "ParallelPolarizedSelfAttention", C)},
    ),
    "parnet_attention": ({"channels": C}, {"fightingcv": fighting("ParNetAttention", "ParNetAttention", C)}),
    "sk": (
        {"in_channels": C, "kernel_sizes": (3, 5), "groups": 32},
        {"timm": timm_layer("SelectiveKernel", C, groups=32, split_input=False)},
    ),
    "split_attention": ({"in_channels": C}, {"timm": timm_layer("SplitAttn", C)}),
    "gc": ({"channels": C}, {"timm": timm_attn("gc")}),
}


def measure(versions: dict[str, nn.Module], rounds: int, backward: bool) -> dict[str, float]:
    """Median seconds of each version, all taking turns."""
    x = torch.randn(SHAPE, requires_grad=backward)
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    order = list(versions)
    for turn in range(rounds + 1):
        random.shuffle(order)  # who runs after whom matters to the allocator
        for name in order:
            module = versions[name]
            gc.collect()
            start = time.perf_counter()
            if backward:
                y = module(x)
                y.backward(y.detach())
                x.grad = None
            else:
                with torch.no_grad():
                    module(x)
            if turn:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def saved_bytes(module: nn.Module) -> int:
    """What a training step keeps for its backward pass, without the parameters."""
    return attnzoo.cost(module, SHAPE[1:]).activation_bytes * SHAPE[0]


def compare(name: str, rounds: int) -> dict[str, object]:
    """One module and its peers."""
    arguments, peers = VERSIONS[name]
    versions, broken = {"attnzoo": attnzoo.create(name, **{**examples.arguments(name, C, (H, W)), **arguments})}, {}
    for peer, make in peers.items():
        try:
            versions[peer] = make()
            versions[peer](torch.randn(2, *SHAPE[1:], requires_grad=True)).sum().backward()
        except Exception as error:
            broken[peer] = f"{type(error).__name__}: {error}"
            versions.pop(peer, None)
    forward, both = (measure(versions, rounds, backward) for backward in (False, True))
    others = [peer for peer in versions if peer != "attnzoo"]
    best = {kind: min((times[p] for p in others), default=math.nan) for kind, times in (("f", forward), ("b", both))}
    return {
        "module": name,
        "forward_ratio": forward["attnzoo"] / best["f"],
        "forward_backward_ratio": both["attnzoo"] / best["b"],
        "saved_mib": {key: round(saved_bytes(module) / 2**20, 1) for key, module in versions.items()},
        "forward_seconds": forward,
        "forward_backward_seconds": both,
        "broken_peers": broken,
    }


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers; not a number where there is none."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def table(rows: list[dict]) -> Table:
    """Ratios to the fastest peer, below 1 where we are faster."""
    result = Table(title=f"time over the fastest peer's at {SHAPE}, float32, one CPU thread", title_justify="left")
    for column in ("module", "forward", "forward + backward", "saved for backward, MiB"):
        result.add_column(column, justify="left" if column == "module" else "right")
    for row in rows:
        saved = "  ".join(f"{name} {mib:,.0f}" for name, mib in row["saved_mib"].items())
        result.add_row(row["module"], f"{row['forward_ratio']:.2f}", f"{row['forward_backward_ratio']:.2f}", saved)
    return result


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--modules", nargs="+", choices=list(VERSIONS), default=[n for n in VERSIONS if n in attnzoo.names()]
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed turns of each version")
    parser.add_argument("--dry", action="store_true", help="write no files")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [compare(name, given.rounds) for name in given.modules]
    summary = {
        f"{kind}_geometric_mean": geometric_mean([row[f"{kind}_ratio"] for row in rows if row["module"] in GOALS])
        for kind in ("forward", "forward_backward")
    }
    Console(width=120).print(table(rows), summary)
    if given.dry:
        return
    about = {
        "shape": SHAPE,
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": 1,
        "rounds": given.rounds,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peers-cpu.json").write_text(json.dumps({**about, **summary, "rows": rows}, indent=1) + "\n")
    with (RESULTS / "peers-cpu.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["module", "version", "forward_seconds", "forward_backward_seconds", "saved_mib"])
        for row in rows:
            for version, seconds in row["forward_seconds"].items():
                both = row["forward_backward_seconds"][version]
                writer.writerow([row["module"], version, f"{seconds:.5f}", f"{both:.5f}", row["saved_mib"][version]])


if __name__ == "__main__":
    main()
