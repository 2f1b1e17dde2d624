"""Commands about modules and networks: list, info, cost, verify."""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import nn

from attnzoo import examples, registry, terminal
from attnzoo.checks import nearest
from attnzoo.cli.app import AsJson, app, print_json
from attnzoo.errors import AttnzooError
from attnzoo.lab.cost import cost as measure


@app.command("list")
def list_(
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the modules."""
    cards = [registry.card(name) for name in registry.names(family)]
    if as_json:
        print_json([dataclasses.asdict(card) for card in cards])
    else:
        Console().print(terminal.modules_table(cards))


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A module, see attnzoo list.")],
    as_json: AsJson = False,
) -> None:
    """Show a module's card, usage, arguments and, but for losses, cost at 56 x 56."""
    if not as_json:
        Console(highlight=False).print(terminal.card_page(name), crop=False)
        return
    card, arguments, shapes = registry.card(name), examples.arguments(name), examples.input_shapes(name)
    page: dict[str, Any] = {
        "card": dataclasses.asdict(card),
        "usage": terminal.usage(name),
        "arguments": [
            {"name": key, "required": value.default is value.empty, "default": _default(value)}
            for key, value in registry.signature(name).parameters.items()
        ],
        "documentation": inspect.cleandoc(registry.docstring(name)),
    }
    if card.contract != "loss":
        measured = measure(registry.create(name, **arguments), shapes)
        page["cost"] = {"arguments": arguments, "inputs": shapes, **dataclasses.asdict(measured)}
    print_json(page)


@app.command()
def cost(
    name: Annotated[
        str,
        typer.Argument(help="A module, or a network: ours, a timm model, torchvision:NAME."),
    ],
    size: Annotated[str | None, typer.Option("--input", help="One example, such as 3x224x224.")] = None,
    latency: Annotated[bool, typer.Option(help="Also time the forward pass, on the CPU at batch 1.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count parameters, multiply-adds and activation memory of a module or a backbone."""
    given = _sizes(size)
    shapes: tuple[tuple[int, ...], ...] = (given or (3, 224, 224),)
    if name in registry.names():
        model, shapes = _module(name, given)
    else:
        model = _backbone(name, shapes[0][0])
    result = measure(model, shapes, latency=latency)
    if as_json:
        print_json({"name": name, "inputs": shapes, **dataclasses.asdict(result)})
    else:
        Console().print(f"[bold]{name}[/] at {terminal.times(shapes)}, one example", highlight=False)
        Console().print(terminal.cost_table(result))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Modules; none means all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Draw 200 arguments and compile with Inductor.")] = False,
    check: Annotated[list[str] | None, typer.Option(help="Run only this check; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes to share the modules among.")] = 1,
    file: Annotated[
        Path | None,
        typer.Option("--json", help="Also write the cells to this file, beside others in it if only some are run."),
    ] = None,
) -> None:
    """Run the deployment matrix: every module through every gate."""
    from attnzoo.lab.files import write_atomically
    from attnzoo.verify import Cell, Matrix, Profile, as_json, read
    from attnzoo.verify import verify as run_checks

    for name in names or []:
        registry.card(name)
    before = read(file) if file is not None and file.exists() else None  # a foreign file is not written over
    profile: Profile = "full" if full else "quick"
    console = Console(highlight=False)
    console.print(terminal.matrix_head())
    rows: dict[str, tuple[Cell, ...]] = {}

    def told(name: str, cells: tuple[Cell, ...]) -> None:
        console.print(terminal.matrix_row(name, cells))
        rows[name] = cells
        if file is not None:
            page = as_json(Matrix(rows, profile), before)  # by now, as the rest may take hours
            write_atomically(file, json.dumps(page, indent=1, ensure_ascii=False) + "\n")

    matrix = run_checks(*(names or []), profile=profile, only=check or [], jobs=jobs, told=told)
    console.print(terminal.matrix_foot(matrix))
    if matrix.failures:
        raise typer.Exit(1)


def _default(parameter: inspect.Parameter) -> Any:
    return None if parameter.default is parameter.empty else terminal.default(parameter.default)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", text):
        raise AttnzooError(f"--input={text!r} is no shape; write it as 3x224x224, or 196x64 for tokens.")
    return tuple(int(part) for part in text.split("x"))


def _module(name: str, given: tuple[int, ...] | None) -> tuple[nn.Module, tuple[tuple[int, ...], ...]]:
    """A module for an input of the given shape, and the shapes of all its inputs."""
    contract = registry.card(name).contract
    if contract == "loss":
        raise AttnzooError(f"{name}: is a loss, no part of a model whose cost would be counted.")
    places = 1 if contract == "tokens" else 2
    if given is None:
        given = (64, 56, 56) if places == 2 else (3136, 64)
    if len(given) != places + 1:
        wanted = "(N, C), such as 196x64" if places == 1 else "(C, H, W), such as 64x56x56"
        raise AttnzooError(f"--input: {name} takes {wanted}, got {given}.")
    channels, size = (given[1], (given[0], 1)) if places == 1 else (given[0], given[1:])
    return registry.create(name, **examples.arguments(name, channels, size)), examples.input_shapes(
        name, channels, size
    )


def _backbone(name: str, in_channels: int) -> Any:
    from attnzoo.lab.backbones import build

    try:
        return build(name, num_classes=None, in_channels=in_channels)
    except AttnzooError as error:
        raise AttnzooError(f"{name!r} is no module{nearest(name, registry.names())} As a backbone: {error}") from error
