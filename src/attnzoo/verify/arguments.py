"""Do all legal arguments run, and is every illegal one refused by name?"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

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
    "padding": (0, 1, 2, 3),
    "": (1, 2, 3, 4, 5, 8, 16),
}
_NO_OPTION: dict[type, str | int] = {str: "no such option", int: 11}  # what no list of options holds
Options: TypeAlias = Mapping[str, Sequence[Any]]


@check("valid-arguments")
def valid_arguments(subject: Subject, profile: Profile) -> None:
    """Do legal arguments and sizes run, each argument at another value than its default? (quick: 5 draws; full: 200)"""
    options = _options(subject)
    for name in options:
        others = _others(subject.name, options, name)
        require(
            not others or _one_runs(subject, options, others),
            f"no {name} but its default runs, not one of {options[name]}",
        )
    _drawn_together(subject, options, draws=5 if profile == "quick" else 200)


def _one_runs(subject: Subject, options: Options, others: list[dict[str, Any]]) -> bool:
    """Whether each of these arguments runs or is refused, and one runs: on its own, or with one more at any value."""
    even = examples.fitting(subject.name, (8, 12))  # a stride may have to divide the size
    alone = [_runs(subject, one, size=size) for one in others for size in (subject.size, even)]
    return any(alone) or any(
        _runs(subject, one | {name: value})
        for one in others
        for name, values in options.items()
        if name not in one
        for value in values
    )


def _drawn_together(subject: Subject, options: Options, draws: int) -> None:
    """Draw the size, the channels and up to two arguments, of which most must run."""
    from hypothesis import HealthCheck, assume, given, settings
    from hypothesis import strategies as st

    taken = [channels for channels in _INTEGERS["channels"] if _runs(subject, {}, channels=channels)]
    count = Counter[bool]()

    @settings(
        max_examples=draws,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: Any) -> None:
        size = examples.fitting(subject.name, data.draw(st.tuples(st.integers(1, 14), st.integers(1, 14)), "size"))
        channels = data.draw(st.sampled_from(taken), "channels")
        batch = data.draw(st.integers(2, 4), "batch")
        names = data.draw(st.lists(st.sampled_from(sorted(options)), max_size=2, unique=True), "set") if options else []
        chosen = {name: data.draw(st.sampled_from(options[name]), name) for name in names}
        ran = _runs(subject, chosen, batch, channels, size)
        count[ran] += 1
        assume(ran)

    draw()
    require(count[True] > count[False], f"{count[False]} of {count.total()} draws are refused")


def _runs(
    subject: Subject,
    chosen: dict[str, Any],
    batch: int = 2,
    channels: int = 64,
    size: tuple[int, int] | None = None,
) -> bool:
    """Whether a module of these arguments runs as its contract says, or is refused clearly."""
    size = size or subject.size
    arguments = examples.arguments(subject.name, channels, size) | chosen
    torch.manual_seed(0)
    try:
        module = registry.create(subject.name, **arguments).eval()
        inputs = examples.inputs(subject.name, batch, channels, size)
        outputs = outputs_of(module(*inputs))
    except AttnzooError:
        return False
    except Exception as error:
        raise Failure(f"{arguments} at {size}: {type(error).__name__}: {error}") from error
    require(finite(outputs), f"{arguments} at {size}: not finite")
    keeps = subject.card.contract in ("feature", "tokens") and subject.card.plug_in
    require(not keeps or outputs[0].shape == inputs[0].shape, f"{arguments} at {size}: another shape comes out")
    return True


def _options(subject: Subject) -> Options:
    """The arguments that may be drawn, but those that the inputs settle, and their values."""
    kinds = _kinds(subject.name)
    optional = {
        name: _legal(subject, name, kinds.get(name))
        for name, parameter in registry.signature(subject.name).parameters.items()
        if parameter.default is not parameter.empty
        and name not in ("channels", "in_channels", "height", "width", *subject.card.settled)
    }
    return {name: values for name, values in optional.items() if values}


def _others(module: str, options: Options, name: str) -> list[dict[str, Any]]:
    """The argument of this name at each of its values but the default."""
    default = registry.signature(module).parameters[name].default
    return [{name: value} for value in options[name] if value != default]


@check("invalid-arguments")
def invalid_arguments(subject: Subject, profile: Profile) -> None:
    """Is every illegal argument refused with an AttnzooError or TypeError that names it?"""
    arguments = examples.arguments(subject.name, size=subject.size)
    illegal = {name: _illegal(kind) for name, kind in _kinds(subject.name).items()}
    untried = [name for name in registry.signature(subject.name).parameters if not illegal.get(name)]
    require(not untried, f"nothing illegal is known for {', '.join(untried)}; declare a type of the known ones")
    cases = [(name, wrong, strict) for name, values in illegal.items() for wrong, strict in values]
    for name, wrong, strict in cases:
        try:
            module = registry.create(subject.name, **{**arguments, name: wrong}).eval()
            module(*subject.inputs())
        except (AttnzooError, TypeError) as error:
            named = re.search(rf"\b{name}\b", str(error).removeprefix(subject.name))
            require(bool(named), f"{name}={wrong!r} is refused without being named: {error}")
        except Exception as error:
            raise Failure(f"{name}={wrong!r}: {type(error).__name__}: {error}") from error
        else:
            require(not strict, f"{name}={wrong!r} is taken")


def _kinds(name: str) -> dict[str, Any]:
    kinds = get_type_hints(inspect.unwrap(registry.constructor(name)))
    return {key: kinds[key] for key in registry.signature(name).parameters if key in kinds}


def _legal(subject: Subject, name: str, kind: Any) -> Sequence[Any]:
    """Values to draw for an argument; none where only its default is known to be legal."""
    kinds = get_args(kind) if _optional(kind) else (kind,)
    if bool in kinds:
        return (False, True)
    if "spatial_size" in name:
        return (subject.size,)
    if int in kinds:
        named = [int(option) for option in _named_options(subject.name, name, _NO_OPTION[int])]
        return named or next(values for word, values in _INTEGERS.items() if word in name)
    if float in kinds:
        return (0.05, 0.1, 0.5, 1, 2.0)
    return _named_options(subject.name, name, _NO_OPTION[str]) if str in kinds else ()


def _named_options(module: str, name: str, wrong: str | int) -> Sequence[str]:
    """The options of an argument, as the error about a wrong one names them."""
    try:
        registry.create(module, **{**examples.arguments(module), name: wrong})
    except (AttnzooError, TypeError) as error:
        found = re.search(rf"\b{name}=.*use one of (.*)\.$", str(error))
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
    if get_origin(kind) in (Sequence, list, tuple):
        items = [((wrong,), strict) for wrong, strict in _illegal(get_args(kind)[0])]
        return [((), True), ("x", True), (5, True), *items]
    if get_origin(kind) is Literal:
        return [("no such option", True), (-3, True), (True, True), (None, True)]
    if get_origin(kind) is Callable:
        return [(5, True), ("relu", True)]
    if isinstance(kind, type) and kind not in (type(None), Any):
        return [(5, True), (object(), True)]
    return []


def _optional(kind: Any) -> bool:
    return isinstance(kind, UnionType) or get_origin(kind) is Union
