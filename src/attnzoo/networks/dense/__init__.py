"""Networks for dense prediction: an answer for every place of an image."""

from attnzoo.networks.dense import bisenet as bisenet
from attnzoo.networks.dense import emanet as emanet
from attnzoo.networks.dense import guided_attention_net as guided_attention_net
from attnzoo.networks.dense import hatt_matting as hatt_matting
from attnzoo.networks.dense import ocrnet as ocrnet
