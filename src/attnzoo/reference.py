"""Loading published weights: the authors' state dicts onto our modules."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from attnzoo.errors import AttnzooError

_COUNTER = "num_batches_tracked"  # a BatchNorm's step counter, which older checkpoints lack


def load_reference(module: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict with the authors' keys and layouts into `module`, strictly and in place.

    A class whose names differ from the authors' says how: `reference_keys` maps the beginnings of the
    authors' keys (regular expressions that end before a dot) to ours, the first that matches counts; where
    layouts differ too, `from_reference(state)` gives the state dict in our layout. Trailing dimensions
    of length 1 may differ, as a linear layer is a 1x1 convolution. Our own keys load as well.

    Raises:
        AttnzooError: a key is missing, unexpected or given twice, or a shape differs; the module is then
            left as it was.
    """
    name = type(module).__name__
    state = dict(state_dict)
    translate = getattr(module, "from_reference", None)
    if translate is not None:
        state = translate(state)
    own = module.state_dict()
    fitted: dict[str, Tensor] = {}
    faults = []
    for key, value in state.items():
        ours = _rename(key, getattr(module, "reference_keys", {}))
        if not isinstance(value, Tensor):
            faults.append(f"{key} is no tensor")
        elif ours not in own:
            faults.append(f"unexpected {key}")
        elif ours in fitted:
            faults.append(f"{ours} given twice")
        elif _core(value) != _core(own[ours]):
            faults.append(f"{key} has shape {tuple(value.shape)}, expected {tuple(own[ours].shape)}")
        else:
            fitted[ours] = value.reshape(own[ours].shape)
    faults += [f"missing {key}" for key in own if key not in fitted and not key.endswith(_COUNTER)]
    if faults:
        shown = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        raise AttnzooError(
            f"{name}: the state dict does not fit: {shown}. Build the module with the arguments of that checkpoint."
        )
    module.load_state_dict({**own, **fitted})


def _rename(key: str, rules: Mapping[str, str]) -> str:
    for pattern, ours in rules.items():
        renamed, hits = re.subn(rf"^{pattern}(?=\.|$)", ours, key, count=1)
        if hits:
            return renamed
    return key


def _core(tensor: Tensor) -> tuple[int, ...]:
    """The shape without trailing dimensions of length 1."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
