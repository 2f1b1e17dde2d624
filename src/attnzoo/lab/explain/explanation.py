"""What a network with attention modules does with one image, as data."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnzoo.checks import nearest
from attnzoo.errors import AttnzooError
from attnzoo.lab.explain.cams import Cam, cams_of
from attnzoo.lab.explain.maps import Map, maps_of
from attnzoo.lab.explain.stages import stages_of
from attnzoo.lab.explain.watching import Seen, attention_modules, watch
from attnzoo.surgery import remove
from attnzoo.surgery.plug import Plug


@dataclass(frozen=True)
class Explanation:
    """What a network does with one image.

    Attributes:
        title: of the image.
        pixels: the image as the network takes it, (C, H, W), 0 to 255.
        modules: the names of the attention modules in the network.
        stages: the submodules that end its stages.
        maps: of the attention modules, in running order.
        cams: Grad-CAM and Grad-CAM++.
        target: the class that these explain.
        probabilities: of all classes.
        plain: the same of the network without the modules; None if there is none.
        without: what that network is, in words; "" if there is none.
        class_names: of all classes; None if unknown.
        points: whose affinities `maps` has, (x, y) from the left upper corner of `pixels`.
    """

    title: str
    pixels: Tensor
    modules: tuple[str, ...]
    stages: tuple[str, ...]
    maps: tuple[Map, ...]
    cams: tuple[Cam, ...]
    target: int
    probabilities: Tensor
    plain: Tensor | None
    without: str
    class_names: tuple[str, ...] | None
    points: tuple[tuple[float, float], ...]

    def class_name(self, number: int) -> str:
        """A class in words, its number where it has no name."""
        return str(number) if self.class_names is None else self.class_names[number]


def explain(
    model: nn.Module,
    image: Tensor,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    without: nn.Module | None = None,
    without_is: str = "",
    target: int | str | None = None,
    class_names: Sequence[str] | None = None,
    points: Sequence[tuple[float, float]] = (),
    stages: str | list[str] = "stage",
    every: bool = False,
    heads: bool = False,
    parts: bool = False,
    cam: bool = True,
    cam_stages: bool = False,
    title: str = "",
) -> Explanation:
    """Look at one image with a network and its attention modules.

    Args:
        model: a classifier, with modules inserted or built in; it is left as it was.
        image: (C, H, W), 0 to 255, as large as the network takes it.
        mean, std: the network takes (image - mean) / std, for each channel or all.
        without: the network to compare with. None takes a copy of the model with its inserted modules removed.
        without_is: what it is, for the caption.
        target: the class that Grad-CAM explains, by number or name; None is the model's prediction.
        class_names: of all classes.
        points: the column and row of pixels whose affinities are wanted; none means the centre.
        stages: a placement, or submodules by name as in `attnzoo.sites`: a module belongs to the first stage that
            ends after it.
        every: show every module; otherwise the last of each stage.
        heads: show each head of an affinity; otherwise their mean.
        parts: show the maps of a module's parts even where it has one of its own.
        cam: compute Grad-CAM and Grad-CAM++.
        cam_stages: at every stage; otherwise at the last.
        title: of the image.

    Raises:
        AttnzooError: the image, a point or the target does not fit, the model gives no logits or has no stages, or
            grad-cam is not installed.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    device = next(model.parameters(), torch.empty(0)).device
    _check_image(image, mean, std)
    _check_points(image, points)
    images = ((image.float() - _column(mean)) / _column(std))[None].to(device)
    bare = _bare(model)
    found = stages_of(bare or model, images, stages)
    output, seen = watch(model, images, [stage.path for stage in found])
    chosen = _number_of(target, _probabilities(output), class_names)
    if without is None and bare is not None:
        without, without_is = bare, "the same weights with the modules taken out"
    height, width = image.shape[1:]
    centres = [(int(x) + 0.5, int(y) + 0.5) for x, y in points or [(width // 2, height // 2)]]
    places, ratio = [(x / width, y / height) for x, y in centres], height / width
    maps = [one for run in (seen if every else _last(seen)) for one in maps_of(run, ratio, places, heads, parts)]
    cams: list[Cam] = []
    at = list(enumerate(found)) if cam_stages else [(len(found) - 1, found[-1])]
    for network in [model, without] if cam else []:
        if network is not None:
            cams += cams_of(network, images, chosen, at, network is model)
    used = any(one.point is not None for one in maps)
    return Explanation(
        title=title,
        pixels=image.detach().cpu(),
        modules=tuple(dict.fromkeys(name for name, _ in attention_modules(model).values())),
        stages=tuple(stage.path for stage in found),
        maps=tuple(maps),
        cams=tuple(cams),
        target=chosen,
        probabilities=_probabilities(output),
        plain=None if without is None else _probabilities(watch(without, images, [])[0]),
        without=without_is if without is not None else "",
        class_names=None if class_names is None else tuple(class_names),
        points=tuple(centres) if used or points else (),
    )


def _bare(model: nn.Module) -> nn.Module | None:
    """A copy without the inserted modules; None if there are none."""
    if not any(isinstance(part, Plug) for part in model.modules()):
        return None
    bare = copy.deepcopy(model)
    remove(bare)
    return bare


def _last(seen: Sequence[Seen]) -> list[Seen]:
    """The last run of each stage."""
    return list({one.stage: one for one in seen}.values())


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def _probabilities(output: object) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != 1:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise AttnzooError(f"explain: expected a classifier with logits (1, K), got {got}.")
    return output[0].float().softmax(0).cpu()


def _number_of(target: int | str | None, probabilities: Tensor, names: Sequence[str] | None) -> int:
    """The class meant: a name first, then a number."""
    classes = len(probabilities)
    if names is not None and len(names) != classes:
        raise AttnzooError(f"explain: expected {classes} class names, as many as logits, got {len(names)}.")
    if target is None:
        return int(probabilities.argmax())
    if isinstance(target, str) and names is not None and target in names:
        return list(names).index(target)
    number = int(target) if isinstance(target, int) or target.isdecimal() else -1
    if 0 <= number < classes:
        return number
    known = f" or a name{nearest(str(target), names)}" if names else ""
    raise AttnzooError(f"explain: target={target!r} is no class; use a number from 0 to {classes - 1}{known}")


def _check_image(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> None:
    if image.dim() != 3 or 0 in image.shape:
        raise AttnzooError(f"explain: expected an image (C, H, W), got {tuple(image.shape)}.")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, len(image)):
            raise AttnzooError(f"explain: expected {name} of 1 or {len(image)} channels, got {len(values)}.")


def _check_points(image: Tensor, points: Sequence[tuple[float, float]]) -> None:
    height, width = image.shape[1:]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise AttnzooError(
                f"explain: the point {x:g},{y:g} is outside; x is at least 0 and below {width}, y below {height}."
            )
