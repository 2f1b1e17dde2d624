"""The charts of training: curves over the epochs, and what each seed reached."""

from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attnzoo.lab.report.canvas import MUTED, STYLE, Canvas
from attnzoo.lab.report.emphasis import PLAIN_MARK, marks, shape
from attnzoo.lab.report.scatter import REST, SEED
from attnzoo.lab.study import Study, base, opposite
from attnzoo.lab.trial import PLAIN, Epoch, Variant


@rc_context(STYLE)
def curves(study: Study, what: str, label: str, value: Callable[[Epoch], float], loss: bool = False) -> str:
    """A figure of every epoch: the mean over seeds, and of emphasised variants the band from least to greatest.

    What starts from a trained network starts after that network's epochs.

    Args:
        study: the comparison.
        what: a word that names the chart, for its ids.
        label: of the axis, with the unit.
        value: of an epoch.
        loss: whether it is one: its axis is logarithmic where the values span more than a decade. Of accuracies the
            axis begins where they stand after a quarter of the epochs, so that the end is seen.
    """
    canvas, chosen = Canvas(5.3, 3.6), marks(study)
    axes, drawn = canvas.axes, list[list[float]]()
    for row in study.rows:
        mark = chosen.get(row.variant)
        runs = [[value(epoch) for epoch in outcome.epochs] for outcome in study.of(row.variant)]
        by_epoch = list(zip(*runs, strict=True))
        first = 1 + _epochs_before(study, row.variant)
        x, mean = range(first, first + len(by_epoch)), [sum(values) / len(values) for values in by_epoch]
        drawn.append(mean)
        if mark is None:
            canvas.explain(axes.plot(x, mean, color=MUTED, linewidth=0.7, alpha=0.5, zorder=1)[0], row.label)
            continue
        axes.fill_between(x, list(map(min, by_epoch)), list(map(max, by_epoch)), color=mark.colour, alpha=0.13, lw=0)
        [line] = axes.plot(x, mean, "--" if row.variant.plain else "-", color=mark.colour, linewidth=1.6, zorder=3)
        canvas.explain(line, row.label)
        axes.plot(x[-1], mean[-1], mark.shape, color=mark.colour, markersize=5, zorder=4)
    if loss:
        _decades(axes)
    else:
        axes.set_ylim(bottom=min(row[len(row) // 4] for row in drawn))
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return canvas.svg(what)


@rc_context(STYLE)
def seeds(study: Study, what: str) -> str:
    """Every trial against plain's with the same seed: above the diagonal it did better."""
    canvas, chosen = Canvas(5.3, 4.4), marks(study)
    axes = canvas.axes
    reached: list[float] = []
    for row in study.rows:
        mark = chosen.get(row.variant)
        style = {**SEED, "color": mark.colour} if mark else REST
        plain = {outcome.trial.seed: outcome.top1 for outcome in study.of(opposite(row.variant, PLAIN, {}))}
        for outcome in study.of(row.variant):
            seed = outcome.trial.seed
            if seed not in plain:
                continue
            [point] = axes.plot(plain[seed], outcome.top1, mark.shape if mark else shape(row.variant), **style)
            canvas.explain(point, f"{row.label}, seed {seed}: {outcome.top1:.2f}%, plain {plain[seed]:.2f}%")
            reached.append(plain[seed])
    if reached:
        axes.axline((reached[0], reached[0]), slope=1, color=PLAIN_MARK.colour, linewidth=1, linestyle="--", zorder=1)
    axes.set(xlabel="top-1 of plain with the same seed, %", ylabel="top-1 %")
    return canvas.svg(what)


def _decades(axes: Axes) -> None:
    """A logarithmic axis, if what is drawn spans more than a decade."""
    low, high = axes.dataLim.intervaly
    if high > 10 * low > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")


def _epochs_before(study: Study, variant: Variant) -> int:
    """Of the network that `variant` starts from."""
    before = study.of(base(variant)) if variant.start == "trained" else ()
    return len(before[0].epochs) if before else 0
