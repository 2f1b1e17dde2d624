"""Peak memory and CPU time of attention over places against the textbook form, which stores the map of all pairs.

The textbook form is the authors' own, product by product.

Forward and backward of one map with 512 channels and queries of 64, on one CPU thread; each measurement has a process
of its own. Memory is what torch's allocator holds at the peak, exact to the byte on any machine; workspaces that a
library keeps within one operation are not in it. Writes results/memory-cpu.json and prints the table. `--modules`
measures only some and keeps the rows of the others.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from rows import merged, provenance
from torch import Tensor, nn

import attnzoo
from attnzoo.blocks import by_offset, merge_heads, position_terms, split_heads, to_map, to_tokens

C, INNER = 512, 64
SIDES = (32, 64, 97)
RESULTS = Path(__file__).parent.parent / "results"


def as_map(y: Tensor, x: Tensor) -> Tensor:
    """Tokens (B, H W, C) as a map (B, C, H, W) like x, contiguous, as the authors' views of it demand."""
    return to_map(y, *x.shape[2:]).contiguous()


def non_local(m: nn.Module, x: Tensor) -> Tensor:
    logits = m.query(x).flatten(2).mT @ m.key(x).flatten(2)
    weights = logits / logits.shape[2] if m.mode == "dot_product" else logits.softmax(dim=2)
    y = weights @ m.value(x).flatten(2).mT
    return x + m.norm(m.proj(as_map(y, x)))


def da_position(m: nn.Module, x: Tensor) -> Tensor:
    weights = (m.query_conv(x).flatten(2).mT @ m.key_conv(x).flatten(2)).softmax(dim=2)
    y = m.value_conv(x).flatten(2) @ weights.mT  # (B, C, H W)
    return m.gamma * y.view(x.shape) + x


def apnb(m: nn.Module, x: Tensor) -> Tensor:
    pooled = [nn.functional.adaptive_avg_pool2d(x, size).flatten(2) for size in m.psp_size]
    y = m.attention(x)[:, 0] @ m.value(torch.cat(pooled, dim=2)).mT
    return m.fuse(torch.cat([m.proj(as_map(y, x)), x], dim=1))


def cc(m: nn.Module, x: Tensor) -> Tensor:
    """Rows and columns as batches, their logits beside each other, as the authors write it."""
    for _ in range(m.recurrence):
        height, width = x.shape[2:]
        q, k, v = m.query_conv(x), m.key_conv(x), m.value_conv(x)
        in_rows, in_columns = ([t.permute(0, a, b, 1).contiguous() for t in (q, k, v)] for a, b in ((2, 3), (3, 2)))
        rows = in_rows[0] @ in_rows[1].mT  # (B, H, W, W)
        columns = in_columns[0] @ in_columns[1].mT  # (B, W, H, H)
        columns = columns - torch.diag(torch.full((height,), 1e30))  # the place itself is in its row already
        weights = torch.cat([rows, columns.transpose(1, 2)], dim=3).softmax(dim=3)
        across, down = weights[..., :width].contiguous(), weights[..., width:].transpose(1, 2).contiguous()
        y = (across @ in_rows[2]).permute(0, 3, 1, 2) + (down @ in_columns[2]).permute(0, 3, 2, 1)
        x = m.gamma * y + x
    return x


def self_attention(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc_o(merge_heads(m.attention(x) @ split_heads(m.fc_v(x), m.num_heads)))


def efficient_attention(m: nn.Module, x: Tensor) -> Tensor:
    v = split_heads(to_tokens(m.values(x)), m.num_heads)
    return x + m.reprojection(as_map(merge_heads(m.attention(x) @ v), x))


def external_attention(m: nn.Module, x: Tensor) -> Tensor:
    y = m.memory_value(m.attention(x)[:, 0])
    return (m.conv2(as_map(y, x)) + x).relu()


def bottleneck_attention(m: nn.Module, x: Tensor) -> Tensor:
    """Logits of the content and of the offsets, each for all pairs, added up."""
    q, k, v = (split_heads(part, m.num_heads) for part in to_tokens(m.qkv(x)).split(m.widths, dim=2))
    content, position = m.scales
    rows, columns = by_offset(m.height_rel, m.size[0]), by_offset(m.width_rel, m.size[1])
    down, across = position_terms(q * position, rows, columns)
    logits = q * content @ k.mT + (down[..., :, None] + across[..., None, :]).flatten(3)
    return as_map(merge_heads(logits.softmax(dim=-1) @ v), x)


def residual_non_local(m: nn.Module, x: Tensor) -> Tensor:
    m.look.forward = lambda x: non_local_column(m.look, x)
    return m(x)


def residual_without(m: nn.Module, x: Tensor) -> Tensor:
    """Its convolutions, each place attending to itself alone."""
    m.look.forward = lambda x: x + m.look.proj(m.look.value(x))
    return m(x)


def non_local_column(m: nn.Module, x: Tensor) -> Tensor:
    weights = (m.query(x).flatten(2).mT @ m.key(x).flatten(2)).softmax(dim=1)
    y = weights @ m.value(x).flatten(2).mT
    return x + m.proj(as_map(y, x))


class Case(NamedTuple):
    """A module, its arguments, its textbook form, and whether that stores the map of a softmax over all pairs.

    `without` is the rest of a module that consists of much besides its attention: no form of it costs less.
    """

    module: str
    arguments: dict[str, object]
    textbook: Callable[[nn.Module, Tensor], Tensor]
    softmax: bool = True
    tokens: bool = False
    without: Callable[[nn.Module, Tensor], Tensor] | None = None


NON_LOCAL = {"channels": C, "inter_channels": INNER, "sub_sample": False}
CASES = {
    "non_local, embedded Gaussian": Case("non_local", NON_LOCAL, non_local),
    "non_local, dot product": Case("non_local", {**NON_LOCAL, "mode": "dot_product"}, non_local, softmax=False),
    "da_position": Case("da_position", {"channels": C}, da_position),
    "apnb": Case("apnb", {"in_channels": C, "key_channels": INNER, "value_channels": INNER}, apnb, softmax=False),
    "cc": Case("cc", {"channels": C}, cc, softmax=False),
    "self_attention": Case(
        "self_attention",
        {"channels": C, "key_dim": INNER, "value_dim": INNER, "num_heads": 1, "dropout": 0.0},
        self_attention,
        tokens=True,
    ),
    "efficient_attention": Case(
        "efficient_attention",
        {"channels": C, "key_channels": INNER, "value_channels": INNER},
        efficient_attention,
        softmax=False,
    ),
    "external_attention": Case("external_attention", {"channels": C}, external_attention, softmax=False),
    "bottleneck_attention": Case(
        "bottleneck_attention", {"in_channels": C, "num_heads": 4, "head_dim": INNER}, bottleneck_attention
    ),
    "non_local_column": Case("non_local_column", {"channels": C, "inter_channels": INNER}, non_local_column),
    "residual_non_local": Case("residual_non_local", {"channels": C}, residual_non_local, without=residual_without),
}


def build(case: Case, side: int) -> tuple[nn.Module, Tensor]:
    """The module with weights that hide nothing, and its input."""
    torch.manual_seed(0)
    arguments = dict(case.arguments)
    if case.module == "bottleneck_attention":
        arguments["size"] = (side, side)
    if case.module == "residual_non_local":
        side += side % 2  # it halves the map
    module = attnzoo.create(case.module, **arguments).eval()
    with torch.no_grad():
        for p in module.parameters():
            if p.dim() == 1:
                p.uniform_(0.1, 0.5)  # gates and last layers start at zero
    x = torch.randn(1, side * side, C) if case.tokens else torch.randn(1, C, side, side)
    return module, x.requires_grad_()


def peak_bytes(run: Callable[[], object]) -> int:
    """What torch's allocator holds at the peak of a run, over what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


def measure(name: str, form: str, side: int, rounds: int) -> dict[str, object]:
    """Extra bytes at the peak of one run, and the median CPU seconds of the others; in this process."""
    torch.set_num_threads(1)
    case = CASES[name]
    compute = {"attnzoo": lambda module, x: module(x), "textbook": case.textbook, "without": case.without}[form]

    def run(module: nn.Module, x: Tensor) -> float:
        start = time.process_time()  # other programs disturb it less than the clock
        compute(module, x).sum().backward()
        x.grad = None
        return time.process_time() - start

    run(*build(case, 8))  # loads what the first run loads
    module, x = build(case, side)
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    seconds = [run(module, x) for _ in range(rounds)]
    return {"extra_bytes": peak_bytes(lambda: run(module, x)), "seconds": statistics.median(seconds)}


def agree(name: str) -> None:
    """Stop unless both forms compute the same, values and gradients."""
    case = CASES[name]
    module, x = build(case, 8)
    ours, theirs = module(x), case.textbook(module, x)
    cotangent = torch.randn(ours.shape)
    for wanted, found in (
        (ours, theirs),
        (torch.autograd.grad(ours, x, cotangent)[0], torch.autograd.grad(theirs, x, cotangent)[0]),
    ):
        error = float((wanted - found).detach().abs().max() / wanted.detach().abs().max())
        if error > 1e-4:
            raise SystemExit(f"{name}: the textbook form differs by {error:.1e}")


def compare(name: str, rounds: int) -> dict[str, object]:
    """Both forms of one module at every size, each in a process of its own."""
    agree(name)
    found: dict[str, dict[int, dict]] = {"attnzoo": {}, "textbook": {}}
    for side in SIDES:
        for form, of_form in found.items():
            of_form[side] = apart(name, form, side, rounds)
    largest, ours, theirs = SIDES[-1], found["attnzoo"], found["textbook"]
    if CASES[name].without:
        found["without"] = {largest: apart(name, "without", largest, rounds)}
    return {
        "case": name,
        "module": CASES[name].module,
        "softmax_over_all_pairs": CASES[name].softmax,
        "memory_ratio": ours[largest]["extra_bytes"] / theirs[largest]["extra_bytes"],
        "time_ratio": ours[largest]["seconds"] / theirs[largest]["seconds"],
        "exponent": exponent([side**2 for side in SIDES], [ours[side]["extra_bytes"] for side in SIDES]),
        "textbook_exponent": exponent([side**2 for side in SIDES], [theirs[side]["extra_bytes"] for side in SIDES]),
        **provenance(rounds),
        **found,
    }


def apart(name: str, form: str, side: int, rounds: int) -> dict[str, object]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, form, str(side), "--rounds", str(rounds)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=alone)
    if done.returncode:
        raise SystemExit(f"{name}, {form}, {side} x {side}:\n{done.stderr}")
    return json.loads(done.stdout)


def exponent(places: list[int], size: list[int]) -> float:
    """The slope of log size over log places."""
    return statistics.linear_regression([math.log(n) for n in places], [math.log(s) for s in size]).slope


def rest_of(row: dict) -> str:
    """What a module costs besides its attention, in words; "" where it has little else."""
    if "without" not in row:
        return ""
    rest, textbook = row["without"][SIDES[-1]], row["textbook"][SIDES[-1]]
    memory, time = (rest[what] / textbook[what] for what in ("extra_bytes", "seconds"))
    return f"{row['case']} without its attention: memory x {memory:.2f}, CPU time x {time:.2f}; no form costs less"


def table(rows: list[dict]) -> Table:
    """Extra memory at every size, ours beside the textbook form's."""
    result = Table(
        title=f"forward + backward, C = {C}, inner {INNER}, one CPU thread; attnzoo / textbook form",
        title_justify="left",
        caption="\n".join(
            ["* the textbook form stores a softmax over all pairs of places", *filter(None, map(rest_of, rows))]
        ),
        caption_justify="left",
    )
    result.add_column("module")
    for side in SIDES:
        result.add_column(f"{side} x {side}, MiB", justify="right")
    for column in ("memory", "CPU time", "memory grows as"):
        result.add_column(column, justify="right")
    for row in rows:
        sizes = (
            f"{row['attnzoo'][side]['extra_bytes'] / 2**20:,.0f} / {row['textbook'][side]['extra_bytes'] / 2**20:,.0f}"
            for side in SIDES
        )
        growth = f"N^{row['exponent']:.2f} / N^{row['textbook_exponent']:.2f}"
        star = " *" if row["softmax_over_all_pairs"] else ""
        result.add_row(row["case"] + star, *sizes, f"x {row['memory_ratio']:.2f}", f"x {row['time_ratio']:.2f}", growth)
    return result


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each form")
    parser.add_argument("--dry", action="store_true", help="write no file")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "FORM", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, form, side = given.measure
        print(json.dumps(measure(name, form, int(side), given.rounds)))
        return
    rows = []
    for name in given.modules:
        rows.append(compare(name, given.rounds))
        print(f"{name}: memory x {rows[-1]['memory_ratio']:.2f}, time x {rows[-1]['time_ratio']:.2f}", flush=True)
    Console(width=130).print(table(rows))
    if given.dry:
        return
    file = RESULTS / "memory-cpu.json"
    ordered = merged(file, rows, "case", CASES)
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps({"channels": C, "inner": INNER, "threads": 1, "rows": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
