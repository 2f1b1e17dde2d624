"""Grad-CAM and Grad-CAM++ by the grad-cam package."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.lab.explain.stages import Stage

METHODS: Final = ("Grad-CAM", "Grad-CAM++")


@dataclass(frozen=True)
class Cam:
    """A class activation map.

    Attributes:
        method: one of `METHODS`.
        stage: the number of the stage whose features it weighs, from 0.
        layer: the submodule that gives these features.
        inserted: whether it is of the network with the attention modules.
        values: (H, W) of the image, from 0 for its own least to 1 for its own greatest value; all 0 where no place
            speaks for the class more than others.
    """

    method: str
    stage: int
    layer: str
    inserted: bool
    values: Tensor


def cams_of(
    model: nn.Module, images: Tensor, target: int, stages: Sequence[tuple[int, Stage]], inserted: bool
) -> Iterator[Cam]:
    """Both maps at every stage given with its number; the model is left as it was.

    Raises:
        AttnzooError: grad-cam is not installed, or the model has no such stages.
    """
    classes = _package()
    model = copy.deepcopy(model).eval()  # the package writes to the gradients
    ratio = images.shape[2] / images.shape[3]
    reached = [_reached(model, images, target, stage, ratio) for _, stage in stages]
    by_shape = {stage.shape: stage for stage in reached}

    def as_maps(features: Tensor) -> Tensor:
        """In memory of their own: what follows may write over the features."""
        return by_shape[tuple(features.shape[1:])].as_maps(features, ratio).clone()

    layers = [model.get_submodule(stage.path) for stage in reached]
    for method, make in classes.items():
        cam = make(model, layers, reshape_transform=as_maps)
        cam.aggregate_multi_layers = lambda each: np.concatenate(each, axis=1)  # not their mean
        values = cam(images.clone().requires_grad_(), [lambda logits: logits[target]])[0]
        for (number, _), stage, one in zip(stages, reached, values, strict=True):
            yield Cam(method, number, stage.path, inserted, _from_0_to_1(torch.from_numpy(one).float()))


def _from_0_to_1(values: Tensor) -> Tensor:
    values = values - values.min()
    return values / values.max() if values.any() else values


def _reached(model: nn.Module, images: Tensor, target: int, stage: Stage, ratio: float) -> Stage:
    """The last features like a stage's, in it or before it, whose places the class depends on.

    A transformer that classifies by one token reads nothing else of its last block; the tokens of the places count
    where that block takes them in.
    """
    names = dict(model.named_modules())
    ran: list[tuple[str, Tensor]] = []

    def keep(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.shape[1:] == stage.shape and output.requires_grad:
                ran.append((path, output))

        return hook

    handles = [module.register_forward_hook(keep(path)) for path, module in names.items() if path]
    try:
        logits = model(images.clone().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    last = max((n for n, (path, _) in enumerate(ran) if path == stage.path), default=-1)
    before = ran[: last + 1][::-1]
    if not before:
        raise AttnzooError(
            f"explain: the network to compare with gives no features {stage.shape} at {stage.path}; give one that does."
        )
    gradients = torch.autograd.grad(logits[0, target], [output for _, output in before], allow_unused=True)
    for (path, _), gradient in zip(before, gradients, strict=True):
        if gradient is not None and stage.as_maps(gradient, ratio).any():
            return replace(stage, path=path)
    return stage


def _package() -> dict[str, Any]:
    try:
        from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
    except ImportError as error:
        raise AttnzooError(
            f"Grad-CAM needs the package grad-cam ({error}): pip install 'attnzoo[lab]', or do without (--no-cam)."
        ) from error
    return dict(zip(METHODS, (GradCAM, GradCAMPlusPlus), strict=True))
