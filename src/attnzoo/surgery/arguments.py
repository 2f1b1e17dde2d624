"""Arguments of modules as plain data that JSON holds, and back."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError

_TORCH: Final = "torch.nn"  # {'torch.nn': 'ReLU'}: a class of torch
_OURS: Final = "attnzoo"  # {'attnzoo': 'h_swish'}: a class of the registry
_GIVEN: Final = "arguments"  # beside either: what functools.partial adds to it
_OTHER: Final = "unknown"  # {'unknown': 'what it looked like'}: not to be had again


def encoded(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as plain data; what no plain data stands for becomes {'unknown': its appearance}."""
    return {name: _encoded(value) for name, value in arguments.items()}


def decoded(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `encoded` was given, lists as tuples.

    Raises:
        AttnzooError: data that `encoded` never gives, or that stands for something unknown.
    """
    return {name: _decoded(name, value) for name, value in data.items()}


def unstorable(data: Any) -> str | None:
    """The appearance of the first argument in encoded data that no plain data stands for."""
    if isinstance(data, dict):
        return data[_OTHER] if _OTHER in data else unstorable(list(data.values()))
    found = (unstorable(item) for item in data) if isinstance(data, list) else ()
    return next((what for what in found if what is not None), None)


def _encoded(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, functools.partial) and not value.args:
        made = _encoded(value.func)
        return made if _OTHER in made or not value.keywords else {**made, _GIVEN: encoded(value.keywords)}
    called = getattr(value, "__name__", "")
    if vars(nn).get(called) is value:
        return {_TORCH: called}
    ours = [name for name in registry.names() if registry.module_class(name) is value]
    return {_OURS: ours[0]} if ours else {_OTHER: repr(value)}


def _decoded(name: str, data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_decoded(name, item) for item in data)
    if not isinstance(data, dict):
        return data
    make: Any = None
    if data.keys() <= {_TORCH, _GIVEN} and isinstance(data.get(_TORCH), str):
        make = vars(nn).get(data[_TORCH])
    elif data.keys() <= {_OURS, _GIVEN} and data.get(_OURS) in registry.names():
        make = registry.module_class(data[_OURS])
    given = data.get(_GIVEN, {})
    if not (isinstance(make, type) and issubclass(make, nn.Module) and isinstance(given, dict)):
        raise AttnzooError(f"the argument {name}={data!r} stands for no class of torch.nn or of the registry")
    return functools.partial(make, **decoded(given)) if given else make
