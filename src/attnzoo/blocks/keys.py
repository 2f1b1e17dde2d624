"""Names of published parameters, for modules made of modules."""

from collections.abc import Mapping


def nested_keys(theirs: str, ours: str, keys: Mapping[str, str]) -> dict[str, str]:
    """The `reference_keys` of a part, behind the name that the whole gives it.

    Args:
        theirs: the authors' name of the part, a regular expression.
        ours: our name of it, which may refer to groups of theirs.
        keys: the `reference_keys` of the part, without groups if theirs has some.
    """
    inner = {rf"{theirs}\.{key}": f"{ours}.{value}" for key, value in keys.items()}
    return {**inner, theirs: ours}
