"""A study in words: numbers with their units, and how far to trust them."""

from attnzoo.lab.stats import quantile, sampling_error
from attnzoo.lab.study import Study


def count(number: float) -> str:
    """Three significant digits with a unit: '40.6 M'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{number:g}"


def duration(seconds: float) -> str:
    """'8.1 s', '2 min 05 s' or '1 h 03 min'."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plural(number: int, word: str) -> str:
    """'1 seed', '2 seeds'."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


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
        f"{plural(s['epochs'], 'epoch')}, batches of {s['batch_size']}, SGD with Nesterov momentum {s['momentum']:g}, "
        f"peak learning rate {s['learning_rate']:g}, weight decay {s['weight_decay']:g}; the last epoch counts"
    )


def caveats(study: Study) -> list[str]:
    """What a reader must know before believing a difference, one sentence or two each."""
    top1, tested = study.rows[0].top1.mean, study.settings["test_images"]
    images = (
        f"The choice of test images comes on top: {tested:,} of them pin a top-1 of {top1:.1f}% down to "
        f"± {sampling_error(top1, tested):.1f} points only."
    )
    if study.seeds == 1:
        alone = "One seed says nothing about its own spread: there are no intervals, and any difference may be chance."
        return [alone, images]
    stretch = f", which stretches the standard error {quantile(study.seeds):.1f} times" if study.seeds < 5 else ""
    return [
        f"Intervals are 95% of Student's t over {plural(study.seeds, 'seed')}{stretch}. A difference whose interval "
        "includes 0 is no evidence that a module helps or harms; by chance alone one in 20 excludes it.",
        f"{images} ± 0.00 means no more than that few values coincided.",
    ]
