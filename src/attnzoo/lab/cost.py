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
from attnzoo.surgery.probe import multiply_adds

Shapes = tuple[tuple[int, ...], ...]
Shape = Sequence[int] | Sequence[Sequence[int]]
_BATCH = 2  # for counting: some methods normalise over the batch


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


def cost(module: nn.Module, input_shape: Shape, latency: bool = False, repeats: int = 30) -> Cost:
    """Measure a module or a whole model on one example.

    Args:
        module: it is left as it was; all but the latency is counted on a copy without data.
        input_shape: of one example without the batch: (C, H, W) for maps, (N, C) for tokens; a tuple of such
            shapes for a forward of several arguments.
        latency: also time the forward pass.
        repeats: how many times, for the median.

    Raises:
        AttnzooError: the module does not take such an input.
    """
    shapes = _check(input_shape)
    try:
        macs = _count_macs(_without_data(module).eval(), shapes) // _BATCH
        bare = _without_data(module).train()
        saved = saved_bytes(bare, _examples(bare, shapes)) // _BATCH
    except AttnzooError:
        raise
    except Exception as error:
        raise AttnzooError(
            f"cost: {type(module).__name__} does not take an input of shape {input_shape}: {error}"
        ) from error
    parameters = sum(p.numel() for p in module.parameters())
    return Cost(parameters, macs, saved, _time(module, shapes, repeats) if latency else None)


def _check(input_shape: Shape) -> Shapes:
    """The shapes of all inputs, or AttnzooError."""
    given = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    shapes = tuple(tuple(shape) if isinstance(shape, Sequence) else (0,) for shape in given)
    if all(isinstance(n, int) for n in given):
        shapes = (given,)
    if not given or not all(isinstance(n, int) and n > 0 for shape in shapes for n in shape):
        raise AttnzooError(f"cost: input_shape={input_shape!r} is not a tuple of sizes such as (3, 224, 224).")
    return shapes


def _without_data(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).to("meta")


def _examples(module: nn.Module, shapes: Shapes) -> list[Tensor]:
    like = next(module.parameters(), torch.empty(0))
    return [torch.empty(_BATCH, *shape, device="meta", dtype=like.dtype, requires_grad=True) for shape in shapes]


def _count_macs(module: nn.Module, shapes: Shapes) -> int:
    # With a gradient wanted, attention takes no fused path that the counter does not know.
    return multiply_adds(lambda: module(*_examples(module, shapes)))[1]


def saved_bytes(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """What autograd keeps of one forward pass for the backward pass, without the parameters."""
    own = {id(t) for t in [*module.parameters(), *module.buffers()]}
    kept: dict[int, Tensor] = {}  # storages, held so that none is counted twice under a reused address

    def pack(x: Tensor) -> Tensor:
        base = x if x._base is None else x._base
        if id(base) not in own:
            kept[id(base)] = base
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = module(*inputs)
    del output
    return sum(x.numel() * x.element_size() for x in kept.values())


def _time(module: nn.Module, shapes: Shapes, repeats: int) -> float:
    from attnzoo.lab.measure.latency import finish

    like = next(module.parameters(), torch.empty(0))
    inputs = [torch.randn(1, *shape, device=like.device, dtype=like.dtype) for shape in shapes]
    seconds = []
    with evaluating(module), torch.inference_mode():
        for _ in range(3):
            module(*inputs)
        for _ in range(repeats):
            finish(like.device)
            start = time.perf_counter()
            module(*inputs)
            finish(like.device)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3
