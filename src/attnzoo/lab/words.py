"""A study in words: numbers with their units, and how far to trust them."""

from collections.abc import Sequence
from typing import Any, Final

from attnzoo.lab.environment import AT_ONCE
from attnzoo.lab.stats import quantile, sampling_error
from attnzoo.lab.study import KINDS, Row, Study, family
from attnzoo.lab.trial import PLAIN

OPPONENTS: Final = {
    PLAIN: "plain",
    "parameters": "plain widened to the same parameters",
    "latency": "plain widened to the same latency",
    "scratch": "the same trained from scratch",
}
_FEW: Final = 8  # names a sentence holds
_WIDE: Final = 3.0  # standard errors in half an interval from which on a reader is told: below five seeds
_IMAGES: Final = ("data", "shape", "classes", "train_images", "test_images", "pixels")


def count(number: float) -> str:
    """Three significant digits with a unit: '40.6 M'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """'8.1 s', '2 min 05 s' or '1 h 03 min'."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plural(number: int, word: str) -> str:
    """'1 seed', '2 seeds'."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def title(study: Study) -> str:
    """'resnet20 on digits'."""
    return f"{', '.join(study.backbones)} on {study.settings['data']}"


def runs(study: Study) -> str:
    """How much was trained."""
    return f"{plural(len(study.rows), 'variant')}, {seeds(study)}, {plural(len(study.outcomes), 'training')}"


def seeds(study: Study) -> str:
    """'5 seeds', or '3 to 5 seeds' where some variants have fewer."""
    least = min(len(row.seeds) for row in study.rows)
    return plural(study.seeds, "seed") if least == study.seeds else f"{least} to {study.seeds} seeds"


def images(study: Study) -> str:
    """'digits: 1,297 training and 500 test images, 1 x 8 x 8, 10 classes'."""
    s = study.settings
    size = " × ".join(map(str, s["shape"]))
    return (
        f"{s['data']}: {s['train_images']:,} training and {s['test_images']:,} test images, {size}, "
        f"{s['classes']} classes"
    )


def recipe(study: Study) -> str:
    """The training in one line."""
    s = study.settings
    return (
        f"{plural(s['epochs'], 'epoch')}, batches of {s['batch_size']}, peak learning rate {s['learning_rate']:g}; "
        "the last epoch counts"
    )


def all_settings(study: Study) -> str:
    """Every setting but those of the images, 'epochs=15, batch_size=64'."""
    return settings({name: value for name, value in study.settings.items() if name not in _IMAGES})


def settings(some: dict[str, Any]) -> str:
    """'epochs=15, device=cpu'."""
    return ", ".join(f"{name}={value}" for name, value in some.items())


def findings(study: Study) -> list[str]:
    """What the tests say, a sentence for each thing that variants of a family were compared with."""
    sentences = []
    for kind in KINDS:
        families: dict[tuple[str, bool], list[Row]] = {}
        for row in study.rows:
            if kind in row.differences:
                families.setdefault(family(row.variant), []).append(row)
        sentences += [_finding(kind, rows) for rows in families.values()]
    failed = {row.label: f"{len(row.failed)} of {len(row.failed) + len(row.seeds)}" for row in study.rows if row.failed}
    failed |= {label: f"{number} of {number}" for label, number in study.lost.items()}
    if failed:
        told = ", ".join(f"{label} {count} seeds" for label, count in failed.items())
        sentences.append(f"Did not train to the end: {told}.")
    return sentences


def _finding(kind: str, rows: Sequence[Row]) -> str:
    claims: dict[str, list[Row]] = {"better": [], "worse": [], "no evidence": []}
    tested = [row for row in rows if not row.untested(kind)]
    for row in tested:
        claims[row.differences[kind].verdict].append(row)
    said = [f"{_names(found)} {verdict}" for verdict, found in claims.items() if found and verdict != "no evidence"]
    if claims["no evidence"]:
        said.append(f"no evidence for {_names(claims['no evidence'])}")
    if len(tested) < len(rows):
        said.append(f"not tested {_names([row for row in rows if row.untested(kind)])}")
    tests = f", {plural(len(tested), 'test')} corrected by Holm" if len(tested) > 1 else ""
    how = f" (paired t-test{tests})" if tested else ""
    against = "Widened networks against" if rows[0].variant.widths else "Against"
    return f"{against} {OPPONENTS[kind]}: {'; '.join(said)}{how}."


def caveats(study: Study) -> list[str]:
    """What a reader must know before believing a difference, one sentence or two each."""
    top1, tested = max(row.top1.mean for row in study.rows), study.settings["test_images"]
    images = (
        f"The choice of test images comes on top: {tested:,} of them pin a top-1 of {top1:.1f}% down to "
        f"± {sampling_error(top1, tested):.1f} points only."
    )
    sentences = [*_of_data(study), *_of_neighbours(study), *study.notes]
    if study.seeds == 1:
        alone = "One seed says nothing about its own spread: there are no intervals, and any difference may be chance."
        return [alone, images, *sentences]
    return [
        f"Intervals are 95% of Student's t over {seeds(study)}{_stretch(study)}: they hold the luck of a seed and "
        f"nothing else. {_bar(study)}",
        f"{images} ± 0.00 means no more than that few values coincided.",
        *sentences,
    ]


def _stretch(study: Study) -> str:
    counts = sorted({len(row.seeds) for row in study.rows})
    several = [quantile(count) for count in counts if count > 1]
    if max(several) < _WIDE:
        return ""
    span = f"{several[0]:.1f}" if len(several) == 1 else f"{several[-1]:.1f} to {several[0]:.1f}"
    alone = "; a variant with one seed has none" if counts[0] == 1 else ""
    return f", which stretches the standard error {span} times{alone}"


def _bar(study: Study) -> str:
    """How far a difference must be from 0 to be called one."""
    modules = [one for row in study.rows if not row.variant.widths and (one := row.differences.get(PLAIN))]
    pairs = max((one.seeds for one in modules), default=0)
    if pairs < 2:
        return ""
    compared = max(one.family for one in modules)
    bar = quantile(pairs, compared)
    among = f"among {compared} compared (Holm's correction) " if compared > 1 else ""
    hardly = " With so few seeds hardly any difference can pass." if bar > 10 else ""
    return (
        "'Better' and 'worse' stand only where a paired t-test's corrected p is below 0.05; everything else is no "
        f"evidence that a module helps or harms. The clearest difference {among}must exceed {bar:.1f} standard "
        f"errors.{hardly}"
    )


def _of_data(study: Study) -> list[str]:
    if "jpeg" not in study.settings["data"].lower():
        return []
    return [
        f"{study.settings['data']}: these images went through lossy JPEG compression; figures measured on them are "
        "not those of the original data set."
    ]


def _of_neighbours(study: Study) -> list[str]:
    at_once = max((int(made_on.get(AT_ONCE, 1)) for made_on in study.made_on), default=1)
    if at_once == 1:
        return []
    return [f"Up to {at_once} trials ran at once: their training times and energy hold what they cost each other."]


def _names(rows: Sequence[Row]) -> str:
    if len(rows) > _FEW:
        return plural(len(rows), "variant")
    return ", ".join(row.label for row in rows)
