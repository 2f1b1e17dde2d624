"""Plans: what was inserted, replaced and folded in a model, as plain data."""

from typing import Any, Final, TypedDict

from torch import nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.surgery.arguments import unstorable
from attnzoo.surgery.chain import Link
from attnzoo.surgery.history import DROP_NORM, FOLD, REPLACE, TAKE_NORM, history
from attnzoo.surgery.plug import CHILD, Plug

VERSION: Final = 1
INSERT: Final = "insert"  # a module is plugged in
_WHERE: Final[dict[str, type]] = {"path": str, "kind": str}
_MADE: Final[dict[str, type]] = {"name": str, "arguments": dict}
_PLUG: Final[dict[str, type]] = {"identity": bool, "layout": str}
_LINK: Final[dict[str, type]] = {"chain": int, "first": bool, "last": bool, "shared": bool}
_FORMS: Final[dict[str, tuple[dict[str, type], ...]]] = {  # what the steps of a kind hold
    INSERT: (
        {**_WHERE, **_MADE, **_PLUG},
        {**_WHERE, **_MADE, **_PLUG, **_LINK},
    ),
    REPLACE: ({**_WHERE, **_MADE},),
    FOLD: (_WHERE,),
    TAKE_NORM: (_WHERE,),
    DROP_NORM: (_WHERE,),
}


class Plan(TypedDict):
    """What was done to a model: the version of this form, and steps {'path', 'kind', ...} in an order to redo them."""

    version: int
    steps: list[dict[str, Any]]


def plan(model: nn.Module) -> Plan:
    """What was inserted, replaced and folded in a model, as plain data that JSON takes.

    It is read off the model's own parts: copies and pickles have it too, and so does a model that holds this one.
    The kinds of steps are 'insert' (after the submodule at the path), 'replace', 'fold' (a module of the library
    took its form for inference), 'take_norm' (a convolution took in its BatchNorm) and 'drop_norm' (that BatchNorm
    went). Steps that put in a module give its 'name' and 'arguments'. Which parameters are frozen is no part of it.

    Raises:
        AttnzooError: an argument of a module is no plain data, no class of torch.nn and none of the registry.
    """
    steps: list[dict[str, Any]] = []
    chains: dict[int, Link] = {}
    for path, module in model.named_modules():
        steps += [{"path": path, **step} for step in _up_to_date(module)]
        plug = getattr(module, CHILD, None)
        if isinstance(plug, Plug):
            steps.append({"path": path, "kind": INSERT, **_described(plug, chains)})
    for step in steps:
        odd = unstorable(step)
        if odd is not None:
            raise AttnzooError(
                f"plan: {step['name']} at {step['path']} was built with {odd}, which a file cannot hold. Give a "
                "class of torch.nn or of the registry, also as functools.partial with named arguments."
            )
    return {"version": VERSION, "steps": steps}


def steps_of(data: Any) -> list[dict[str, Any]]:
    """The steps of a plan that came from somewhere, after a look at its form.

    Raises:
        AttnzooError: it is no plan of this version.
    """
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        raise AttnzooError("expected a plan {'version': ..., 'steps': [...]}")
    if type(data.get("version")) is not int or data["version"] != VERSION:
        raise AttnzooError(
            f"its plan has the version {data.get('version')!r}, but this attnzoo knows {VERSION}; "
            "use the version of attnzoo that saved it"
        )
    for number, step in enumerate(data["steps"]):
        kind = step.get("kind") if isinstance(step, dict) else None
        forms = _FORMS.get(kind, ()) if isinstance(kind, str) else ()
        if not forms:
            raise AttnzooError(f"step {number} of its plan is none of {', '.join(_FORMS)}")
        if {key: type(value) for key, value in step.items()} not in forms:
            wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in forms[-1].items())
            raise AttnzooError(f"step {number} of its plan does not hold what {kind!r} needs: {wanted}")
    return data["steps"]


def _described(plug: Plug, chains: dict[int, Link]) -> dict[str, Any]:
    """A plug in words; `chains` holds the first link met of each chain, by its memory."""
    facts = {
        "name": plug.name,
        "arguments": plug.arguments,
        "identity": plug.alpha is not None,
        "layout": plug.layout,
    }
    if not isinstance(plug, Link):
        return facts
    head = chains.setdefault(id(plug.memory), plug)
    number = list(chains).index(id(plug.memory))
    shared = head is not plug and head.module is plug.module
    return {**facts, "chain": number, "first": plug.first, "last": plug.last, "shared": shared}


def _up_to_date(module: nn.Module) -> list[dict[str, Any]]:
    """The history of a module, with its temperature as it is now: a schedule may have changed it."""
    steps = [dict(step) for step in history(module)]
    temperature = getattr(module, "temperature", None)
    for step in steps:
        annealed = step["kind"] == REPLACE and "temperature" in registry.signature(step["name"]).parameters
        if annealed and isinstance(temperature, float | int):
            step["arguments"] = {**step["arguments"], "temperature": temperature}
    return steps
