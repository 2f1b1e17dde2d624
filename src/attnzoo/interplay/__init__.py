"""Working with other libraries: our modules in their blocks, our networks in their registries."""

from attnzoo.interplay.layer import Layer, layer
from attnzoo.interplay.timm_models import register_in_timm

__all__ = ["Layer", "layer", "register_in_timm"]
