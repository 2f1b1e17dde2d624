"""Loading published weights: the authors' state dicts onto our modules and networks."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from attnzoo.errors import AttnzooError

_COUNTER: Final = "num_batches_tracked"  # a BatchNorm's step counter, which older checkpoints lack
_WRAPPERS: Final = ("state_dict", "model", "net")  # what training scripts save the weights under
_PARALLEL: Final = "module."  # what DataParallel puts before every key


class _Given(NamedTuple):
    """A tensor of a checkpoint: our key of it, as far as it is translated, and the checkpoint's own."""

    key: str
    theirs: str
    value: Tensor


def load_reference(module: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load a state dict with the authors' keys and layouts into a module or network, strictly and in place.

    A class whose names differ from the authors' says how: `reference_keys` maps the beginnings of the
    authors' keys (regular expressions that end before a dot) to ours, the first that matches counts; where
    layouts differ too, `from_reference(state)` gives the state dict in our layout. What a key names after that
    is translated by the submodule that it leads to, so that each class speaks for its own names only. Trailing
    dimensions of length 1 may differ, as a linear layer is a 1x1 convolution. Our own keys load as well.

    Args:
        module: of this library, or any that holds such modules.
        state_dict: as `torch.load` or `safetensors` gives it; it may stand under 'state_dict', 'model' or 'net' among
            other entries of a checkpoint, and all its keys may begin with 'module.', as DataParallel saves them.

    Raises:
        AttnzooError: it is no state dict, a key is missing, unexpected or given twice, or a shape differs; the
            module is then as it was.
    """
    own = module.state_dict()
    state = _unwrapped(module, state_dict)
    given = [_Given(key, key, value) for key, value in state.items()]
    if not _is_ours(state, own):
        given = _translated(module, given, "")
    faults: list[str] = []
    fitted: dict[str, Tensor] = {}
    for ours, theirs, value in given:
        if ours not in own:
            faults.append(f"unexpected {theirs}")
        elif ours in fitted:
            faults.append(f"{ours} given twice")
        elif _core(value) != _core(own[ours]):
            faults.append(f"{theirs} has shape {tuple(value.shape)}, expected {tuple(own[ours].shape)}")
        else:
            fitted[ours] = value.reshape(own[ours].shape)
    known = {ours for ours, _, _ in given}
    faults += [f"missing {key}" for key in own if key not in known and not key.endswith(_COUNTER)]
    if faults:
        shown = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        raise AttnzooError(
            f"{_called(module)}: the state dict does not fit: {shown}. Build the module with the arguments of "
            "that checkpoint."
        )
    module.load_state_dict({**own, **fitted})


def _called(module: nn.Module) -> str:
    """What messages call a module: its own word for it, else its class."""
    called = getattr(module, "called", None)
    return called if isinstance(called, str) else type(module).__name__


def _unwrapped(module: nn.Module, checkpoint: Any) -> dict[str, Tensor]:
    """The weights of a checkpoint, without what training scripts put around them and before their keys."""
    name = _called(module)
    for wrapper in _WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
    if not isinstance(checkpoint, Mapping):
        raise AttnzooError(
            f"{name}: expected a state dict, got {type(checkpoint).__name__}. "
            "Give what torch.load(path, weights_only=True) or safetensors.torch.load_file(path) returns."
        )
    odd = [str(key) for key, value in checkpoint.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd:
        shown = ", ".join(odd[:8]) + (", ..." if len(odd) > 8 else "")
        raise AttnzooError(f"{name}: expected a state dict, got one whose entries are no tensors: {shown}.")
    rules = getattr(module, "reference_keys", {})
    own = any(key.startswith(_PARALLEL) for key in module.state_dict())
    if not own and all(key.startswith(_PARALLEL) and _rename(key, rules) == key for key in checkpoint):
        return {key.removeprefix(_PARALLEL): value for key, value in checkpoint.items()}
    return dict(checkpoint)


def _is_ours(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether keys and shapes are those of our own state dict, whose names may mean something else to the authors."""
    return state.keys() == own.keys() and all(value.shape == own[key].shape for key, value in state.items())


def _translated(module: nn.Module, given: list[_Given], path: str) -> list[_Given]:
    """What is given to the submodule at a path, its own part of the keys in our names, in our layouts."""
    rules = getattr(module, "reference_keys", {})
    done: list[_Given] = []
    parts: dict[str, list[_Given]] = {}
    for entry in _laid_out(module, given, path):
        key = _rename(entry.key, rules)
        child, _, rest = key.partition(".")
        if rest and isinstance(getattr(module, child, None), nn.Module):
            parts.setdefault(child, []).append(entry._replace(key=rest))
        else:
            done.append(entry._replace(key=key))
    for child, part in parts.items():
        inner = _translated(module.get_submodule(child), part, f"{path}{child}.")
        done += [entry._replace(key=f"{child}.{entry.key}") for entry in inner]
    return done


def _laid_out(module: nn.Module, given: list[_Given], path: str) -> list[_Given]:
    """What a module's `from_reference` makes of what is given to it."""
    translate = getattr(module, "from_reference", None)
    theirs = {entry.key: entry.theirs for entry in given}
    if translate is None or len(theirs) < len(given):  # keys given twice are left to be found
        return given
    state = translate({entry.key: entry.value for entry in given})
    return [_Given(key, theirs.get(key, path + key), value) for key, value in state.items()]


def _rename(key: str, rules: Mapping[str, str]) -> str:
    for pattern, ours in rules.items():
        renamed, hits = re.subn(rf"^(?:{pattern})(?=\.|$)", ours, key, count=1)
        if hits:
            return renamed
    return key


def _core(tensor: Tensor) -> tuple[int, ...]:
    """The shape without trailing dimensions of length 1."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
