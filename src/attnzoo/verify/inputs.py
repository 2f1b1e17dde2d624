"""Is every wrong input of forward refused by name?"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from attnzoo import examples, registry
from attnzoo.errors import AttnzooError
from attnzoo.verify.check import Failure, Profile, check, require
from attnzoo.verify.subject import Subject, outputs_of


@check("invalid-inputs", group="arguments")
def invalid_inputs(subject: Subject, profile: Profile) -> None:
    """Is every wrong shape, size, dtype and type of input refused by module and argument, and an empty batch clean?"""
    inputs = subject.inputs()
    parameters = list(inspect.signature(subject.bare().forward).parameters.values())
    needed = [parameter for parameter in parameters if parameter.default is parameter.empty]
    several = len(needed) > 1 or parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    cases: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
        (parameter.name, what, (*inputs[:i], wrong, *inputs[i + 1 :]), {})
        for i in range(len(inputs))
        for parameter in [parameters[min(i, len(parameters) - 1)]]
        for what, wrong in _wrong(subject, i, inputs[i], optional=parameter.default is None)
    ]
    cases += [
        (parameter.name, what, inputs, {parameter.name: wrong})
        for parameter in parameters[len(inputs) :]
        if "Tensor" in str(parameter.annotation)
        for what, wrong in _never_right()
    ]
    for training in (False, True):
        module = subject.build().train(training)
        for name, what, given, named in cases:
            case = f"{name} {what} in {'training' if training else 'eval'} mode"
            try:
                with torch.no_grad():
                    module(*given, **named)
            except (AttnzooError, TypeError) as error:
                told = str(error)
                require(told.startswith(f"{subject.name}: "), f"{case} is refused in another's name: {told}")
                plain = name == parameters[0].name and not several
                named_in = plain or re.search(rf"\b{name}\b", told.removeprefix(subject.name))
                require(bool(named_in), f"{case} is refused without being named: {told}")
            except Exception as error:
                raise Failure(f"{case}: {type(error).__name__}: {error}") from error
            else:
                raise Failure(f"{case} is taken")
    _empty_batch(subject)


def takes_any_shape(name: str) -> bool:
    """Whether a module works number by number, so that every shape is right."""
    return registry.card(name).contract == "activation" and channel_argument(name) is None


def takes_any_channels(name: str) -> bool:
    """Whether a module's mathematics needs no channel count."""
    key = channel_argument(name)
    return key is None or registry.signature(name).parameters[key].default is None


def channel_argument(name: str) -> str | None:
    """The argument that says how many channels the first input has, if there is one."""
    known = registry.signature(name).parameters
    return next((key for key in ("channels", "in_channels", "low_channels") if key in known), None)


def _wrong(subject: Subject, place: int, x: Tensor, optional: bool) -> Iterator[tuple[str, Any]]:
    """Wrong values for the argument at this place of forward, each with words about it."""
    if not optional:
        yield "None", None
    yield "from numpy", x.numpy()
    yield "complex", x.to(torch.complex64)
    yield "of another kind of number", x.long() if x.is_floating_point() else x.float()
    if takes_any_shape(subject.name):
        return
    yield "with a dimension less", x[0]
    yield "with a dimension more", x[..., None]
    if place:
        yield "of another batch", subject.inputs(3)[place]
    for dim, fixed in examples.fixed(subject.name, place).items():
        yield f"of no size in dimension {dim}", x.narrow(dim, 0, 0)
        if fixed and not takes_any_channels(subject.name):
            yield f"shorter in dimension {dim}", x.narrow(dim, 0, x.shape[dim] - 1)
            yield f"longer in dimension {dim}", torch.cat([x, x.narrow(dim, 0, 1)], dim)


def _never_right() -> Iterator[tuple[str, Any]]:
    """Values that no optional tensor of forward may have, whatever its shape."""
    odd = torch.zeros(3, 5, 7, 11, 13)
    yield "from numpy", odd[0, 0, 0].numpy()
    yield "complex", odd.to(torch.complex64)
    yield "of five odd sizes", odd
    yield "boolean of five odd sizes", odd.bool()


def _empty_batch(subject: Subject) -> None:
    try:
        outputs = outputs_of(subject.build()(*subject.inputs(0)))
    except AttnzooError:
        return
    except Exception as error:
        raise Failure(f"an empty batch: {type(error).__name__}: {error}") from error
    filled = [tuple(out.shape) for out in outputs if out.numel()]
    require(not filled, f"an empty batch gives {filled}")
