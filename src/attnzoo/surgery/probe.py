"""One forward pass that sees what every submodule puts out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.modes import evaluating


@dataclass
class Seen:
    """What one submodule put out.

    Attributes:
        shape: of its output, None where that is not one tensor.
        order: its place among all submodules, by when it first finished.
        calls: how often it ran.
        channels_last: a 4-D output has its channels in the last dimension.
        steady: every call put out the same number of channels.
        tensor: the output's device and dtype, as an empty tensor.
    """

    shape: tuple[int, ...] | None
    order: int
    calls: int
    channels_last: bool
    steady: bool
    tensor: Tensor | None


def probe(model: nn.Module, example_input: Any = None) -> dict[str, Seen]:
    """Run the model once, in eval mode and without gradient, and give what each submodule put out, by path.

    The model is left as it was: modes, statistics and random state. Submodules that do not run are absent.

    Args:
        model: any module.
        example_input: a tensor, a tuple of arguments or a dict of named ones. None makes a batch of one image,
            of the size the model states (timm) or 224 x 224, with the channels of its first convolution.

    Raises:
        AttnzooError: the model does not run on that input.
    """
    seen: dict[str, Seen] = {}
    last_leaf: list[nn.Module] = []
    paths = {module: path for path, module in model.named_modules()}

    def watch(module: nn.Module, _: Any, output: Any) -> None:
        if next(module.children(), None) is None:
            last_leaf[:] = [module]
        path = paths[module]
        now = _see(output, last_leaf[0] if last_leaf else module, order=len(seen))
        before = seen.get(path)
        if before is not None:
            now.order = before.order
            now.calls = before.calls + 1
            now.steady = before.steady and _channels(now) == _channels(before)
        seen[path] = now

    handles = [module.register_forward_hook(watch) for module in paths]
    try:
        attempt(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def attempt(model: nn.Module, example_input: Any = None) -> Any:
    """What the model gives in eval mode and without gradient; the model is left as it was.

    Args:
        model: any module.
        example_input: as in `probe`.

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
            f"the model does not run on {_describe(given)}: {type(error).__name__}: {error}. {how}, for example "
            "example_input=torch.randn(1, 3, 224, 224)."
        ) from error


def run(model: nn.Module, given: Any) -> Any:
    """Call the model with a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(given, dict):
        return model(**given)
    return model(*given) if isinstance(given, tuple) else model(given)


def _guess(model: nn.Module) -> Tensor:
    stated = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    channels = next((conv.in_channels for conv in convs), 3)
    size = tuple(stated.get("input_size", (channels, 224, 224)))[1:]
    like = next(model.parameters(), torch.empty(0))
    return torch.ones(1, channels, *size, device=like.device, dtype=like.dtype)


def _see(output: Any, leaf: nn.Module, order: int) -> Seen:
    if not isinstance(output, Tensor):
        return Seen(shape=None, order=order, calls=1, channels_last=False, steady=True, tensor=None)
    shape = tuple(output.shape)
    like = output.detach().new_empty(0)
    return Seen(shape, order, calls=1, channels_last=_is_channels_last(shape, leaf), steady=True, tensor=like)


def _is_channels_last(shape: tuple[int, ...], leaf: nn.Module) -> bool:
    """Whether a 4-D output was made by a layer that works on the last dimension."""
    if len(shape) != 4:
        return False
    if isinstance(leaf, nn.Linear):
        return leaf.out_features == shape[3]
    return isinstance(leaf, nn.LayerNorm) and leaf.normalized_shape == (shape[3],) and shape[1] != shape[3]


def _channels(seen: Seen) -> int | None:
    if seen.shape is None or len(seen.shape) not in (3, 4):
        return None
    return seen.shape[1] if len(seen.shape) == 4 and not seen.channels_last else seen.shape[-1]


def _describe(given: Any) -> str:
    return f"an input of shape {tuple(given.shape)}" if isinstance(given, Tensor) else "that input"
