"""The types that arguments are declared with, and words near a wrong one."""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attnzoo.errors import AttnzooError


def check_types(module: str, make: type) -> None:
    """Let the constructor of a class raise AttnzooError for an argument of another type than it declares.

    Known are int, float, bool, str, callables, sequences of these, and None where it is among the types.
    """
    construct = make.__init__  # type: ignore[misc]
    signature, types = inspect.signature(construct), get_type_hints(construct)

    @functools.wraps(construct)
    def checked(*args: Any, **named: Any) -> None:
        for name, value in signature.bind(*args, **named).arguments.items():
            if name in types and not fits(value, types[name]):
                raise AttnzooError(f"{module}: {name}={value!r} is not {_in_words(types[name])}.")
        construct(*args, **named)

    make.__init__ = checked  # type: ignore[misc]


def argument_types(module: str, make: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Raise AttnzooError for an argument of another type than the function that takes it declares."""
    types = get_type_hints(make)
    for name, value in arguments.items():
        if name in types and not fits(value, types[name]):
            raise AttnzooError(f"{module}: {name}={value!r} is not {_in_words(types[name])}.")


def nearest(word: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: '; did you mean a, b?', or a full stop where none is near."""
    near = difflib.get_close_matches(str(word).lower(), list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else "."


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type that an argument declares; True where the type is none of those we know."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return any(fits(value, one) for one in get_args(kind))
    if kind is int or kind is float:
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    if get_origin(kind) is Literal:
        return any(type(value) is type(option) and value == option for option in get_args(kind))
    if get_origin(kind) in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(fits(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is Callable:
        return callable(value)
    if kind is None or isinstance(kind, type):
        return isinstance(value, kind or type(None))
    return True


def _in_words(kind: Any) -> str:
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " or ".join(_in_words(one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if get_origin(kind) in (Sequence, list, tuple):
        return f"a list or tuple, each item {_in_words(get_args(kind)[0])}"
    if get_origin(kind) is Callable:
        return "a callable such as a class"
    words = {int: "an integer", float: "a finite number", bool: "True or False", str: "a string", type(None): "None"}
    return words.get(kind, str(kind))
