"""What all commands share: the application, and how it prints and complains."""

import json
import sys
from typing import Annotated, Any

import typer

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


def print_json(value: Any) -> None:
    """Print what a program reads."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
