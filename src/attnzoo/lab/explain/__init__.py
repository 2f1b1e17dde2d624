"""Seeing what attention does: the modules' own maps and Grad-CAM, with the modules and without, in one figure.

explanation = explain(model, image, mean=mean, std=std, class_names=names)
figure([explanation]).savefig("attention.png")
"""

from typing import TYPE_CHECKING, Any

from attnzoo.lab.explain.cams import Cam
from attnzoo.lab.explain.explanation import Explanation, explain
from attnzoo.lab.explain.maps import Map

if TYPE_CHECKING:
    from attnzoo.lab.explain.drawing import figure

__all__ = ["Cam", "Explanation", "Map", "explain", "figure"]


def __getattr__(name: str) -> Any:
    """Import matplotlib for `figure` only."""
    if name == "figure":
        from attnzoo.lab.explain.drawing import figure

        return figure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
