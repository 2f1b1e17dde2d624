"""Trial runs of a model that leave it as it was."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.modes import evaluating

_T = TypeVar("_T")


def count_runs(model: nn.Module, runs: dict[nn.Module, int], example_input: Any = None) -> None:
    """Count in `runs` how often each submodule there runs in a forward pass of the model, which is left as it was.

    Raises:
        AttnzooError: the model does not run on that input.
    """

    def count(module: nn.Module, *_: Any) -> None:
        runs[module] += 1

    handles = [module.register_forward_hook(count) for module in runs]
    try:
        attempt(model, example_input)
    finally:
        for handle in handles:
            handle.remove()


def attempt(model: nn.Module, example_input: Any = None) -> Any:
    """What the model gives in eval mode and without gradient; the model is left as it was.

    Args:
        model: any module.
        example_input: a tensor, a tuple of arguments or a dict of named ones; anything else is the one argument. None
            makes a batch of one image, of the size the model states (timm) or 224 x 224, with the channels of its
            first convolution.

    Raises:
        AttnzooError: the model does not run on that input.
    """
    given = _guess(model) if example_input is None else example_input
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return run(model, given)
    except Exception as error:
        how = "Give an example_input that the model takes" if example_input is None else "Check example_input"
        raise AttnzooError(
            f"the model does not run on {_describe(given)}: {type(error).__name__}: {error}. {how}: a tensor such as "
            "torch.randn(1, 3, 224, 224), a tuple of arguments, or a dict of named ones."
        ) from error


def run(model: nn.Module, given: Any) -> Any:
    """Call the model with a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(given, dict):
        return model(**given)
    return model(*given) if isinstance(given, tuple) else model(given)


def multiply_adds(work: Callable[[], _T]) -> tuple[_T, int]:
    """What some work gives, and the multiply-adds of its convolutions and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, int(counter.get_total_flops()) // 2


def deviation(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of two tensors, over the largest wanted value."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))


def _guess(model: nn.Module) -> Tensor:
    stated = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    channels = next((conv.in_channels for conv in convs), 3)
    size = tuple(stated.get("input_size", (channels, 224, 224)))[1:]
    like = next(model.parameters(), torch.empty(0))
    return torch.ones(1, channels, *size, device=like.device, dtype=like.dtype)


def _describe(given: Any) -> str:
    return f"an input of shape {tuple(given.shape)}" if isinstance(given, Tensor) else "that input"
