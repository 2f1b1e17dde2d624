"""Trained networks in files: the weights, the trial that made them, and how their images are to be given."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.lab.building import build
from attnzoo.lab.cooling import cooled
from attnzoo.lab.files import DAMAGED, put
from attnzoo.lab.trial import Trial, trial_from

_KEY: Final = "attnzoo.lab"  # of the file's metadata
_FORMAT: Final = 1


@dataclass(frozen=True)
class About:
    """What a network was trained on.

    Attributes:
        data: the data set's name.
        shape: (C, H, W) of an image.
        classes: K, how many logits the network gives.
        class_names: K names, or None where the data set has none.
        mean, std: of each channel, on the scale of bytes (0 to 255); an image x is given as (x - mean) / std.
    """

    data: str
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode on the CPU, the trial that trained it, and what on."""

    model: nn.Module
    trial: Trial
    about: About


def save_trained(path: Path, model: nn.Module, trial: Trial, about: About) -> None:
    """Write a trial's network into a safetensors file; one that is there already is exchanged in one go.

    Raises:
        AttnzooError: the file cannot be written.
    """
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    page = {"format": _FORMAT, "trial": asdict(trial), "about": asdict(about), "digest": _digest(state)}
    put(path, lambda draft: save_file(state, draft, metadata={_KEY: json.dumps(page, allow_nan=False)}))


def load_trained(path: Path) -> Trained:
    """The network of a file that `save_trained` wrote.

    Raises:
        AttnzooError: the file is missing, damaged or no such file, or its network cannot be built here.
    """
    trial, about, state = read(path)
    model = build(trial, about.shape, about.classes)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise AttnzooError(f"{path}: its weights do not fit {trial} ({error}); train it again.") from error
    return Trained(cooled(trial.variant, model).eval(), trial, about)


def read(path: Path) -> tuple[Trial, About, Mapping[str, Tensor]]:
    """Trial, data and weights of a file that `save_trained` wrote, without building the network.

    Raises:
        AttnzooError: the file is missing, damaged or no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            page = json.loads((file.metadata() or {})[_KEY])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dict
        if page["format"] != _FORMAT:
            raise ValueError(f"format {page['format']!r}, expected {_FORMAT}")
        if page["digest"] != _digest(state):
            raise ValueError("its weights are not those that were written")
        return trial_from(page["trial"]), _about(page["about"]), state
    except DAMAGED as error:
        raise AttnzooError(
            f"{path}: expected a network trained by the laboratory ({type(error).__name__}: {error}); "
            "give a file of the folder models of a study. To train it again, delete it and its file in trials, and run "
            "again."
        ) from error


def started(trial: Trial, shape: tuple[int, int, int], classes: int, base: Path | None) -> nn.Module:
    """A variant's network on the trained weights of its plain one, its module put into that.

    Raises:
        AttnzooError: there is no base, or it is the network of another backbone, seed or kind of image.
    """
    if base is None:
        raise AttnzooError(f"trial {trial}: expected the model file that it starts from, got base=None.")
    source, about, state = read(base)
    wanted, got = (trial.variant.backbone, trial.seed, *shape, classes), (source.variant.backbone, source.seed)
    if not source.variant.start == "base" or wanted != (*got, *about.shape, about.classes):
        raise AttnzooError(
            f"{base}: holds {source} for {about.classes} classes of {about.shape}, which is no base of {trial} "
            f"for {classes} classes of {tuple(shape)}; delete it and run again."
        )
    return build(trial, shape, classes, state)


def digest_of(path: Path) -> str:
    """16 hexadecimal digits that change with a file.

    Raises:
        AttnzooError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise AttnzooError(f"{path}: cannot be read ({error}); train it again.") from error


def _about(raw: Mapping[str, Any]) -> About:
    channels, height, width = map(int, raw["shape"])
    names = raw["class_names"]
    about = About(
        data=str(raw["data"]),
        shape=(channels, height, width),
        classes=int(raw["classes"]),
        class_names=None if names is None else tuple(map(str, names)),
        mean=tuple(map(float, raw["mean"])),
        std=tuple(map(float, raw["std"])),
    )
    if not len(about.mean) == len(about.std) == channels or min(about.std) <= 0:
        raise ValueError(f"mean {about.mean} and std {about.std} do not suit {channels} channels")
    return about


def _digest(state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that change with any name or number."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(f"{key} {tuple(state[key].shape)} {state[key].dtype}".encode())
        digest.update(state[key].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
