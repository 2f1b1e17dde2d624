"""Attention between places, channels or tokens."""

from attnzoo.modules.self_attention import aft as aft
from attnzoo.modules.self_attention import da_channel as da_channel
from attnzoo.modules.self_attention import da_module as da_module
from attnzoo.modules.self_attention import da_position as da_position
from attnzoo.modules.self_attention import double_attention as double_attention
from attnzoo.modules.self_attention import dual_attention as dual_attention
from attnzoo.modules.self_attention import efficient_attention as efficient_attention
from attnzoo.modules.self_attention import emsa as emsa
from attnzoo.modules.self_attention import external_attention as external_attention
from attnzoo.modules.self_attention import external_attention_token as external_attention_token
from attnzoo.modules.self_attention import gc as gc
from attnzoo.modules.self_attention import multi_head_external_attention as multi_head_external_attention
from attnzoo.modules.self_attention import self_attention as self_attention
from attnzoo.modules.self_attention import separable_self_attention as separable_self_attention
from attnzoo.modules.self_attention import simplified_self_attention as simplified_self_attention
from attnzoo.modules.self_attention import ufo as ufo
