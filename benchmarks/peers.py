"""Our modules against their peers in timm and fightingcv-attention: CPU time and memory, side by side in one process.

In float32 on one CPU thread; all versions of a module take turns, and the median counts. contests.py has the peers.
Writes results/peers-cpu.json and .csv and prints the table. `--modules` measures only some and keeps the rows of the
others.
"""

import argparse
import csv
import ctypes
import gc
import json
import math
import random
import statistics
import time
import warnings
from pathlib import Path

import torch
from contests import CONTESTS
from rich.console import Console
from rich.table import Table
from rows import merged, provenance
from torch import nn

import attnzoo
from attnzoo.lab.cost import saved_bytes

RESULTS = Path(__file__).parent.parent / "results"
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
GOALS = ("cbam", "triplet", "coord", "shuffle_attention", "simam", "bam", "sge", "polarized")


def keep_memory() -> None:
    """Let the allocator keep what is freed, as in a long training: else page faults, at random, decide small ratios."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def measure(versions: dict[str, nn.Module], shape: tuple[int, ...], rounds: int, backward: bool) -> dict[str, float]:
    """Median CPU seconds of each version, all taking turns."""
    x = torch.randn(shape, requires_grad=backward)
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    order = list(versions)
    for turn in range(rounds + 1):
        random.shuffle(order)  # who runs after whom matters to the allocator
        for name in order:
            module = versions[name]
            gc.collect()
            start = time.process_time()  # other programs disturb it less than the clock
            if backward:
                y = module(x)
                y.backward(y.detach())
                x.grad = None
            else:
                with torch.no_grad():
                    module(x)
            if turn:  # the first is a warm-up
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare(name: str, rounds: int) -> dict[str, object]:
    """One module and its peers."""
    contest = CONTESTS[name]
    versions, broken = {"attnzoo": attnzoo.create(name, **contest.arguments)}, {}
    for peer, make in contest.peers.items():
        try:
            versions[peer] = make()
            versions[peer](torch.randn(2, *contest.shape[1:], requires_grad=True)).sum().backward()
        except Exception as error:
            broken[peer] = f"{type(error).__name__}: {error}"
            versions.pop(peer, None)
    forward, both = (measure(versions, contest.shape, rounds, backward) for backward in (False, True))
    others = [peer for peer in versions if peer != "attnzoo"]
    best = {kind: min((times[p] for p in others), default=math.nan) for kind, times in (("f", forward), ("b", both))}
    x = torch.randn(contest.shape, requires_grad=True)
    return {
        "module": name,
        "shape": contest.shape,
        "forward_ratio": forward["attnzoo"] / best["f"],
        "forward_backward_ratio": both["attnzoo"] / best["b"],
        "saved_mib": {key: round(saved_bytes(module, [x]) / 2**20, 1) for key, module in versions.items()},
        "forward_seconds": forward,
        "forward_backward_seconds": both,
        "broken_peers": broken,
        **provenance(rounds),
    }


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers; not a number where there is none."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def table(rows: list[dict]) -> Table:
    """Ratios to the fastest peer, below 1 where we are faster."""
    result = Table(title="CPU time over the fastest peer's, float32, one thread", title_justify="left")
    for column in ("module", "input", "forward", "forward + backward", "saved for backward, MiB"):
        result.add_column(column, justify="left" if column in ("module", "input") else "right")
    for row in rows:
        saved = "  ".join(f"{name} {mib:,.0f}" for name, mib in row["saved_mib"].items())
        shape = " x ".join(map(str, row["shape"]))
        result.add_row(
            row["module"], shape, f"{row['forward_ratio']:.2f}", f"{row['forward_backward_ratio']:.2f}", saved
        )
    return result


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", choices=list(CONTESTS), default=list(CONTESTS))
    parser.add_argument("--rounds", type=int, default=15, help="timed turns of each version")
    parser.add_argument("--dry", action="store_true", help="write no files")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [compare(name, given.rounds) for name in given.modules]
    file = RESULTS / "peers-cpu.json"
    if not given.dry:
        rows = merged(file, rows, "module", CONTESTS)
    summary = {
        f"{kind}_geometric_mean": geometric_mean([row[f"{kind}_ratio"] for row in rows if row["module"] in GOALS])
        for kind in ("forward", "forward_backward")
    }
    Console(width=120).print(table(rows), summary)
    if given.dry:
        return
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps({"threads": 1, **summary, "rows": rows}, indent=1) + "\n")
    with (RESULTS / "peers-cpu.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["module", "version", "forward_seconds", "forward_backward_seconds", "saved_mib"])
        for row in rows:
            for version, seconds in row["forward_seconds"].items():
                both = row["forward_backward_seconds"][version]
                writer.writerow([row["module"], version, f"{seconds:.5f}", f"{both:.5f}", row["saved_mib"][version]])


if __name__ == "__main__":
    main()
