"""Activations."""

from attnzoo.modules.activation import atac as atac
from attnzoo.modules.activation import context_gating as context_gating
from attnzoo.modules.activation import h_sigmoid as h_sigmoid
from attnzoo.modules.activation import h_swish as h_swish
from attnzoo.modules.activation import mish as mish
from attnzoo.modules.activation import swish as swish
