"""The network of a trial: built on the CPU, from the seed, checked to give logits."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.lab import backbones
from attnzoo.lab.placing import place
from attnzoo.lab.trial import PLAIN, Trial


def build(
    trial: Trial, shape: tuple[int, int, int], classes: int, weights: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """The trial's network on the CPU. All variants of one seed and backbone start from the same backbone weights.

    A module that comes into a trained network starts as the identity; one that is trained from scratch does so only
    where `attnzoo.lab.placing.gated` says why.

    Args:
        trial: what to build.
        shape: (C, H, W) of its images.
        classes: K, how many logits it gives.
        weights: of the plain network, by name; None leaves the backbone as it is drawn.

    Raises:
        AttnzooError: the backbone or module is unknown, they do not fit each other or such images, or the network
            does not give logits (B, K), or the weights are not its own.
    """
    variant, example = trial.variant, torch.zeros(2, *shape)
    with seeded(trial.seed):
        model = backbones.build(variant.backbone, classes, shape[0])
        if weights is not None:
            _load(model, variant.backbone, weights)
        if variant.widths:
            from attnzoo.lab.widening import widen

            _check_logits(model, variant.backbone, example, classes)
            model = widen(model, dict(variant.widths), example)
        if variant.module != PLAIN:
            place(model, variant, example)
        _check_logits(model, str(variant), example, classes)
    return model


def laid_out(model: nn.Module, channels_last: bool) -> nn.Module:
    """The model itself, its weights laid out as a recipe wants them."""
    return model.to(memory_format=torch.channels_last) if channels_last else model


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's own generators, those of the CPU and a CUDA device, seeded within, as they were after."""
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.manual_seed(seed)
        yield


def _load(model: nn.Module, name: str, weights: Mapping[str, Tensor]) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise AttnzooError(f"{name}: the trained weights do not fit it ({error}); train them again.") from error


def _check_logits(model: nn.Module, name: str, example: Tensor, classes: int) -> None:
    """Raise AttnzooError unless the network, a copy of it in training mode, takes the example and gives its logits."""
    size = "x".join(map(str, example.shape[1:]))
    try:
        with torch.no_grad():
            logits = copy.deepcopy(model).train()(example)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        raise AttnzooError(f"{name}: cannot take images of {size} ({error}); use another backbone.") from error
    if not isinstance(logits, Tensor) or logits.shape != (len(example), classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise AttnzooError(f"{name}: expected logits ({len(example)}, {classes}), got {got}; use a classifier.")
