"""The modules, one file a method; importing this package fills the registry."""

from attnzoo.modules import activation as activation
from attnzoo.modules import channel as channel
from attnzoo.modules import channel_spatial as channel_spatial
from attnzoo.modules import context as context
from attnzoo.modules import convolution as convolution
from attnzoo.modules import fusion as fusion
from attnzoo.modules import head as head
from attnzoo.modules import network as network
from attnzoo.modules import self_attention as self_attention
from attnzoo.modules import spatial as spatial
