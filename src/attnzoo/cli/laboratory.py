"""Commands of the laboratory: compare, recipe, report, explain."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from attnzoo.cli.app import app, complain
from attnzoo.cli.flags import TRAINING, recipe_flags

_IMAGES: Final = "Images"
_PLACE: Final = "Where it runs"


@app.command()
@recipe_flags
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Modules, with arguments as in 'se(reduction=8)'; all for those that plug in. Plain backbones run "
            "beside them."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the study; run again to continue or extend it.")],
    backbone: Annotated[
        str, typer.Option(help="Ours, timm's, or torchvision:NAME; several with commas between them.")
    ] = "resnet20",
    at: Annotated[
        str,
        typer.Option(
            help="block, stage, last, expansion, or a glob: layer*.*.bn3; several with commas. What stands in for "
            "convolutions takes the place of all above 1 x 1 but the first at block."
        ),
    ] = "block",
    seeds: Annotated[int, typer.Option(help="Trials per variant.")] = 2,
    skip_unfit: Annotated[bool, typer.Option("--skip-unfit", help="Leave out modules that do not fit.")] = False,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also plain networks widened to each module's parameters and latency.")
    ] = False,
    from_trained: Annotated[
        bool, typer.Option("--from-trained", help="Also put each module into a trained plain network and go on.")
    ] = False,
    trained_epochs: Annotated[
        int | None, typer.Option(help="How many of the epochs come before that; half by default.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="digits, cifar10, cifar100, or with a folder cifar10:DIR, cifar100:DIR, parquet:DIR, folder:DIR.",
            rich_help_panel=_IMAGES,
        ),
    ] = "digits",
    limit_train: Annotated[
        int | None, typer.Option(help="Train on so many images, balanced.", rich_help_panel=_IMAGES)
    ] = None,
    limit_test: Annotated[
        int | None, typer.Option(help="Test on so many images, balanced.", rich_help_panel=_IMAGES)
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Resize the images of folders and Parquet files.", rich_help_panel=_IMAGES)
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out broken images, and say so.", rich_help_panel=_IMAGES)
    ] = False,
    recipe: Annotated[
        str,
        typer.Option(help="demo, classic, fast, or a file NAME.toml; see attnzoo recipe.", rich_help_panel=TRAINING),
    ] = "demo",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.", rich_help_panel=_PLACE)] = "cpu",
    devices: Annotated[int, typer.Option(help="So many for each trial.", rich_help_panel=_PLACE)] = 1,
    precision: Annotated[
        str, typer.Option(help="auto, 32-true, bf16-mixed, 16-mixed.", rich_help_panel=_PLACE)
    ] = "auto",
    compile_: Annotated[
        bool, typer.Option("--compile", help="Run networks through torch.compile.", rich_help_panel=_PLACE)
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard files, too.", rich_help_panel=_PLACE)
    ] = False,
    engine: Annotated[str, typer.Option(help="serial, or ray for trials at once.", rich_help_panel=_PLACE)] = "serial",
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster; none starts one here.", rich_help_panel=_PLACE)
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at once on Ray.", rich_help_panel=_PLACE)] = None,
    *,
    changed: Mapping[str, Any],
) -> None:
    """Train backbones with and without modules, fairly, and report the differences.

    The exit status is 1 where a trial failed; the others are reported all the same. It is 2 where there is nothing to
    report.
    """
    from attnzoo.lab import console, recipes, report, sweep
    from attnzoo.lab.train import Run

    with console.Progress() as observer:
        study = sweep.compare(
            names,
            out=out,
            backbone=backbone,
            data=data,
            at=at,
            recipe=recipes.changed(recipes.find(recipe), changed),
            seeds=seeds,
            limit_train=limit_train,
            limit_test=limit_test,
            image_size=image_size,
            skip_broken=skip_broken,
            skip_unfit=skip_unfit,
            controls=controls,
            from_trained=from_trained,
            trained_epochs=trained_epochs,
            run=Run(device, devices, precision, compile_, tensorboard),
            engine=engine,
            address=address,
            workers=workers,
            observer=observer,
        )
    console.show(study, report.write(study, out))
    if study.failed:
        raise typer.Exit(1)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="demo, classic, fast, or a file NAME.toml.")],
) -> None:
    """Print a recipe as TOML: save it, change it, and give the file to compare --recipe."""
    from attnzoo.lab import recipes

    sys.stdout.write(recipes.text(recipes.find(name)))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that compare wrote, any number.")],
    out: Annotated[Path, typer.Option(help="The folder for leaderboard.html, .json, .csv, .md and .tex.")],
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out folders without readable results, and say so.")
    ] = False,
) -> None:
    """Merge studies into one leaderboard: HTML, JSON, CSV, Markdown, LaTeX."""
    from attnzoo.lab import console
    from attnzoo.lab.report import leaderboard

    console.show_leaderboard(leaderboard(folders, out, skip_broken=skip_broken))


@app.command()
def explain(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    checkpoint: Annotated[Path, typer.Option(help="A study's models/*.safetensors, or the folder of a study.")],
    out: Annotated[Path, typer.Option(help="The figure: .png, .svg or .pdf.")] = Path("explain.png"),
    module: Annotated[str | None, typer.Option(help="Which module, of a folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed, of a folder.")] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(help="x,y in pixels of the images: draw what this place attends to; may be repeated."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class that Grad-CAM explains; else the predicted one.")] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option(help="Submodules that end a stage, as globs; else the last features of each resolution."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every module, not only the last of each stage.")] = False,
    heads: Annotated[bool, typer.Option("--heads", help="Each head of an affinity, not their mean.")] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also maps of the parts of modules with a whole one.")] = False,
    cam: Annotated[bool, typer.Option(help="Draw Grad-CAM and Grad-CAM++.")] = True,
    cam_stages: Annotated[
        bool, typer.Option("--cam-stages", help="Grad-CAM at every stage, not the last only.")
    ] = False,
) -> None:
    """Draw what the attention modules of a trained network see in images, and Grad-CAM with and without them."""
    from attnzoo.lab.explain.files import draw
    from attnzoo.lab.explain.pictures import parse_point

    drawn = draw(
        checkpoint,
        images,
        out=out,
        module=module,
        seed=seed,
        points=[parse_point(text) for text in point or []],
        target=target,
        stages=stages or "stage",
        every=every,
        heads=heads,
        parts=parts,
        cam=cam,
        cam_stages=cam_stages,
    )
    Console(highlight=False).print(f"figure: {drawn.out}", soft_wrap=True, markup=False)
    for reason in drawn.left_out:
        complain(f"left out: {reason}")
    if drawn.left_out:
        raise typer.Exit(1)
