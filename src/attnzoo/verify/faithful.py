"""Does it compute what it should, with parameters that are all there and all used?"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from math import inf

import torch
from torch import Tensor, nn

from attnzoo import examples
from attnzoo.verify.check import Failure, Profile, check, require
from attnzoo.verify.subject import Subject, backward, error, of_numbers, outputs_of
from attnzoo.verify.vectors import TOLERANCE, VECTORS, Case, cases_of

GRADIENT_TOLERANCE = 1e-5  # of its size
STEPS = (1e-6, 1e-7, 1e-8)  # a kink that one crosses lies beyond the next; a wrong gradient stays wrong


@check("vectors")
def vectors(subject: Subject, profile: Profile) -> None:
    """Does it equal the authors' code, outputs and input gradients, in every stored vector?"""
    require(VECTORS.is_dir(), "no vectors here: run in a clone of the repository")
    paths = cases_of(subject.name)
    require(bool(paths), "it has no vector")
    for path in paths:
        case = Case.load(path)
        module = case.build()
        count = case.count(module)
        require(count == case.parameters, f"{path.stem}: {count} parameters, the authors have {case.parameters}")
        worst = case.error(module)
        require(worst <= TOLERANCE, f"{path.stem}: {worst:.1e} off")


@check("gradcheck")
def gradcheck(subject: Subject, profile: Profile) -> None:
    """Do the gradients of every parameter and input agree with numeric ones in float64?"""
    size = examples.fitting(subject.name, (3, 4))
    module = subject.build(size).double()
    inputs = of_numbers(lambda x: x.double().requires_grad_(), subject.inputs(2, size))
    leaves = {f"input {i}": x for i, x in enumerate(inputs)} | dict(module.named_parameters())
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}

    def run() -> list[Tensor]:
        torch.manual_seed(2)
        outputs = outputs_of(module(*inputs))
        return [out.clone() for out in outputs if out.is_floating_point()]  # an output may share an input's memory

    outputs, rng = run(), torch.Generator().manual_seed(3)
    sent = [torch.randn(out.shape, generator=rng, dtype=out.dtype) for out in outputs]
    reached = [(out, given) for out, given in zip(outputs, sent, strict=True) if out.requires_grad]
    require(bool(reached), "no output has a gradient")
    found = torch.autograd.grad(
        [out for out, _ in reached],
        list(leaves.values()),
        [given for _, given in reached],
        allow_unused=True,
        materialize_grads=True,
    )
    least = 1e-3 * sum(out.norm().item() for out in outputs)  # below it, the rounding of the outputs counts
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        worst = inf
        for step in STEPS:
            direction = torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype)
            numeric = _half_difference(run, sent, leaf, step * direction) / step
            off = abs(numeric - (gradient * direction).sum().item())
            worst = min(worst, off / max(abs(numeric), gradient.norm().item(), least))
            if worst < GRADIENT_TOLERANCE:
                break
        else:
            raise Failure(f"the gradient of {name} is {worst:.1e} off")


@check("parameters")
def parameters(subject: Subject, profile: Profile) -> None:
    """Is every parameter registered, used, and reached by a gradient?"""
    module = subject.build().train()
    hidden = [
        f"{path}.{name}".lstrip(".")
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in vars(nn.Module()) and _holds_weights(value)
    ]
    require(not hidden, f"{', '.join(hidden)} are not registered, and so not trained, saved or moved")
    backward(module(*subject.inputs(4)))
    unused = [name for name, p in module.named_parameters() if p.grad is None]
    require(not unused, f"{', '.join(unused)} are not used")
    still = [
        name
        for name, p in module.named_parameters()
        if not any(fnmatch(name, glob) for glob in subject.card.inert) and not (p.grad.abs() > 0).any()  # type: ignore[union-attr]
    ]
    require(not still, f"no gradient reaches {', '.join(still)}")


@check("input-unchanged")
def input_unchanged(subject: Subject, profile: Profile) -> None:
    """Is the input left as it was, forward and backward, in both modes?"""
    for training in (False, True):
        inputs = subject.inputs(4)
        before = [x.clone() for x in inputs]
        held = of_numbers(lambda x: x.requires_grad_() * 1, inputs)  # not leaves, so that in-place writes are possible
        backward(subject.build().train(training)(*held))
        same = all(torch.equal(x, was) for x, was in zip([*inputs, *held], [*before, *before], strict=True))
        require(same, f"the input changes in {'training' if training else 'eval'} mode")


@check("batch-independent")
def batch_independent(subject: Subject, profile: Profile) -> None:
    """Are a sample's output and gradient the same whatever else is in the batch, in eval mode?"""
    module, inputs = subject.build().double(), of_numbers(Tensor.double, subject.inputs(3))
    together, gradients = _with_gradients(module, inputs, slice(3))
    if any(out.shape[:1] != (3,) for out in together):
        raise Failure("an output has no batch dimension")
    for i in range(3):
        one = slice(i, i + 1)
        alone, own = _with_gradients(module, inputs, one)
        worst = error(alone, [out[one] for out in together])
        require(worst < 1e-10, f"sample {i} changes by {worst:.1e} with its company")
        worst = error(own, [gradient[one] for gradient in gradients])
        require(worst < 1e-8, f"the gradient of sample {i} changes by {worst:.1e} with its company")


def _with_gradients(module: nn.Module, inputs: Iterable[Tensor], which: slice) -> tuple[list[Tensor], list[Tensor]]:
    """All outputs for some samples, and what the same cotangents give for the inputs that have a gradient."""
    chosen = [x[which].detach().requires_grad_(x.is_floating_point()) for x in inputs]
    outputs = outputs_of(module(*chosen))
    parts = [out for out in outputs if out.requires_grad]
    rng = torch.Generator().manual_seed(0)
    sent = [torch.randn(3, *out.shape[1:], generator=rng, dtype=out.dtype)[which] for out in parts]
    wanted = [x for x in chosen if x.requires_grad]
    found = torch.autograd.grad(parts, wanted, sent, allow_unused=True) if parts else ()
    return outputs, [gradient for gradient in found if gradient is not None]


def _holds_weights(value: object) -> bool:
    """Whether an attribute is a tensor or module, or lists or dicts of any depth with one inside."""
    if isinstance(value, dict):
        return any(map(_holds_weights, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_weights, value))
    return isinstance(value, Tensor | nn.Module)


def _half_difference(run: Callable[[], list[Tensor]], sent: list[Tensor], leaf: Tensor, move: Tensor) -> float:
    """Half of what `run` gives, along the cotangents, with `leaf` moved forth less what it gives with it moved back."""
    start, sides = leaf.detach().clone(), []
    with torch.no_grad():
        for moved in (start + move, start - move):
            leaf.copy_(moved)
            sides.append(run())
        leaf.copy_(start)
    return sum(((a - b) * given).sum().item() for a, b, given in zip(*sides, sent, strict=True)) / 2
