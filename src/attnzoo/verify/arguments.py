"""Do all legal arguments run, and is every illegal one refused by name?"""

import inspect
import re
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch

from attnzoo import examples, registry
from attnzoo.checks import fits
from attnzoo.errors import AttnzooError
from attnzoo.verify.check import Failure, Profile, check, require
from attnzoo.verify.subject import Subject, finite, outputs_of

# What an integer argument is drawn from, by the words that its name holds; other integers come from the last line.
_INTEGERS = {
    "channels": (8, 16, 32, 48, 64, 128),
    "kernel": (1, 3, 5, 7),
    "reduction": (1, 2, 4, 8, 16),
    "groups": (1, 2, 4, 8),
    "stride": (1, 2),
    "": (1, 2, 3, 4, 8),
}


@check("valid-arguments")
def valid_arguments(subject: Subject, profile: Profile) -> None:
    """Do drawn legal arguments and sizes run? (quick: 5 draws; full: 200)"""
    from hypothesis import HealthCheck, assume, given, settings
    from hypothesis import strategies as st

    parameters = registry.signature(subject.name).parameters
    kinds = _kinds(subject.name)
    fallback = examples.arguments(subject.name)
    runs = 0

    @settings(
        max_examples=5 if profile == "quick" else 200,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: Any) -> None:
        nonlocal runs
        drawn = data.draw(st.tuples(st.integers(1, 14), st.integers(1, 14)), "size")
        size = examples.fitting(subject.name, drawn)
        channels = data.draw(st.sampled_from(_INTEGERS["channels"]), "channels")
        batch = data.draw(st.integers(2, 4), "batch")
        arguments = dict(examples.arguments(subject.name, channels, size))
        for name, parameter in parameters.items():
            options = _legal(subject.name, name, kinds.get(name))
            settled = name in ("channels", "in_channels", "height", "width") or parameter.default is parameter.empty
            if options and not settled and data.draw(st.booleans(), f"set {name}"):
                arguments[name] = data.draw(st.sampled_from(options), name)
        torch.manual_seed(0)
        try:
            module = registry.create(subject.name, **arguments).eval()
            inputs = examples.inputs(subject.name, batch, channels, size)
            outputs = outputs_of(module(*inputs))
        except AttnzooError:
            assume(False)
        except Exception as error:
            raise Failure(f"{arguments} at {size}: {type(error).__name__}: {error}") from error
        runs += 1
        require(finite(outputs), f"{arguments} at {size}: not finite")
        keeps = subject.card.contract in ("feature", "tokens") and subject.card.plug_in
        require(not keeps or outputs[0].shape == inputs[0].shape, f"{arguments} at {size}: another shape comes out")

    draw()
    require(runs > 0, f"no draw was legal, not even near {fallback}")


@check("invalid-arguments")
def invalid_arguments(subject: Subject, profile: Profile) -> None:
    """Is every illegal argument refused with an AttnzooError or TypeError that names it?"""
    arguments = examples.arguments(subject.name, size=subject.size)
    cases = [
        (name, wrong, strict)
        for name, kind in _kinds(subject.name).items()
        for wrong, strict in _illegal(kind)
        if name in registry.signature(subject.name).parameters
    ]
    for name, wrong, strict in cases:
        try:
            module = registry.create(subject.name, **{**arguments, name: wrong}).eval()
            module(*subject.inputs())
        except (AttnzooError, TypeError) as error:
            require(name in str(error), f"{name}={wrong!r} is refused without being named: {error}")
        except Exception as error:
            raise Failure(f"{name}={wrong!r}: {type(error).__name__}: {error}") from error
        else:
            require(not strict, f"{name}={wrong!r} is taken")


def _kinds(name: str) -> dict[str, Any]:
    kinds = get_type_hints(inspect.unwrap(registry.constructor(name)))
    return {key: kinds[key] for key in registry.signature(name).parameters if key in kinds}


def _legal(module: str, name: str, kind: Any) -> Sequence[Any]:
    """Values to draw for an argument; none where only its default is known to be legal."""
    if kind is bool:
        return (False, True)
    if kind is int or (_optional(kind) and int in get_args(kind)):
        return next(values for word, values in _INTEGERS.items() if word in name)
    if kind is float:
        return (0.05, 0.1, 0.5)
    return _named_options(module, name) if kind is str else ()


def _named_options(module: str, name: str) -> Sequence[str]:
    """The options of a string argument, as its own error names them."""
    try:
        registry.create(module, **{**examples.arguments(module), name: "no such option"})
    except AttnzooError as error:
        found = re.search(r"use one of (.*)\.$", str(error))
        return found.group(1).split(", ") if found else ()
    return ()


def _illegal(kind: Any) -> list[tuple[Any, bool]]:
    """Wrong values, each with whether it must be refused; those that may be legal must run if they are taken."""
    if _optional(kind):
        members = [case for one in get_args(kind) for case in _illegal(one)]
        return [(wrong, strict) for wrong, strict in members if not strict or not fits(wrong, kind)]
    if kind is int:
        return [
            (2.5, True),
            ("7", True),
            ([1], True),
            (None, True),
            (True, True),
            (-3, True),
            (0, False),
        ]
    if kind is float:
        nothing = [(wrong, True) for wrong in ("x", None, True, float("nan"), float("inf"))]
        return [*nothing, *((number, False) for number in (-1.0, 0.0, -1, 0, 1, 7))]
    if kind is bool:
        return [("yes", True), (2, True), (None, True)]
    if kind is str:
        return [("no such option", True), (5, True), (None, True)]
    if get_origin(kind) is Sequence:
        return [((), True), ("x", True), (5, True), ((None,), True)]
    if get_origin(kind) is Callable:
        return [(5, True), ("relu", True)]
    return []


def _optional(kind: Any) -> bool:
    return isinstance(kind, UnionType) or get_origin(kind) is Union
