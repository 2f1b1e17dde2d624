"""Networks for images of about 32 x 32 pixels."""

from attnzoo.networks.cifar import dia as dia
from attnzoo.networks.cifar import googlenet as googlenet
from attnzoo.networks.cifar import hcgnet as hcgnet
from attnzoo.networks.cifar import mobilenet as mobilenet
from attnzoo.networks.cifar import residual as residual
from attnzoo.networks.cifar import resnet as resnet
from attnzoo.networks.cifar import shufflenet as shufflenet
