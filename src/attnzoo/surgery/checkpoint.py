"""Models in one file: weights, and the plan by which their structure is made again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.surgery.changes import Changes
from attnzoo.surgery.drafts import draft_of
from attnzoo.surgery.plan import plan, steps_of
from attnzoo.surgery.rebuilding import Rebuilding

_KEY: Final = "attnzoo"  # of the file's metadata
_LONGEST: Final = 2**24  # characters of a plan
_Model = TypeVar("_Model", bound=nn.Module)


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's weights, and what was inserted, replaced and folded in it, into one safetensors file.

    `load` makes the model again from a plain one; every other reader of safetensors finds the weights under their
    names in `model.state_dict()`. A weight that stands under several names is stored once. A file that is there
    already is exchanged in one go: at no time is it half written.

    Args:
        model: any module, on any device, also as `torch.compile` gives it.
        path: of the file, in a folder that exists.

    Raises:
        AttnzooError: the model holds what such a file cannot (state that is no dense tensor, weights without
            memory, an argument that is no plain data, see `plan`), or the file cannot be written.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    target = Path(path)
    kept, tied = _apart(model.state_dict())
    text = json.dumps({**plan(model), "tied": tied}, allow_nan=False, separators=(",", ":"))
    try:
        with draft_of(target) as draft:
            save_file(kept, draft, metadata={_KEY: text})
    except (OSError, SafetensorError) as error:
        raise AttnzooError(f"save: cannot write {target}: {error}. Give a file in a folder that exists.") from error


def load(model: _Model, path: str | os.PathLike[str]) -> _Model:
    """Make a saved model again: the structure by the plan in the file, then all weights, strictly.

        model = attnzoo.load(timm.create_model("resnet18"), "m.safetensors")

    No code runs but that of modules in the registry and of torch.nn; pickles are not opened. Mode, device and dtype
    stay those of the model given. Where a plan names modules of your own, import what registers them first.

    Args:
        model: built by the same code as the one that was saved, before anything was inserted, replaced or folded;
            or with just the same already inserted, replaced and folded.
        path: a file that `save` wrote.

    Returns:
        The model that was given, changed in place.

    Raises:
        AttnzooError: the file is no such file or damaged, its plan is wrong or of another version, the model is
            another or already modified, or keys or shapes differ. The model is then as it was.
    """
    file = Path(path)
    steps, state = _read(file)
    inner: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    try:
        _check_real(inner)
        present = plan(inner)["steps"]
        if present and present != steps:
            raise AttnzooError(
                f"the model holds insertions, replacements or folds already, the first at {present[0]['path']!r}; "
                "give it as it is built, before any"
            )
        steps = [] if present else steps
        with torch.random.fork_rng(devices=[]):
            _rebuild(inner, steps, state)
    except AttnzooError as error:
        raise AttnzooError(f"load: {file} does not fit: {error}. The model was left as it was.") from error
    inner.load_state_dict(state)
    return model


def _rebuild(model: nn.Module, steps: list[dict[str, Any]], state: Mapping[str, Tensor]) -> None:
    """Redo the steps, first without memory for weights, to see whether the state fits; raise AttnzooError if not."""
    for empty in (True, False):
        changes = Changes(model)
        fits = False
        try:
            Rebuilding(model, changes, empty).redo(steps)
            _check_fit(model.state_dict(), state)
            fits = not empty
        finally:
            if not fits:
                changes.undo()


def _check_real(model: nn.Module) -> None:
    for key, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.is_meta:
            raise AttnzooError(f"{key} is on the meta device and holds nothing; build the model on a real one")


def _check_fit(own: Mapping[str, Any], given: Mapping[str, Tensor]) -> None:
    """Raise AttnzooError unless keys, shapes and kinds of numbers are the same."""
    faults = [f"missing {key}" for key in own if key not in given]
    faults += [f"unexpected {key}" for key in given if key not in own]
    for key, mine in own.items():
        new = given.get(key, mine)
        if mine.shape != new.shape:
            faults.append(f"{key} has the shape {tuple(new.shape)}, expected {tuple(mine.shape)}")
        elif _kind(mine) != _kind(new):
            faults.append(f"{key} holds {new.dtype}, expected {mine.dtype}")
    if faults:
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise AttnzooError(f"{'; '.join(faults[:8])}{more}; build the model as the one that was saved")


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype is torch.bool


def _apart(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors that share no memory, on the CPU, and for the other names of the same ones which they are."""
    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    storages: set[tuple[torch.device, int]] = set()
    for key, value in state.items():
        if not isinstance(value, Tensor) or value.is_meta or value.layout is not torch.strided or value.is_quantized:
            raise AttnzooError(
                f"save: {key} is no dense tensor with values ({type(value).__name__}), as safetensors needs."
            )
        view = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if value.numel() and view in first:
            tied[key] = first[view]
            continue
        first[view] = key
        storage = (value.device, value.untyped_storage().data_ptr())
        plain = value.detach().cpu().contiguous()
        kept[key] = plain.clone() if storage in storages else plain
        storages.add(storage)
    return kept, tied


def _read(file: Path) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The steps and all weights in a file, each under every name."""
    try:
        with safe_open(file, framework="pt") as content:
            text = (content.metadata() or {}).get(_KEY)
            state = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118, it is no dict
        return _planned(text, state)
    except AttnzooError as error:
        raise AttnzooError(f"load: {file}: {error}.") from error
    except Exception as error:  # whatever a damaged file brings about
        raise AttnzooError(f"load: {file} cannot be read: {_why(file, error)}.") from error


def _why(file: Path, error: Exception) -> str:
    """What is wrong with a file that safetensors does not read."""
    if not file.is_file():
        return "there is no such file"
    with file.open("rb") as opened:
        start = opened.read(9)
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:] not in (b"", b"{")):  # zipped or bare
        return (
            "it is a pickle, which may run any code and is not opened. If you trust it, take the weights from "
            "torch.load(path, weights_only=True), and save the model with attnzoo.save"
        )
    return f"it is cut off, damaged or no safetensors file ({error}); save the model anew with attnzoo.save"


def _planned(text: str | None, state: dict[str, Tensor]) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    if text is None:
        raise AttnzooError(
            "it holds no plan, only weights; load those with safetensors.torch.load_model, or save the model with "
            "attnzoo.save"
        )
    if len(text) > _LONGEST:
        raise AttnzooError(f"its plan has {len(text):,} characters, none has more than {_LONGEST:,}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AttnzooError(f"its plan is no JSON of plain depth ({error})") from error
    steps = steps_of(data)
    tied = data.get("tied", {})
    if not isinstance(tied, dict) or not all(isinstance(kept, str) and kept in state for kept in tied.values()):
        raise AttnzooError("its list of tied weights is not one of names in the file")
    return steps, {**{key: state[kept] for key, kept in tied.items()}, **state}
