"""Networks for images of about 224 x 224 pixels."""

from attnzoo.networks.imagenet import cfnet as cfnet
from attnzoo.networks.imagenet import fan as fan
from attnzoo.networks.imagenet import hcgnet as hcgnet
from attnzoo.networks.imagenet import iaunet as iaunet
from attnzoo.networks.imagenet import mobilenet as mobilenet
from attnzoo.networks.imagenet import ra_cnn as ra_cnn
from attnzoo.networks.imagenet import residual_attention as residual_attention
from attnzoo.networks.imagenet import resnets as resnets
from attnzoo.networks.imagenet import rest as rest
from attnzoo.networks.imagenet import san as san
