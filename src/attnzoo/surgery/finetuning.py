"""Training what was put into a pretrained model: which parameters move, and how fast."""

from collections.abc import Iterator
from typing import Any, Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.surgery.history import REPLACE, history
from attnzoo.surgery.plug import Plug

_FROZEN: Final = "attnzoo_frozen"
_NORMS: Final = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def param_groups(
    model: nn.Module, lr: float, module_lr: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the backbone, and what was plugged in or replaced, at a rate of its own.

    Each of the two is given with weight decay and without: none for biases, the parameters of norms, those of one
    dimension and the alphas of identity starts. Every trainable parameter is in one group; frozen ones are in none.

        optimizer = torch.optim.SGD(attnzoo.param_groups(model, lr=1e-3, module_lr=1e-2, weight_decay=1e-4))

    Args:
        model: any module, also one without anything of ours.
        lr: the learning rate of the backbone.
        module_lr: that of what was plugged in or replaced; None takes lr.
        weight_decay: where there is one.

    Returns:
        Up to four groups, {'name', 'params', 'lr', 'weight_decay'}; empty ones are left out.

    Raises:
        AttnzooError: a negative rate or decay, or nothing in the model is trainable.
    """
    module_lr = lr if module_lr is None else module_lr
    checks.no_less("param_groups", 0, lr=lr, module_lr=module_lr, weight_decay=weight_decay)
    groups: dict[tuple[bool, bool], dict[str, Any]] = {
        (new, decayed): {
            "name": ("modules" if new else "backbone") + ("" if decayed else ", no decay"),
            "params": [],
            "lr": module_lr if new else lr,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for new in (False, True)
        for decayed in (True, False)
    }
    ours = _put_in(model)
    decays = {id(p): _decays(module, name, p) for module in model.modules() for name, p in _own(module)}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[id(parameter) in ours, decays[id(parameter)]]["params"].append(parameter)
    filled = [group for group in groups.values() if group["params"]]
    if not filled:
        raise AttnzooError("param_groups: no parameter requires a gradient; unfreeze some: model.requires_grad_(True).")
    return filled


def freeze_backbone(model: nn.Module) -> None:
    """Let only what was plugged in or replaced require gradients, and hold the statistics of the other BatchNorms."""
    ours = _put_in(model)
    for module in model.modules():
        frozen = [name for name, p in _own(module) if p.requires_grad and id(p) not in ours]
        for name in frozen:
            getattr(module, name).requires_grad_(False)
        if frozen:
            setattr(module, _FROZEN, tuple(frozen))
        if _holdable(module) and not module.weight.requires_grad and not _held(module):
            module.register_forward_pre_hook(hold_statistics)


def unfreeze(model: nn.Module) -> None:
    """Undo `freeze_backbone`; what it found frozen stays so."""
    for module in model.modules():
        for name in vars(module).pop(_FROZEN, ()):
            parameter = module._parameters.get(name)
            if parameter is not None:
                parameter.requires_grad_(True)
        for key in _held(module):
            del module._forward_pre_hooks[key]


def hold_statistics(norm: Any, _: Any) -> None:
    """Before every pass of a BatchNorm: eval mode while its weights are frozen; at module level, for pickling."""
    if norm.training and not norm.weight.requires_grad:
        norm.training = False


def _put_in(model: nn.Module) -> set[int]:
    """The identities of all parameters of plugs and replaced modules."""
    parts = (m for m in model.modules() if isinstance(m, Plug) or any(s["kind"] == REPLACE for s in history(m)))
    return {id(p) for part in parts for p in part.parameters()}


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return module.named_parameters(recurse=False)


def _decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    if parameter.dim() < 2 or name.endswith("bias"):
        return False
    return not isinstance(module, _NORMS) and "Norm" not in type(module).__name__


def _holdable(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None and module.weight is not None


def _held(module: nn.Module) -> list[int]:
    return [key for key, hook in module._forward_pre_hooks.items() if hook is hold_statistics]
