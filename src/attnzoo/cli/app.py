"""What all commands share: the application, and how it prints and complains."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

import attnzoo

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Attention and plug-and-play modules for computer vision: list, explain, cost, compare.",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def complain(message: str) -> None:
    """Print an error or a warning, on one line but for what it lists."""
    lines = [" ".join(line.split()) for line in message.split("\n  ")]  # what is listed has lines of its own
    sys.stderr.write("attnzoo: " + "\n  ".join(lines) + "\n")


def complain_of_warnings() -> None:
    """Print warnings of ours as complaints, not as Python does with the line of code; others as ever."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *where: Any) -> None:
        if Path(filename).is_relative_to(Path(attnzoo.__file__).parent):
            complain(str(message))
        else:
            others(message, category, filename, *where)

    warnings.showwarning = show  # type: ignore[assignment]


def print_json(value: Any) -> None:
    """Print what a program reads."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
