"""What a check is, and the list of all of them, in the order of the matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from attnzoo.registry import Card
from attnzoo.verify.subject import Subject

Profile = Literal["quick", "full"]


class Failure(Exception):
    """A check found something wrong: one sentence."""


@dataclass(frozen=True)
class Check:
    """One column of the matrix.

    Attributes:
        name: also the key under which a card says that it is not applicable, and why.
        group: the question it belongs to, mostly the file it stands in.
        question: what it asks, a line.
        run: raises `Failure`, or whatever the module raised, if the answer is no.
        among: the name, if any, under which a card gives one reason for this check and its like.
    """

    name: str
    group: str
    question: str
    run: Callable[[Subject, Profile], None]
    among: str | None = None

    def excuse(self, card: Card) -> str | None:
        """Why it is not applicable to the module of a card, or None."""
        return card.not_applicable.get(self.name) or card.not_applicable.get(self.among or self.name)


CHECKS: dict[str, Check] = {}  # filled by the files of the groups
GROUPS: Final = ("faithful", "shapes", "numbers", "graphs", "life", "arguments")


def check(
    name: str, group: str | None = None, among: str | None = None
) -> Callable[[Callable[[Subject, Profile], None]], Callable[[Subject, Profile], None]]:
    """Enter the decorated function into the matrix; its docstring's first line is the question.

    The group is the function's file unless given; `among` as in `Check`.
    """

    def enter(run: Callable[[Subject, Profile], None]) -> Callable[[Subject, Profile], None]:
        of = group or run.__module__.rsplit(".", 1)[-1]
        CHECKS[name] = Check(name, of, (run.__doc__ or "").splitlines()[0], run, among)
        in_order = sorted(CHECKS.values(), key=lambda one: GROUPS.index(one.group))
        CHECKS.clear()
        CHECKS.update({one.name: one for one in in_order})
        return run

    return enter


def require(holds: bool, otherwise: str) -> None:
    """Raise Failure with that sentence unless it holds."""
    if not holds:
        raise Failure(otherwise)
