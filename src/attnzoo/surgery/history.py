"""What was done to a submodule, kept on the submodule itself: it goes wherever the module goes."""

from typing import Any, Final

from torch import nn

_HISTORY: Final = "attnzoo_history"

REPLACE: Final = "replace"  # a module of the registry stands for a convolution
FOLD: Final = "fold"  # a module took its form for inference
TAKE_NORM: Final = "take_norm"  # a convolution took in the BatchNorm after it
DROP_NORM: Final = "drop_norm"  # what a BatchNorm does besides normalising is left


def history(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """The steps from the module that the model was built with to this one, each {'kind': ..., ...}."""
    return vars(module).get(_HISTORY, ())


def remember(new: nn.Module, old: nn.Module, kind: str, **facts: Any) -> None:
    """Let `new`, which takes the place of `old`, know by which step it came there."""
    setattr(new, _HISTORY, (*history(old), {"kind": kind, **facts}))
