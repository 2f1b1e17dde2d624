"""Choosing submodules by their names."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from attnzoo.errors import AttnzooError

At = str | Sequence[str] | Callable[[str, nn.Module], bool]


def match(named: Mapping[str, nn.Module], at: At, argument: str, offer: Sequence[str]) -> list[str]:
    """The names that match, in the order of `named`.

    Args:
        named: the submodules by their dotted names.
        at: a glob (`*` stays within one part of the name, `**` crosses dots), a list of globs, or a predicate of
            name and submodule.
        argument: what the caller calls `at`.
        offer: the names that an error tells of.

    Raises:
        AttnzooError: a glob or the predicate matches nothing, or it is neither.
    """
    if callable(at):
        found = [path for path, module in named.items() if at(path, module)]
        if not found:
            raise AttnzooError(f"the predicate matches no submodule. {_offer(offer)}")
        return found
    patterns = [at] if isinstance(at, str) else at
    if not isinstance(patterns, list | tuple) or not all(isinstance(pattern, str) for pattern in patterns):
        raise AttnzooError(f"{argument}={at!r} is no glob, list of globs or predicate of name and submodule.")
    matched: set[str] = set()
    for pattern in patterns:
        hits = {path for path in named if _matches(pattern.split("."), path.split("."))}
        if not hits:
            raise AttnzooError(f"{argument}={pattern!r} matches no submodule. {_offer(offer, pattern)}")
        matched |= hits
    if not matched:
        raise AttnzooError(f"{argument}={at!r} names no submodule. {_offer(offer)}")
    return [path for path in named if path in matched]


def _matches(pattern: list[str], path: list[str]) -> bool:
    """Part by part; '**' stands for any number of parts, at the end for at least one."""
    if not pattern or not path:
        return pattern == path
    if pattern[0] == "**":
        return pattern == ["**"] or _matches(pattern[1:], path) or _matches(pattern, path[1:])
    return fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])


def _offer(usable: Sequence[str], wanted: str = "") -> str:
    """What would match: the names with their numbers starred, those nearest to the wanted one first."""
    globs = list(dict.fromkeys(re.sub(r"\d+(?=\.|$)", "*", path) for path in usable))
    starred = re.sub(r"\d+(?=\.|$)", "*", wanted)
    globs.sort(key=lambda glob: -difflib.SequenceMatcher(None, glob, starred).ratio())
    more = f" and {len(globs) - 12} more" if len(globs) > 12 else ""
    return f"These would: {', '.join(globs[:12])}{more}."
