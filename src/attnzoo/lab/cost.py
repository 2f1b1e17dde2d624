"""What a module or model costs: parameters, multiply-adds, memory for the backward pass, time."""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.modes import evaluating


@dataclass(frozen=True)
class Cost:
    """The cost of one example, in one forward pass unless said otherwise.

    Attributes:
        parameters: their number.
        macs: multiply-adds of convolutions and matrix products, attention's included (half of what torch's
            flop counter counts); additions, gates and normalisations are not in it.
        activation_bytes: what a training step keeps for its backward pass, without the parameters.
        latency_ms: median time of a forward pass in eval mode, in milliseconds, on the module's device; None
            unless asked for.
    """

    parameters: int
    macs: int
    activation_bytes: int
    latency_ms: float | None = None


def cost(module: nn.Module, input_shape: Sequence[int], latency: bool = False, repeats: int = 30) -> Cost:
    """Measure a module or a whole model on one example.

    Args:
        module: it is left as it was; all but the latency is counted on a copy without data.
        input_shape: of one example without the batch: (C, H, W) for maps, (N, C) for tokens.
        latency: also time the forward pass.
        repeats: how many times, for the median.

    Raises:
        AttnzooError: the module does not take such an input.
    """
    given = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if not given or not all(isinstance(n, int) and n > 0 for n in given):
        raise AttnzooError(f"cost: input_shape={input_shape!r} is not a tuple of sizes such as (3, 224, 224).")
    shape = (2, *input_shape)  # batches of two: some methods normalise over the batch
    try:
        macs = _count_macs(_without_data(module).eval(), shape) // 2
        saved = _count_saved_bytes(_without_data(module).train(), shape) // 2
    except AttnzooError:
        raise
    except Exception as error:
        raise AttnzooError(
            f"cost: {type(module).__name__} does not take an input of shape {tuple(input_shape)}: {error}"
        ) from error
    parameters = sum(p.numel() for p in module.parameters())
    return Cost(parameters, macs, saved, _time(module, input_shape, repeats) if latency else None)


def _without_data(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).to("meta")


def _example(module: nn.Module, shape: Sequence[int]) -> Tensor:
    like = next(module.parameters(), torch.empty(0))
    return torch.empty(tuple(shape), device="meta", dtype=like.dtype, requires_grad=True)


def _count_macs(module: nn.Module, shape: Sequence[int]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    # With a gradient wanted, attention takes no fused path that the counter does not know.
    with FlopCounterMode(display=False) as counter:
        module(_example(module, shape))
    return int(counter.get_total_flops()) // 2


def _count_saved_bytes(module: nn.Module, shape: Sequence[int]) -> int:
    own = {id(t) for t in [*module.parameters(), *module.buffers()]}
    kept: dict[int, Tensor] = {}  # storages, held so that none is counted twice under a reused address

    def pack(x: Tensor) -> Tensor:
        base = x if x._base is None else x._base
        if id(base) not in own:
            kept[id(base)] = base
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = module(_example(module, shape))
    del output
    return sum(x.numel() * x.element_size() for x in kept.values())


def _time(module: nn.Module, input_shape: Sequence[int], repeats: int) -> float:
    like = next(module.parameters(), torch.empty(0))
    x = torch.randn(1, *input_shape, device=like.device, dtype=like.dtype)
    seconds = []
    with evaluating(module), torch.inference_mode():
        for _ in range(3):
            module(x)
        for _ in range(repeats):
            _wait(x.device)
            start = time.perf_counter()
            module(x)
            _wait(x.device)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
