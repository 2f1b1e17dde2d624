"""Honest baselines: plain networks widened to the parameters of a module's network, and to its latency."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from attnzoo.errors import AttnzooError
from attnzoo.lab.files import DAMAGED, refuse_other, write_atomically
from attnzoo.lab.measure import forward
from attnzoo.lab.measure.site import Site
from attnzoo.lab.study import CONTROLS, FAR
from attnzoo.lab.trial import Variant, variant_from
from attnzoo.lab.widths import Widener

FACTORS: Final = tuple(1.04**i for i in range(55))  # of width, up to 8 times; so coarse, as latencies are no finer
_ROUNDS: Final = 40
_NAMED: Final = 8  # names a sentence holds


@dataclass(frozen=True)
class Control:
    """A plain network that stands beside a variant with a module.

    Attributes:
        module: that variant.
        kind: in what they are equal, one of CONTROLS.
        variant: the widened network; the plain network itself where no wider one comes nearer.
        reached: its parameters or latency over those of the module's network, as measured when it was chosen.
    """

    module: Variant
    kind: str
    variant: Variant
    reached: float


class Controls:
    """The controls of a study, chosen once and kept in `controls.json`, so that a study that goes on keeps them.

    Args:
        file: where they are kept.
        site: where latencies are matched.
        settings: of the study.
        call: calls a function with its arguments where networks are timed; None does so here.

    Raises:
        AttnzooError: the file is damaged, or was made with other settings.
    """

    def __init__(
        self, file: Path, site: Site, settings: Mapping[str, Any], call: Callable[..., float] | None = None
    ) -> None:
        self.file = file
        self.site = site
        self.settings = settings
        self.call = call or (lambda function, *given: function(*given))
        self.known: dict[tuple[Variant, str], Control] = {}
        self._wideners: dict[str, Widener] = {}
        for control in _read(file, settings):
            self.known[control.module, control.kind] = control

    def __iter__(self) -> Iterator[Control]:
        """All that are known, those of other runs too."""
        return iter(self.known.values())

    def of(self, parameters: Mapping[Variant, int], told: Callable[[Variant], None]) -> list[Control]:
        """Both controls of every variant with a module.

        Args:
            parameters: of all variants that start from scratch, how many.
            told: called before the control of a variant is sought.

        Raises:
            AttnzooError: a backbone cannot be widened, or the file cannot be written.
        """
        several = len({variant.at for variant in parameters if variant.at}) > 1
        found = []
        for variant in parameters:
            for kind in CONTROLS if not variant.plain else ():
                if (variant, kind) not in self.known:
                    told(variant)
                    name = f"{variant.module} at {variant.at}" if several else variant.module
                    self.known[variant, kind] = self._find(variant, kind, parameters[variant], f"{kind} of {name}")
                    self._write()
                found.append(self.known[variant, kind])
        return found

    def _find(self, module: Variant, kind: str, parameters: int, matches: str) -> Control:
        widener = self._widener(module.backbone)
        if kind == "parameters":
            widths = widener.nearest(parameters)
            reached = widener.count(widths) / parameters
        else:
            widths, reached = self._as_slow(module, widener)
        return Control(module, kind, self._variant(module.backbone, widths, matches), reached)

    def _widener(self, backbone: str) -> Widener:
        if backbone not in self._wideners:
            example = torch.zeros(2, *self.site.shape)
            self._wideners[backbone] = Widener(self.site.build(Variant(backbone=backbone)), example)
        return self._wideners[backbone]

    def _variant(self, backbone: str, widths: Mapping[int, int], matches: str) -> Variant:
        """The network of these widths, under the name that it has already if another control is the same."""
        pairs = tuple(widths.items())
        if not pairs:
            return Variant(backbone=backbone)
        known = (control.variant for control in self.known.values())
        same = (one for one in known if one.backbone == backbone and one.widths == pairs)
        return next(same, Variant(backbone=backbone, widths=pairs, matches=matches))

    def _as_slow(self, module: Variant, widener: Widener) -> tuple[dict[int, int], float]:
        """The widths at which the plain network is as slow as the module's, and its latency over the module's.

        Of FACTORS, found by halving; the last where even that is faster.
        """

        @cache
        def ratio(index: int, rounds: int = _ROUNDS) -> float:
            widths = tuple(widener.widths(FACTORS[index]).items())
            return self.call(_ratio, Variant(backbone=module.backbone, widths=widths), module, self.site, rounds)

        if ratio(0) >= 1:
            return {}, ratio(0)
        faster, slower = 0, len(FACTORS) - 1
        while slower - faster > 1:
            middle = (faster + slower) // 2
            faster, slower = (middle, slower) if ratio(middle) < 1 else (faster, middle)
        nearest = min(faster, slower, key=lambda index: abs(math.log(ratio(index))))
        return widener.widths(FACTORS[nearest]), ratio(nearest, 2 * _ROUNDS)

    def _write(self) -> None:
        page = {"settings": dict(self.settings), "controls": [asdict(control) for control in self.known.values()]}
        write_atomically(self.file, json.dumps(page, indent=1, allow_nan=False))


def _ratio(wider: Variant, module: Variant, site: Site, rounds: int) -> float:
    """Latency of one over the other, by first quartiles, which other work on the machine moves least."""
    models = {"module": site.build(module), "wider": site.build(wider)}
    times = forward(models, site.shape, site.device, batch=site.batch, rounds=rounds, dtype=site.dtype)
    return times["wider"].quartiles[0] / times["module"].quartiles[0]


def notes(controls: Sequence[Control], batch: int) -> Iterator[str]:
    """How near the controls come, in sentences; `batch` images were in a pass that was timed."""
    for kind in CONTROLS:
        chosen = [control for control in controls if control.kind == kind]
        wider = [control.reached for control in chosen if not control.variant.plain]
        if wider:
            timed = f" (of {batch} image{'s' if batch > 1 else ''}, when they were chosen)" if kind == "latency" else ""
            yield f"Widened networks have {min(wider):.3f} to {max(wider):.3f} times their module's {kind}{timed}."
        plain = [str(control.module) for control in chosen if control.variant.plain]
        if plain:
            yield f"No wider network comes nearer in {kind} than the plain one itself to {_names(plain)}."
        far = [str(control.module) for control in chosen if control.reached < FAR and not control.variant.plain]
        if far:
            yield (
                f"The network widened to the {kind} of {_names(far)} falls short of it: none is more than "
                f"{FACTORS[-1]:.1f} times as wide as the plain one. The difference, beside which stands what it "
                "reached, is not tested."
            )


def _names(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _read(file: Path, settings: Mapping[str, Any]) -> list[Control]:
    try:
        page = json.loads(file.read_text(encoding="utf-8"))
        controls = [_control(raw) for raw in page["controls"]]
        made = dict(page["settings"])
    except FileNotFoundError:
        return []
    except DAMAGED as error:
        raise AttnzooError(
            f"{file}: expected the controls of a study, but it is damaged ({type(error).__name__}: {error}); delete it "
            "and run again."
        ) from error
    refuse_other(file, made, settings, "folder")
    return controls


def _control(raw: Mapping[str, Any]) -> Control:
    control = Control(
        variant_from(raw["module"]), str(raw["kind"]), variant_from(raw["variant"]), float(raw["reached"])
    )
    whole = control.kind in CONTROLS and math.isfinite(control.reached) and control.module.backbone
    if not whole or control.module.backbone != control.variant.backbone:
        raise ValueError(f"{raw} is no control")
    return control
