"""fold: what training needed and inference does not, merged into plain convolutions."""

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attnzoo.blocks import fuse_conv_bn, plain_conv
from attnzoo.errors import AttnzooError
from attnzoo.surgery.changes import Changes
from attnzoo.surgery.finetuning import hold_statistics
from attnzoo.surgery.flow import tensors
from attnzoo.surgery.history import DROP_NORM, FOLD, TAKE_NORM, remember
from attnzoo.surgery.plug import CHILD, Plug
from attnzoo.surgery.probe import attempt, deviation, multiply_adds

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,
}  # of the whole model's outputs; half precision is not held to one


@dataclass(frozen=True)
class Folded:
    """One part that `fold` merged: its name in the model, what it was, what it is now."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class FoldReport:
    """What `fold` did. Print it for a table.

    Attributes:
        sites: what was merged.
        kept: names of what could have been but was not, and why.
        parameters: before and after.
        macs: multiply-adds of convolutions and matrix products for the example input, before and after.
        difference: of the model's outputs on the example input, of the largest value.
    """

    sites: tuple[Folded, ...]
    kept: tuple[tuple[str, str], ...]
    parameters: tuple[int, int]
    macs: tuple[int, int]
    difference: float

    def __str__(self) -> str:
        lines = [
            f"{len(self.sites)} parts folded: {self.parameters[0]:,} -> {self.parameters[1]:,} parameters, "
            f"{self.macs[0]:,} -> {self.macs[1]:,} multiply-adds; outputs differ by {self.difference:.0e}"
        ]
        width = max((len(path) for path in [s.path for s in self.sites] + [path for path, _ in self.kept]), default=0)
        lines += [f"  {site.path:<{width}}  {site.before} -> {site.after}" for site in self.sites]
        lines += [f"  {path:<{width}}  kept: {why}" for path, why in self.kept]
        return "\n".join(lines)


def fold(model: nn.Module, example_input: Any = None) -> FoldReport:
    """Merge every re-parameterisable part of a trained model into plain convolutions for inference, in place.

    Modules of the library with a form for inference (rep_vgg, mobile_one, ac_block, dbb, do_conv, ...) become it; then
    every BatchNorm whose only input is a convolution that nothing else reads joins that convolution, an
    `nn.Identity` in its place. Pairs are found by following the tensors of one forward pass, so any model will do.

    Args:
        model: in eval mode; its outputs stay the same up to rounding.
        example_input: what the model takes, see `insert`.

    Returns:
        A report; print it for a table.

    Raises:
        AttnzooError: a part is in training mode, where BatchNorm computes something else; nothing can be folded; the
            model does not run on the input; or its outputs would change. The model is then as it was.
    """
    training = [path or "the model" for path, m in model.named_modules() if m.training and _depends_on_mode(m)]
    if training:
        raise AttnzooError(
            f"fold: {training[0]} is in training mode, in which a BatchNorm computes with the batch's statistics: no "
            "convolution equals that. Call model.eval() first."
        )
    before = _Measured(model, example_input)
    changes = Changes(model)
    try:
        sites, kept = _fold_modules(model, changes)
        merged, alone = _fold_norms(model, changes, example_input)
        if not sites and not merged:
            raise AttnzooError("fold: the model holds nothing that folds: no re-parameterisable module, no BatchNorm.")
        after = _Measured(model, example_input)
        pairs = zip(after.outputs, before.outputs, strict=True)
        difference = max(deviation(now, then) for now, then in pairs if then.numel())
        allowed = TOLERANCE.get(before.dtype, float("inf"))
        if not difference <= allowed:
            raise AttnzooError(
                f"fold: the outputs would differ by {difference:.0e}, more than {allowed:.0e}; the model was left as "
                "it was. It may read a tensor between a convolution and its BatchNorm in a way that cannot be seen."
            )
    except BaseException:
        changes.undo()
        raise
    counts = (before.parameters, after.parameters), (before.macs, after.macs)
    return FoldReport((*sites, *merged), (*kept, *alone), *counts, difference)


def _depends_on_mode(module: nn.Module) -> bool:
    return hasattr(module, "folded") or isinstance(module, nn.BatchNorm2d)


class _Measured:
    """What a model gives and costs on an input."""

    def __init__(self, model: nn.Module, example_input: Any) -> None:
        outputs, self.macs = multiply_adds(lambda: attempt(model, example_input))
        self.outputs = list(tensors(outputs))
        self.parameters = sum(p.numel() for p in model.parameters())
        self.dtype = self.outputs[0].dtype if self.outputs else torch.float32


def _fold_modules(model: nn.Module, changes: Changes) -> tuple[list[Folded], list[tuple[str, str]]]:
    """Put the library's own modules into their form for inference, the outermost of nested ones."""
    sites: list[Folded] = []
    kept: list[tuple[str, str]] = []
    inside: tuple[str, ...] = ()
    for path, module in list(model.named_modules()):
        if not path or not hasattr(module, "folded") or path.startswith(inside or "\0"):
            continue
        if _watched(module):
            kept.append((path, "it has hooks, which would be lost"))
            continue
        if any(isinstance(part, Plug) and inner.split(".")[0] != CHILD for inner, part in module.named_modules()):
            kept.append((path, "something is plugged in inside, which would be lost"))
            continue
        try:
            new = folded(module)
        except AttnzooError as error:
            kept.append((path, str(error)))
            continue
        changes.put(module, new)
        inside += (path + ".",)
        sites.append(Folded(path, _called(module), _called(new)))
    return sites, kept


def _fold_norms(model: nn.Module, changes: Changes, example_input: Any) -> tuple[list[Folded], list[tuple[str, str]]]:
    """Let every BatchNorm join the convolution before it, where nothing else reads that one's output."""
    sites: list[Folded] = []
    kept: list[tuple[str, str]] = []
    paths = {module: path for path, module in model.named_modules()}
    for norm, source in _followed(model, example_input).items():
        if isinstance(source, str):
            kept.append((paths[norm], source))
            continue
        try:
            new = with_norm(source, norm)
        except AttnzooError as error:
            kept.append((paths[norm], str(error)))
            continue
        changes.put(source, new)
        changes.put(norm, without_norm(norm))
        sites.append(Folded(paths[source], f"{_called(source)} + BatchNorm {paths[norm]}", _called(new)))
    return sites, kept


def folded(module: nn.Module) -> nn.Module:
    """The form for inference of a module that has one.

    Raises:
        AttnzooError: it has none, or its present state allows none.
    """
    if not hasattr(module, "folded"):
        raise AttnzooError(f"{type(module).__name__} has no form for inference")
    new: nn.Module = module.folded()  # type: ignore[operator]
    remember(new, module, FOLD)
    return new


def with_norm(source: nn.Module, norm: nn.BatchNorm2d) -> nn.Module:
    """A convolution, one of those that `takes_norm` knows, with the BatchNorm after it taken in.

    Raises:
        AttnzooError: the BatchNorm has no statistics of its own.
    """
    if isinstance(source, nn.Conv2d):
        new: nn.Module = plain_conv(*fuse_conv_bn(source.weight, source.bias, norm), like=source)
    else:
        new = source.folded(norm=norm)  # type: ignore[operator]
    remember(new, source, TAKE_NORM)
    return new


def without_norm(norm: nn.BatchNorm2d) -> nn.Module:
    """What a BatchNorm does besides normalising: timm's BatchNormAct2d drops and activates as well."""
    parts = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
    rest = [copy.deepcopy(part) for part in parts if not isinstance(part, nn.Identity)]
    new = nn.Identity() if not rest else rest[0] if len(rest) == 1 else nn.Sequential(*rest)
    remember(new, norm, DROP_NORM)
    return new


def _followed(model: nn.Module, example_input: Any) -> dict[nn.BatchNorm2d, nn.Module | str]:
    """For every BatchNorm that runs: the convolution whose output it alone reads, or why there is none."""
    sources = [m for m in model.modules() if takes_norm(m)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    reads = _Reads()
    made: dict[int, nn.Module] = {}
    runs: dict[nn.Module, int] = dict.fromkeys([*sources, *norms], 0)
    taken: dict[nn.BatchNorm2d, Tensor] = {}
    watched = {module for module in [*sources, *norms] if _watched(module)}

    def ran(source: nn.Module, _: Any, output: Tensor) -> None:
        runs[source] += 1
        reads.counts[id(output)] = 0  # of a tensor before it that had the same identity
        made[id(reads.keep(output))] = source

    def took(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        runs[norm] += 1
        taken[norm] = reads.keep(inputs[0])

    handles = [source.register_forward_hook(ran) for source in sources]
    handles += [norm.register_forward_pre_hook(took) for norm in norms]
    try:
        with reads:
            given = list(tensors(attempt(model, example_input)))
    finally:
        for handle in handles:
            handle.remove()
    outputs = {id(x) for x in given}

    def judge(norm: nn.BatchNorm2d) -> nn.Module | str:
        x = taken[norm]
        source = made.get(id(x))
        if source is None:
            return "its input is no convolution's output"
        if runs[norm] > 1 or runs[source] > 1:
            return "it, or the convolution, runs more than once in a forward pass"
        if reads.counts.get(id(x), 0) > 1 or id(x) in outputs:
            return "something else reads the convolution's output as well"
        if norm in watched or source in watched or getattr(source, CHILD, None) is not None:
            return "hooks, or something plugged in, stand between"
        return source

    return {norm: judge(norm) for norm in norms if norm in taken}


def takes_norm(module: nn.Module) -> bool:
    """Whether a BatchNorm after it can join it."""
    if type(module) is nn.Conv2d:
        return True
    form = getattr(module, "folded", None)
    return form is not None and "norm" in inspect.signature(form).parameters


def _watched(module: nn.Module) -> bool:
    """Whether it has hooks besides that of a plug and that which holds statistics."""
    hooks = len(module._forward_hooks) - (getattr(module, CHILD, None) is not None)
    before = [hook for hook in module._forward_pre_hooks.values() if hook is not hold_statistics]
    return bool(hooks or before or hasattr(module, "parametrizations"))


class _Reads(TorchFunctionMode):
    """Counts how many operations of torch read each tensor that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[int, int] = {}
        self.kept: list[Tensor] = []  # held, so that no identity is used twice

    def keep(self, x: Tensor) -> Tensor:
        """Hold a tensor and give it."""
        self.kept.append(x)
        return x

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _LOOKS:
            for x in tensors([args, kwargs or {}]):
                self.counts[id(x)] = self.counts.get(id(x), 0) + 1
        return func(*args, **(kwargs or {}))


# Looking at a tensor's form reads none of its values.
_LOOKS = {
    getattr(Tensor, name).__get__
    for name in ("shape", "dtype", "device", "is_cuda", "requires_grad", "layout", "ndim", "grad_fn")
} | {Tensor.dim, Tensor.size, Tensor.stride, Tensor.is_floating_point, Tensor.numel}


def _called(module: nn.Module) -> str:
    """Its class, and its kernel where it is a convolution."""
    if isinstance(module, nn.Sequential):
        return " + ".join(_called(part) for part in module)
    name = type(module).__name__
    if not isinstance(module, nn.Conv2d):
        return name
    return f"{name} {'x'.join(map(str, module.kernel_size))}"
