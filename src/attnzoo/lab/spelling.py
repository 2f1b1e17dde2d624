"""A module as it is written in a comparison: its name, or a call with arguments, as in 'se(reduction=8)'."""

import ast
from typing import Any, Final

from attnzoo.errors import AttnzooError

_FORMS: Final = (ast.Tuple, ast.List, ast.UnaryOp, ast.unaryop, ast.expr_context)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name, and the arguments given with it.

    Args:
        text: 'se', or 'se(reduction=8)': names with numbers, strings, booleans, None, or tuples and lists of them.

    Raises:
        AttnzooError: it is neither.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("it is no name, or it has arguments without names")
        arguments = {_named(keyword): _value(keyword.value) for keyword in call.keywords}
        if len(arguments) < len(call.keywords):
            raise ValueError("an argument stands there twice")
        return call.func.id, arguments
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise AttnzooError(
            f"{text!r}: expected a module's name, or one with arguments such as 'se(reduction=8)' ({error})."
        ) from error


def spelled(text: str) -> str:
    """The same, always in the same way: arguments in the order of their names.

    Raises:
        AttnzooError: as `parse`.
    """
    name, arguments = parse(text)
    given = ", ".join(f"{key}={value!r}" for key, value in sorted(arguments.items()))
    return f"{name}({given})" if given else name


def _named(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** has no place here")
    return keyword.arg


def _value(node: ast.expr) -> Any:
    if not all(isinstance(part, _FORMS) or _plain(part) for part in ast.walk(node)):
        raise ValueError("a value is a number, string, boolean, None, or a tuple or list of them")
    return ast.literal_eval(node)


def _plain(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and (part.value is None or isinstance(part.value, (int, float, str)))
