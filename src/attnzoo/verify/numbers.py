"""Do the numbers hold in half precision, for extreme inputs, and from run to run?"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from attnzoo.verify.check import Profile, check, require
from attnzoo.verify.subject import Subject, backward, error, finite, of_numbers, outputs_of

HALVES = (torch.bfloat16, torch.float16)
TOLERANCE = 2e-2  # of the largest value: what half precision leaves


@check("autocast-bfloat16")
def autocast_bfloat16(subject: Subject, profile: Profile) -> None:
    """Does autocast to bfloat16 stay within 2e-2 of float32, on inputs of either dtype?"""
    _autocast_holds(subject, torch.bfloat16, subject.inputs())


@check("autocast-float16")
def autocast_float16(subject: Subject, profile: Profile) -> None:
    """Does autocast to float16 stay within 2e-2 of float32, on inputs of either dtype?"""
    _autocast_holds(subject, torch.float16, subject.inputs())


@check("large-finite")
def large_finite(subject: Subject, profile: Profile) -> None:
    """Do inputs a thousand times larger stay finite, in float32 and under autocast to bfloat16?"""
    require(finite(subject.build()(*_enlarged(subject))), "not finite in float32")
    _autocast_finite(subject, torch.bfloat16)


@check("large-finite-float16")
def large_finite_float16(subject: Subject, profile: Profile) -> None:
    """Do inputs a thousand times larger stay finite under autocast to float16?"""
    _autocast_finite(subject, torch.float16)


@check("large-close-bfloat16", among="large-close")
def large_close_bfloat16(subject: Subject, profile: Profile) -> None:
    """Do inputs a thousand times larger keep autocast to bfloat16 within 2e-2 of float32?"""
    _autocast_holds(subject, torch.bfloat16, _enlarged(subject))


@check("large-close-float16", among="large-close")
def large_close_float16(subject: Subject, profile: Profile) -> None:
    """Do inputs a thousand times larger keep autocast to float16 within 2e-2 of float32?"""
    _autocast_holds(subject, torch.float16, _enlarged(subject))


@check("constant-inputs")
def constant_inputs(subject: Subject, profile: Profile) -> None:
    """Do constant inputs, zero included, give finite outputs and gradients, and hold under autocast?"""
    for value in (0.0, 0.5):
        inputs = of_numbers(partial(torch.full_like, fill_value=value), subject.inputs())
        leaves = of_numbers(lambda x: x.clone().requires_grad_(), inputs)
        result = subject.build()(*leaves)
        require(finite(result), f"not finite for all {value}")
        backward(result)
        require(finite([x.grad for x in leaves if x.grad is not None]), f"the gradient is not finite for all {value}")
        for dtype in HALVES:
            _autocast_holds(subject, dtype, inputs)


@check("deterministic")
def deterministic(subject: Subject, profile: Profile) -> None:
    """Do two runs under torch's deterministic algorithms agree to the bit, gradients too?"""
    torch.use_deterministic_algorithms(True)
    runs = []
    for _ in range(2):
        module, inputs = subject.build(), of_numbers(Tensor.requires_grad_, subject.inputs())
        result = outputs_of(module(*inputs))
        backward(result)
        runs.append(
            [
                *result,
                *(x.grad for x in inputs if x.grad is not None),
                *(p.grad for p in module.parameters() if p.grad is not None),
            ]
        )
    same = all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    require(same, "two runs differ")


def _autocast_holds(subject: Subject, dtype: torch.dtype, inputs: tuple[Tensor, ...]) -> None:
    for given in _either(inputs, dtype):
        wanted = subject.build()(*of_numbers(Tensor.float, given))
        found = outputs_of(_autocast(subject, dtype, given))
        require(finite(found), f"not finite under autocast to {dtype}")
        worst = error(found, wanted)
        require(worst <= TOLERANCE, f"{worst:.1e} off under autocast to {dtype} for {given[0].dtype} inputs")
        if subject.card.contract in ("feature", "tokens"):
            allowed = (given[0].dtype, dtype)  # torch's own layers hand on autocast's dtype
            require(found[0].dtype in allowed, f"gives {found[0].dtype} for {given[0].dtype} under autocast")


def _autocast_finite(subject: Subject, dtype: torch.dtype) -> None:
    for given in _either(_enlarged(subject), dtype):
        require(finite(_autocast(subject, dtype, given)), f"not finite under autocast to {dtype}")


def _enlarged(subject: Subject) -> tuple[Tensor, ...]:
    return of_numbers(lambda x: x * 1e3, subject.inputs())


def _either(inputs: tuple[Tensor, ...], dtype: torch.dtype) -> Iterator[tuple[Tensor, ...]]:
    """The inputs in float32, and as a layer before would hand them over under autocast."""
    yield inputs
    yield of_numbers(lambda x: x.to(dtype), inputs)


def _autocast(subject: Subject, dtype: torch.dtype, inputs: tuple[Tensor, ...]) -> object:
    with torch.autocast("cpu", dtype=dtype), torch.no_grad():
        return subject.build()(*inputs)
